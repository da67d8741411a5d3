import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import type { Clock } from "../../../kernel/clock/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Logger } from "../../../kernel/log/index.js";

/** Where the log is, and how much of it is kept. */
export interface AuditFileOptions {
  readonly file: string;
  /** Mebibytes; a file that would grow beyond is put aside. */
  readonly maxSizeMiB: number;
  /** Files put aside; 0: any number. */
  readonly maxBackups: number;
  /** How long they are kept; 0: for ever. */
  readonly maxAgeDays: number;
}

/** What is kept unless options say otherwise. */
export const defaultAuditFile = { maxSizeMiB: 100, maxBackups: 10, maxAgeDays: 30 };

const dayMs = 86_400_000;
const complainEveryMs = 60_000;

/** Lines appended to a file that rotates. Each is with the operating system before the answer goes out: a crash of the program loses none. */
export class AuditFile {
  readonly #options: AuditFileOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  #descriptor: number | undefined;
  #size = 0;
  #complainedAt = Number.NEGATIVE_INFINITY;

  constructor(options: AuditFileOptions, surroundings: { readonly clock: Clock; readonly log: Logger }) {
    this.#options = options;
    this.#clock = surroundings.clock;
    this.#log = surroundings.log;
  }

  /** Opens the file, so that one that cannot be written to is known at the start. Throws what the file system says. */
  open(): void {
    const { file } = this.#options;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    this.#descriptor = openSync(file, "a", 0o600);
    this.#size = fstatSync(this.#descriptor).size;
    this.#clear();
  }

  /** Requests go on when the disk takes no more; what is then missing from the log is said in the other one. */
  write(line: string): void {
    const bytes = Buffer.from(`${line}\n`, "utf8");
    try {
      if (this.#size > 0 && this.#size + bytes.byteLength > this.#options.maxSizeMiB * 1024 * 1024) this.#rotate();
      if (this.#descriptor === undefined) this.open();
      if (this.#descriptor === undefined) return;
      writeSync(this.#descriptor, bytes);
      this.#size += bytes.byteLength;
    } catch (error) {
      const now = this.#clock.monotonicMs();
      if (now - this.#complainedAt < complainEveryMs) return;
      this.#complainedAt = now;
      this.#log.error("the audit log cannot be written", { file: this.#options.file, err: messageOf(error) });
    }
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #rotate(): void {
    const { file } = this.#options;
    this.close();
    const stamp = new Date(this.#clock.now()).toISOString().replaceAll(":", "-").replace("Z", "");
    let aside = asideName(file, stamp);
    const there = new Set(readdirSync(dirname(file)));
    for (let count = 1; there.has(basename(aside)); count += 1) aside = asideName(file, `${stamp}.${count}`);
    renameSync(file, aside);
    this.open();
  }

  /** Removes files put aside that are too many or too old. */
  #clear(): void {
    const { file, maxBackups, maxAgeDays } = this.#options;
    const extension = extname(file);
    const start = `${basename(file, extension)}-`;
    const backups = readdirSync(dirname(file))
      .map((name) => ({ name, time: timeOf(name, start, extension) }))
      .filter(({ time }) => !Number.isNaN(time))
      .toSorted((a, b) => (a.time === b.time ? (a.name < b.name ? 1 : -1) : b.time - a.time));
    for (const [index, { name, time }] of backups.entries()) {
      const isTooMany = maxBackups > 0 && index >= maxBackups;
      const isTooOld = maxAgeDays > 0 && this.#clock.now() - time > maxAgeDays * dayMs;
      if (isTooMany || isTooOld) rmSync(join(dirname(file), name), { force: true });
    }
  }
}

function asideName(file: string, stamp: string): string {
  const extension = extname(file);
  return join(dirname(file), `${basename(file, extension)}-${stamp}${extension}`);
}

function timeOf(name: string, start: string, extension: string): number {
  if (!name.startsWith(start) || !name.endsWith(extension)) return Number.NaN;
  const [, date, hour, minute, second] =
    /^(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d\.\d{3})(?:\.\d+)?$/.exec(
      name.slice(start.length, name.length - extension.length),
    ) ?? [];
  return date === undefined ? Number.NaN : Date.parse(`${date}T${hour}:${minute}:${second}Z`);
}
