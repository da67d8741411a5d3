/** The digits data set: reading it, and the one split that trainer and clients share. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { seededRandom } from "../../src/kernel/clock/index.js";
import type { Random } from "../../src/kernel/clock/types.js";
import { InputError } from "../../src/kernel/errors/index.js";

/** Pixels of one picture, and how many classes there are. */
export const PIXELS = 64;
export const CLASSES = 10;
/** The brightest value of a pixel; pixels are 0..16. */
export const PIXEL_MAX = 16;
/** Seed of the split that everybody uses unless told otherwise. */
export const DEFAULT_SPLIT_SEED = 20;

/** Pictures (rows of 64 pixels, 0..16, one after the other) with their labels. */
export interface Samples {
  readonly count: number;
  readonly pixels: Float32Array;
  readonly labels: Uint8Array;
}

/** `train` is learned from, `validation` decides when to stop (both from the 70 %), `test` is the untouched 30 %. */
export interface Split {
  readonly train: Samples;
  readonly validation: Samples;
  readonly test: Samples;
}

/** Reads a gzipped CSV of 64 pixels and a label a line. Throws `InputError` naming file, line and column. */
export async function loadDigits(file: string = bundledDataFile()): Promise<Samples> {
  let text: string;
  try {
    text = gunzipSync(await readFile(file), { maxOutputLength: 64 << 20 }).toString("utf8");
  } catch (error) {
    throw new InputError(
      `cannot read the data set ${file}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const pixels = new Float32Array(lines.length * PIXELS);
  const labels = new Uint8Array(lines.length);
  for (const [index, line] of lines.entries()) {
    const cells = line.split(",");
    if (cells.length !== PIXELS + 1) {
      throw new InputError(`${file} line ${index + 1}: ${cells.length} columns, expected ${PIXELS} pixels and a label`);
    }
    for (const [column, cell] of cells.entries()) {
      const value = Number(cell);
      const limit = column === PIXELS ? CLASSES - 1 : PIXEL_MAX;
      if (cell.trim() === "" || !Number.isInteger(value) || value < 0 || value > limit) {
        throw new InputError(
          `${file} line ${index + 1} column ${column + 1}: "${cell}" is no whole number from 0 to ${limit}`,
        );
      }
      if (column === PIXELS) labels[index] = value;
      else pixels[index * PIXELS + column] = value;
    }
  }
  return { count: lines.length, pixels, labels };
}

/**
 * Splits into training, validation and test samples: shuffled by the seed and stratified, so every part has each digit in the
 * share that it has in the whole. The same seed gives the same rows in the same order everywhere: a client that wants to send
 * held-out rows calls this with the trainer's seed and takes `test`.
 */
export function splitDigits(
  all: Samples,
  seed: number = DEFAULT_SPLIT_SEED,
  testShare = 0.3,
  validationShare = 0.15,
): Split {
  const random = seededRandom(seed);
  const parts: { train: number[]; validation: number[]; test: number[] } = { train: [], validation: [], test: [] };
  for (let digit = 0; digit < CLASSES; digit++) {
    const rows: number[] = [];
    for (let row = 0; row < all.count; row++) if (all.labels[row] === digit) rows.push(row);
    shuffle(rows, random);
    const testEnd = Math.round(rows.length * testShare);
    const validationEnd = testEnd + Math.round((rows.length - testEnd) * validationShare);
    parts.test.push(...rows.slice(0, testEnd));
    parts.validation.push(...rows.slice(testEnd, validationEnd));
    parts.train.push(...rows.slice(validationEnd));
  }
  return {
    train: take(all, shuffle(parts.train, random)),
    validation: take(all, shuffle(parts.validation, random)),
    test: take(all, shuffle(parts.test, random)),
  };
}

/** Fisher-Yates, in place. */
export function shuffle<T extends number[] | Uint32Array>(items: T, random: Random): T {
  for (let last = items.length - 1; last > 0; last--) {
    const other = random.int(last + 1);
    const kept = items[last] ?? 0;
    items[last] = items[other] ?? 0;
    items[other] = kept;
  }
  return items;
}

function take(all: Samples, rows: readonly number[]): Samples {
  const pixels = new Float32Array(rows.length * PIXELS);
  const labels = new Uint8Array(rows.length);
  for (const [index, row] of rows.entries()) {
    pixels.set(all.pixels.subarray(row * PIXELS, (row + 1) * PIXELS), index * PIXELS);
    labels[index] = all.labels[row] ?? 0;
  }
  return { count: rows.length, pixels, labels };
}

/** The file that ships with the example; the compiled program lies under `dist/`, three folders deeper. */
function bundledDataFile(): string {
  const beside = fileURLToPath(new URL("./data/digits.csv.gz", import.meta.url));
  return existsSync(beside)
    ? beside
    : fileURLToPath(new URL("../../../examples/digits/data/digits.csv.gz", import.meta.url));
}
