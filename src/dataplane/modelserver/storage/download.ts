/** One file from a store onto the disk: by ranges at once where the store has them, and only what is not there yet. */
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, readFile, rm, stat } from "node:fs/promises";
import { replaceFile } from "../../../kernel/files/index.js";
import { isObject, parseJson } from "../../../kernel/schema/index.js";
import { asDownloadError, DownloadError } from "./failures.js";
import type { ByteRange, RemoteFile } from "./types.js";

/** How a file is read. */
export interface DownloadOptions {
  /** Bytes of one ranged read; default 8 MiB. */
  readonly partBytes?: number;
  /** Ranged reads at once; default 4. */
  readonly parallel?: number;
  /** Most bytes of a file whose size the store does not name; more is `QuotaExceeded`. */
  readonly mostBytes?: number;
  /** Told of everything that came. */
  readonly onProgress?: () => void;
}

/** Where the parts of `partial` that are there are noted. */
export const partsFileOf = (partial: string): string => `${partial}.parts`;

/**
 * Reads what is missing of a file into `partial`. What is there is noted beside it (see `partsFileOf`), so that a download that was broken off, or
 * whose process was killed, goes on where it was. True when the store's checksum is none of the content. Throws `DownloadError`.
 */
export async function downloadFile(file: RemoteFile, partial: string, options: DownloadOptions): Promise<boolean> {
  const { size } = file;
  // Notes about a file that is gone are about nothing.
  if (!(await isThere(partial))) await rm(partsFileOf(partial), { force: true });
  const handle = await open(partial, constants.O_RDWR | constants.O_CREAT, 0o600).catch((error: unknown) => {
    throw asDownloadError(error, partial);
  });
  try {
    if (file.hasRanges && size !== undefined) return await readParts({ ...file, size }, { handle, partial, options });
    await handle.truncate(0);
    return await readWhole(file, handle, options);
  } catch (error) {
    throw asDownloadError(error, file.address);
  } finally {
    await handle.close();
  }
}

async function readWhole(
  file: RemoteFile,
  handle: FileHandle,
  { onProgress, mostBytes = Number.POSITIVE_INFINITY }: DownloadOptions,
): Promise<boolean> {
  const { body, isOpaque = false } = await file.read();
  const most = file.size ?? mostBytes;
  let at = 0;
  for await (const chunk of body) {
    if (at + chunk.length > most)
      throw file.size === undefined
        ? new DownloadError("QuotaExceeded", `${file.address} has more than ${most} bytes`)
        : short(file, at + chunk.length, file.size);
    await handle.write(chunk, 0, chunk.length, at);
    at += chunk.length;
    onProgress?.();
  }
  if (file.size !== undefined && at !== file.size) throw short(file, at, file.size);
  await handle.datasync();
  return isOpaque;
}

const short = (file: RemoteFile, got: number, wanted: number): DownloadError =>
  new DownloadError("Unavailable", `${file.address}: the store sends ${got} of ${wanted} bytes`);

interface Writing {
  readonly handle: FileHandle;
  readonly partial: string;
  readonly options: DownloadOptions;
}

async function readParts(
  file: RemoteFile & { readonly size: number },
  { handle, partial, options }: Writing,
): Promise<boolean> {
  const partBytes = options.partBytes ?? 8 * 2 ** 20;
  const count = Math.ceil(file.size / partBytes);
  const done = new Set(await notedParts(partial, partBytes));
  let recording: Promise<void> = Promise.resolve();
  let isOpaque = false;
  await handle.truncate(file.size);
  const missing = Array.from({ length: count }, (_, index) => index).filter((index) => !done.has(index));
  const worker = async (): Promise<void> => {
    for (let part = missing.shift(); part !== undefined; part = missing.shift()) {
      const from = part * partBytes;
      const range = { from, to: Math.min(from + partBytes, file.size) - 1 };
      if (await readPart(file, range, { handle, options })) isOpaque = true;
      done.add(part);
      if (count === 1) continue;
      await handle.datasync();
      recording = recording.then(() =>
        replaceFile(partsFileOf(partial), JSON.stringify({ partBytes, done: [...done] })),
      );
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(options.parallel ?? 4, count) }, worker));
  await recording;
  const failures = results.flatMap((result) =>
    result.status === "rejected" ? [asDownloadError(result.reason, file.address)] : [],
  );
  const [failed] = failures.sort(moreTelling);
  if (failed !== undefined) throw failed;
  await handle.datasync();
  return isOpaque;
}

/** Of what went wrong at once: what no waiting helps against, then what needs the longest. */
const moreTelling = (a: DownloadError, b: DownloadError): number =>
  Number(a.transient) - Number(b.transient) || b.retryAfterMs - a.retryAfterMs;

async function readPart(
  file: RemoteFile,
  range: ByteRange,
  { handle, options }: Pick<Writing, "handle" | "options">,
): Promise<boolean> {
  const { from, to } = range;
  let at = from;
  const { body, isOpaque = false } = await file.read(range);
  try {
    for await (const chunk of body) {
      if (at + chunk.length > to + 1)
        throw new DownloadError("InvalidSource", `${file.address}: the store sends more than was asked for`);
      await handle.write(chunk, 0, chunk.length, at);
      at += chunk.length;
      options.onProgress?.();
    }
  } catch (error) {
    throw asDownloadError(error, file.address);
  }
  if (at !== to + 1) throw short(file, at - from, to + 1 - from);
  return isOpaque;
}

async function notedParts(partial: string, partBytes: number): Promise<number[]> {
  const noted = parseJson(await readFile(partsFileOf(partial), "utf8").catch(() => ""));
  if (!isObject(noted) || noted["partBytes"] !== partBytes || !Array.isArray(noted["done"])) return [];
  return noted["done"].filter((part) => typeof part === "number");
}

function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
