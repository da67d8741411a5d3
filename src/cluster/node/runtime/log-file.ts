import {
  appendFileSync,
  closeSync,
  existsSync,
  type FSWatcher,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  watch,
  writeFileSync,
} from "node:fs";
import { copyFile } from "node:fs/promises";
import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { findProgram, runCommand } from "../commands.js";
import type { LogOptions } from "./types.js";

/** How much of a log is kept: five pieces of 10 MiB, as kubelet does. */
const keptBytes = 50 * 1024 * 1024;
const slackBytes = 10 * 1024 * 1024;
const sampleMs = 50;
/** Bounds the index to about half a megabyte, in memory and on disk. */
const maxMarks = 16_000;
const chunkBytes = 64 * 1024;
const newline = 10;

interface TimeMark {
  /** Bytes from here on were written at or before `timeMs`, and after the mark before. */
  readonly offset: number;
  readonly timeMs: number;
}

/**
 * The output of one container: a file that the program itself appends to, and beside it an index of when it grew, from
 * which lines get their times. Too long a file loses its oldest part in place (its blocks are freed, offsets stay), so no
 * line is lost on the way and the program never notices.
 */
export class LogFile {
  readonly path: string;
  readonly #clock: Clock;
  readonly #marks: TimeMark[] = [];
  #size = 0;
  #floor = 0;
  #watcher: FSWatcher | undefined;
  #timer: Timer | undefined;
  #trimming: Promise<void> | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(path: string, clock: Clock) {
    this.path = path;
    this.#clock = clock;
    this.#load();
  }

  /** Notes growth as it happens, until `unwatch`. */
  watch(): void {
    if (this.#watcher !== undefined || !existsSync(this.path)) return;
    this.#watcher = watch(this.path, { persistent: false }, () => this.#grew());
    this.#watcher.on("error", () => this.unwatch());
    this.sample();
  }

  unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.sample();
  }

  /** Notes the size as of now. */
  sample(): void {
    const size = this.#currentSize();
    if (size < this.#size) this.#restart();
    if (size > this.#size) {
      const mark = { offset: this.#size, timeMs: this.#clock.now() };
      this.#marks.push(mark);
      appendQuietly(`${this.path}.index`, `${mark.offset} ${mark.timeMs} ${size}\n`);
      this.#size = size;
      if (this.#marks.length > maxMarks) this.#thin();
      this.#trimIfLong();
    }
    this.wake();
  }

  /** Lets followers look again, for the end of the container say. */
  wake(): void {
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }

  /** The wanted part of the log; with `follow` until `isOver` says that nothing more comes. */
  async *read(options: LogOptions, isOver: () => boolean): AsyncGenerator<Uint8Array> {
    this.sample();
    const lines = this.#lines(options, isOver);
    let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
    for await (const chunk of lines) {
      if (left <= 0) return;
      yield chunk.length > left ? chunk.subarray(0, left) : chunk;
      left -= chunk.length;
    }
  }

  async *#lines(options: LogOptions, isOver: () => boolean): AsyncGenerator<Uint8Array> {
    if (!existsSync(this.path)) return;
    const fd = openSync(this.path, "r");
    try {
      let offset = this.#startOffset(fd, options);
      while (options.signal?.aborted !== true) {
        const over = isOver();
        const piece = readPiece(fd, offset, over || options.follow !== true || options.partial === true);
        if (piece.length > 0) {
          yield options.timestamps === true ? this.#stamped(piece, offset) : piece;
          offset += piece.length;
          continue;
        }
        if (options.follow !== true || over) return;
        await this.#change(options.signal);
        if (fstatSync(fd).size < offset) offset = 0;
      }
    } finally {
      closeSync(fd);
    }
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal?.removeEventListener("abort", done);
        this.#waiting.delete(done);
        resolve();
      };
      this.#waiting.add(done);
      signal?.addEventListener("abort", done);
    });
  }

  #startOffset(fd: number, options: LogOptions): number {
    const sinceMs = options.sinceMs;
    const since =
      sinceMs === undefined ? 0 : (this.#marks.find((mark) => mark.timeMs >= sinceMs)?.offset ?? this.#size);
    const floor = this.#floor === 0 ? 0 : nextLine(fd, this.#floor);
    const start = Math.max(since === 0 ? 0 : lineStart(fd, since), floor);
    return options.tailLines === undefined ? start : Math.max(start, tailOffset(fd, options.tailLines, start));
  }

  #stamped(piece: Uint8Array, offset: number): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let from = 0; from < piece.length; ) {
      const end = piece.indexOf(newline, from);
      const to = end < 0 ? piece.length : end + 1;
      parts.push(Buffer.from(`${this.#timeAt(offset + from)} `), piece.subarray(from, to));
      from = to;
    }
    return Buffer.concat(parts);
  }

  #timeAt(offset: number): string {
    let low = 0;
    let high = this.#marks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#marks[middle]?.offset ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    const timeMs = this.#marks[Math.max(0, low - 1)]?.timeMs ?? this.#clock.now();
    return new Date(timeMs).toISOString().replace("Z", "000000Z");
  }

  #grew(): void {
    if (this.#timer !== undefined) return;
    this.sample();
    this.#timer = this.#clock.setTimer(sampleMs, () => {
      this.#timer = undefined;
      this.sample();
    });
  }

  #currentSize(): number {
    try {
      return statSync(this.path).size;
    } catch {
      return this.#size;
    }
  }

  #restart(): void {
    this.#marks.length = 0;
    this.#size = 0;
    this.#floor = 0;
    writeFileSync(`${this.path}.index`, "");
  }

  #load(): void {
    const file = `${this.path}.index`;
    for (const line of existsSync(file) ? readFileSync(file, "utf8").split("\n") : []) {
      const [first = "", second = "", third = ""] = line.split(" ");
      if (first === "floor") this.#floor = Number(second);
      else if (third !== "") {
        this.#marks.push({ offset: Number(first), timeMs: Number(second) });
        this.#size = Number(third);
      }
    }
    if (!existsSync(this.path)) return;
    // What was written while nobody watched is dated by the file itself.
    const stat = statSync(this.path);
    if (stat.size > this.#size) this.#marks.push({ offset: this.#size, timeMs: Math.floor(stat.mtimeMs) });
    this.#size = stat.size;
  }

  /** Of a talkative program's older times every second one is enough. */
  #thin(): void {
    const recent = this.#marks.length >> 2;
    const old = this.#marks.length - recent;
    const kept = this.#marks.filter((_, index) => index >= old || index % 2 === 0);
    this.#marks.splice(0, this.#marks.length, ...kept);
    this.#writeIndex();
  }

  /** Resolves when no part is being freed. */
  async settled(): Promise<void> {
    await this.#trimming;
  }

  #trimIfLong(): void {
    if (this.#size - this.#floor < keptBytes + slackBytes) return;
    this.#trimming ??= this.#trim().finally(() => {
      this.#trimming = undefined;
    });
  }

  async #trim(): Promise<void> {
    const floor = Math.floor((this.#size - keptBytes) / 4096) * 4096;
    const fallocate = findProgram("fallocate");
    const result =
      fallocate === undefined
        ? { code: 1 }
        : await runCommand(fallocate, ["--punch-hole", "-o", "0", "-l", String(floor), this.path]);
    if (result.code === 0) this.#floor = floor;
    else await this.#copyAndCut();
    this.#writeIndex();
  }

  /** Without holes in files: what was written between copy and cut is lost, but disks stay bounded. */
  async #copyAndCut(): Promise<void> {
    await copyFile(this.path, `${this.path}.1`);
    truncateSync(this.path);
    this.#restart();
  }

  #writeIndex(): void {
    const kept = this.#marks.filter((_, index) => (this.#marks[index + 1]?.offset ?? this.#size) > this.#floor);
    this.#marks.splice(0, this.#marks.length, ...kept);
    const lines = [
      `floor ${this.#floor}`,
      ...kept.map((mark, index) => `${mark.offset} ${mark.timeMs} ${kept[index + 1]?.offset ?? this.#size}`),
      "",
    ];
    writeFileSync(`${this.path}.index`, lines.join("\n"));
  }
}

