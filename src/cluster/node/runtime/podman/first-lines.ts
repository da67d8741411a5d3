import { Transform } from "node:stream";

const carriageReturn = 0x0d;
const lineFeed = 0x0a;

/**
 * Takes out what ends the first lines of a command's terminal twice. runc tells that terminal not to translate ends of lines, and the
 * one in front of it to do so, when the command runs already: what it says until then is translated by both. One carriage return
 * too many stands before the line feed then; the first line without it is the last that is looked at. Nothing that shows is held back.
 */
export class FirstLines extends Transform {
  #isSettled = false;
  #isAfterReturn = false;
  /** Carriage returns after the first of a row. */
  #held = 0;

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, chunk: Buffer) => void): void {
    if (this.#isSettled) {
      done(null, chunk);
      return;
    }
    const kept: number[] = [];
    let at = 0;
    for (; at < chunk.length && !this.#isSettled; at += 1) this.#take(chunk[at] ?? 0, kept);
    done(null, Buffer.concat([Buffer.from(kept), chunk.subarray(at)]));
  }

  override _flush(done: (error: null, chunk: Buffer) => void): void {
    done(null, Buffer.alloc(this.#held, carriageReturn));
  }

  #take(byte: number, kept: number[]): void {
    if (byte === carriageReturn) {
      if (this.#isAfterReturn) this.#held += 1;
      else kept.push(byte);
      this.#isAfterReturn = true;
      return;
    }
    const isLineEnd = byte === lineFeed && this.#isAfterReturn;
    this.#isSettled = isLineEnd && this.#held === 0;
    const returns = isLineEnd ? Math.max(0, this.#held - 1) : this.#held;
    for (let each = 0; each < returns; each += 1) kept.push(carriageReturn);
    kept.push(byte);
    this.#held = 0;
    this.#isAfterReturn = false;
  }
}
