import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../../kernel/files/index.js";
import { Reader } from "./table-reader.js";

/** The table and what changed in it since it was written, in a gateway's directory. */
export const TABLE_FILES = { table: "table.json", changes: "table.changes.jsonl" } as const;

const GENERATION = /^\{"version":1,"generation":"([^"\\]+)"/;

/** What a look at the files brought. */
export interface TableNews {
  /** A new table; undefined: the one in force is the file's. */
  readonly whole?: string;
  /** Changes of it, in order, each a line of JSON. */
  readonly lines: readonly string[];
}

/**
 * Reads `table.json`, and `table.changes.jsonl` from where it was read last. The second begins with a line that names the
 * generation of the table that it continues; for any other table it means nothing.
 */
export class TableFiles {
  readonly #directory: string;
  #stamp = "";
  /** Generation of the table that changes must continue. */
  #base = "";
  #changesFile = 0;
  #offset = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** `inForce` is the generation that is in use: a file that says the same is not read as a new table. Throws what reading throws. */
  async look(inForce: string): Promise<TableNews> {
    const file = join(this.#directory, TABLE_FILES.table);
    const { mtimeMs, ino, size } = await stat(file);
    const stamp = `${mtimeMs} ${ino} ${size}`;
    if (stamp === this.#stamp) return { lines: await this.#newLines() };
    this.#stamp = stamp;
    const text = await readFile(file, "utf8");
    this.follow(text);
    const lines = await this.#newLines();
    return inForce !== "" && this.#base === inForce ? { lines } : { whole: text, lines };
  }

  /** From now on changes must continue this table. Returns those that are there. */
  follow(text: string): void {
    this.#base = GENERATION.exec(text)?.[1] ?? "";
    this.#offset = 0;
  }

  async changes(): Promise<readonly string[]> {
    return this.#newLines();
  }

  async #newLines(): Promise<readonly string[]> {
    if (this.#base === "") return [];
    try {
      const file = await open(join(this.#directory, TABLE_FILES.changes), "r");
      try {
        const { ino, size } = await file.stat();
        if (ino !== this.#changesFile || size < this.#offset) this.#offset = 0;
        this.#changesFile = ino;
        if (size <= this.#offset) return [];
        const { buffer, bytesRead } = await file.read(
          Buffer.alloc(size - this.#offset),
          0,
          size - this.#offset,
          this.#offset,
        );
        const end = buffer.lastIndexOf(10, bytesRead - 1) + 1;
        const lines = buffer.toString("utf8", 0, end).split("\n").slice(0, -1);
        return this.#accept(lines, end);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  #accept(lines: string[], bytes: number): readonly string[] {
    if (this.#offset === 0 && lines.length > 0 && baseOf(lines.shift() ?? "") !== this.#base) return [];
    this.#offset += bytes;
    return lines;
  }
}

/** The first line of a file of changes. */
export function changesHead(base: string): string {
  return `${JSON.stringify({ version: 1, base })}\n`;
}

function baseOf(line: string): string {
  return new Reader(JSON.parse(line), "table.changes").text("base", "");
}