function appendQuietly(path: string, text: string): void {
  try {
    appendFileSync(path, text);
  } catch {
    // A full disk costs the times of some lines, not the lines.
  }
}

/** Bytes from `offset` to the end of a line; to the end of the file only when `isLast` (no line is cut in two otherwise). */
function readPiece(fd: number, offset: number, isLast: boolean): Uint8Array {
  const buffer = Buffer.allocUnsafe(chunkBytes);
  const length = readSync(fd, buffer, 0, chunkBytes, offset);
  const piece = buffer.subarray(0, length);
  if (length === 0) return piece;
  const end = piece.lastIndexOf(newline);
  if (end >= 0) return piece.subarray(0, end + 1);
  return length === chunkBytes || isLast ? piece : piece.subarray(0, 0);
}

/** The first line that begins after `offset`. */
function nextLine(fd: number, offset: number): number {
  const buffer = Buffer.allocUnsafe(chunkBytes);
  for (let from = offset; ; ) {
    const length = readSync(fd, buffer, 0, chunkBytes, from);
    if (length === 0) return from;
    const found = buffer.subarray(0, length).indexOf(newline);
    if (found >= 0) return from + found + 1;
    from += length;
  }
}

/** `offset` itself when a line begins there, or the beginning of the next one. */
function lineStart(fd: number, offset: number): number {
  const before = Buffer.alloc(1);
  if (offset === 0 || (readSync(fd, before, 0, 1, offset - 1) === 1 && before[0] === newline)) return offset;
  return nextLine(fd, offset);
}

/** Where the last `count` lines begin, not before `floor`. */
function tailOffset(fd: number, count: number, floor: number): number {
  const size = fstatSync(fd).size;
  if (count === 0) return size;
  const buffer = Buffer.allocUnsafe(chunkBytes);
  let found = 0;
  for (let end = size; end > floor; ) {
    const from = Math.max(floor, end - chunkBytes);
    const length = readSync(fd, buffer, 0, end - from, from);
    for (let index = length - 1; index >= 0; index -= 1) {
      if (buffer[index] !== newline || from + index === size - 1) continue;
      found += 1;
      if (found === count) return from + index + 1;
    }
    end = from;
  }
  return floor;
}
