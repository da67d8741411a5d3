import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { errnoOf } from "../../../kernel/files/index.js";
import { JournalError, toJournalError } from "./errors.js";

/** Every segment begins with this; the last byte is the layout's version. */
const signature = Buffer.from("ARGOSYJ\u0001", "latin1");
/** Where the first frame of a segment begins. */
export const firstFrameAt = signature.length;

/** Room is made ahead in steps of this size: writing where the file already reaches spares the file system a commit of its own. */
const zeros = Buffer.alloc(1024 * 1024);

const syncSoon = promisify(fdatasync);

const namePattern = /^(\d{12})\.log$/;

/** Path of a segment. */
export function segmentFile(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(12, "0")}.log`);
}

/** Numbers of the segments in a directory, rising. */
export function listSegments(directory: string): number[] {
  return readdirSync(directory)
    .map((name) => Number(namePattern.exec(name)?.[1] ?? 0))
    .filter((number) => number > 0)
    .sort((a, b) => a - b);
}

/** A whole segment. Throws `JournalError` when it cannot be read or is something else. */
export function readSegment(file: string): Buffer {
  let content: Buffer;
  try {
    content = readFileSync(file);
  } catch (error) {
    throw toJournalError(file, error);
  }
  const found = content.subarray(0, signature.length);
  if (found.equals(signature.subarray(0, found.length))) return content;
  if (found.subarray(0, -1).equals(signature.subarray(0, -1))) {
    throw new JournalError("JournalUnreadable", `${file}: written by a newer version of this program; update it`);
  }
  throw new JournalError(
    "JournalUnreadable",
    `${file}: not a journal of this program; restore it from a backup, or move it away with the other files of its folder to start empty`,
  );
}

/** The segment that is written to. Its methods throw what the file system says. */
export class OpenSegment {
  readonly number: number;
  readonly file: string;
  readonly #descriptor: number;
  #end: number;
  #allocated: number;

  private constructor(number: number, file: string, opened: { descriptor: number; end: number }) {
    this.number = number;
    this.file = file;
    this.#descriptor = opened.descriptor;
    this.#end = opened.end;
    this.#allocated = opened.end;
  }

  /** Makes a new segment that is on the disk when this returns. */
  static create(directory: string, number: number): OpenSegment {
    const file = segmentFile(directory, number);
    const descriptor = openSync(file, "wx+", 0o600);
    try {
      writeSync(descriptor, signature, 0, signature.length, 0);
      fdatasyncSync(descriptor);
      syncDirectory(directory);
    } catch (error) {
      closeSync(descriptor);
      rmSync(file, { force: true });
      throw error;
    }
    return new OpenSegment(number, file, { descriptor, end: firstFrameAt });
  }

  /** Opens a segment to go on at `end`; what is behind is cut off. */
  static resume(directory: string, number: number, end: number): OpenSegment {
    const file = segmentFile(directory, number);
    const descriptor = openSync(file, "r+");
    try {
      ftruncateSync(descriptor, end);
      if (end <= firstFrameAt) writeSync(descriptor, signature, 0, signature.length, 0);
      fdatasyncSync(descriptor);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    return new OpenSegment(number, file, { descriptor, end: Math.max(end, firstFrameAt) });
  }

  /** Where the next frame goes: the size of what is in it. */
  get end(): number {
    return this.#end;
  }

  /** Writes a frame; it is on the disk when this returns. After a failure the segment holds what it held before. */
  append(frame: Buffer): void {
    try {
      this.#write(frame);
      fdatasyncSync(this.#descriptor);
    } catch (error) {
      this.#wipe(frame.length);
      throw error;
    }
    this.#advance(frame.length);
  }

  /** The same, while the event loop goes on. Nothing else may be done with the segment until then. */
  async appendSoon(frame: Buffer): Promise<void> {
    try {
      this.#write(frame);
      await syncSoon(this.#descriptor);
    } catch (error) {
      this.#wipe(frame.length);
      throw error;
    }
    this.#advance(frame.length);
  }

  #write(frame: Buffer): void {
    this.#makeRoom(frame.length);
    writeFully(this.#descriptor, frame, this.#end);
  }

  #advance(size: number): void {
    this.#end += size;
    // A frame for which no room could be made ahead has lengthened the file itself.
    this.#allocated = Math.max(this.#allocated, this.#end);
  }

  #makeRoom(size: number): void {
    if (this.#end + size <= this.#allocated) return;
    try {
      writeFully(this.#descriptor, zeros, this.#allocated);
      this.#allocated += zeros.length;
    } catch (error) {
      const code = errnoOf(error);
      if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
      // Room for the frame alone may be left.
      ftruncateSync(this.#descriptor, this.#end);
      this.#allocated = this.#end;
    }
  }

  /** A frame of which the caller is told that it failed must not be found later. The next one overwrites it in any case. */
  #wipe(size: number): void {
    try {
      const reached = Math.min(this.#end + size, Math.max(this.#allocated, this.#end));
      writeFully(this.#descriptor, Buffer.alloc(reached - this.#end), this.#end);
      if (reached < this.#end + size) ftruncateSync(this.#descriptor, reached);
    } catch {
      // The same disk has just failed.
    }
  }

  /** Cuts off the room that was made ahead: the segment is not written to again. */
  seal(): void {
    ftruncateSync(this.#descriptor, this.#end);
    fdatasyncSync(this.#descriptor);
    closeSync(this.#descriptor);
  }

  /** Closes it as it is. */
  abandon(): void {
    closeSync(this.#descriptor);
  }
}

function writeFully(descriptor: number, bytes: Buffer, position: number): void {
  let written = 0;
  while (written < bytes.length) {
    written += writeSync(descriptor, bytes, written, bytes.length - written, position + written);
  }
}

function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
