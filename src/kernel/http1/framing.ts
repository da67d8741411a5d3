import { TOKEN } from "./token.js";

/** Where a message body ends. `length` counts down; `chunked` follows the chunk grammar; `close` lasts until the connection does. */
export type FramingKind = "none" | "length" | "chunked" | "close";

const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILER = 6;
const TRAILER_LINE = 7;
const TRAILER_LF = 8;
const END_LF = 9;
const BLANKS = 10;
const TRAILER_NAME = 11;

const MAX_CHUNK_OVERHEAD = 16_384;

/** Follows a body through the pieces in which it arrives, without keeping or changing them. */
export class Framing {
  readonly kind: FramingKind;
  isDone: boolean;
  /** The chunk grammar was violated; nothing after it can be trusted. */
  isBroken = false;
  #left: number;
  #state = SIZE;
  #digits = 0;
  #overhead = 0;

  constructor(kind: FramingKind, length = 0) {
    this.kind = kind;
    this.#left = length;
    this.isDone = kind === "none" || (kind === "length" && length === 0);
  }

  /**
   * How many of the bytes from `start` to `end` belong to the body; `content` is told where they are content and no framing.
   * Sets `isDone` with the last one, `isBroken` on a fault.
   */
  consume(bytes: Uint8Array, start: number, end: number, content?: (from: number, to: number) => void): number {
    const available = end - start;
    if (this.isDone || available <= 0) return 0;
    if (this.kind === "chunked") return this.#consumeChunks(bytes, start, end, content) - start;
    const taken = this.kind === "close" ? available : Math.min(available, this.#left);
    if (this.kind === "length") {
      this.#left -= taken;
      this.isDone = this.#left === 0;
    }
    content?.(start, start + taken);
    return taken;
  }

  #consumeChunks(
    bytes: Uint8Array,
    start: number,
    end: number,
    content: ((from: number, to: number) => void) | undefined,
  ): number {
    let index = start;
    while (index < end && !this.isDone) {
      if (this.#state === DATA) {
        const taken = Math.min(end - index, this.#left);
        this.#left -= taken;
        content?.(index, index + taken);
        index += taken;
        if (this.#left === 0) this.#state = DATA_CR;
        continue;
      }
      if (!this.#step(bytes[index] ?? 0)) {
        this.isBroken = true;
        return index;
      }
      index++;
    }
    return index;
  }

  /** One byte of chunk heads, chunk ends and trailers; false: not allowed here. */
  #step(byte: number): boolean {
    if (++this.#overhead > MAX_CHUNK_OVERHEAD) return false;
    switch (this.#state) {
      case SIZE:
        return this.#stepSize(byte);
      case EXTENSION:
        if (byte === 13) this.#state = SIZE_LF;
        return isText(byte) || byte === 13;
      case BLANKS:
        // White space comes only before an extension; a second number after the first would be one number to somebody else.
        if (byte === 59) this.#state = EXTENSION;
        return byte === 59 || byte === 32 || byte === 9;
      case SIZE_LF:
        this.#digits = 0;
        this.#state = this.#left === 0 ? TRAILER : DATA;
        return byte === 10;
      case DATA_CR:
        this.#state = DATA_LF;
        return byte === 13;
      case DATA_LF:
        this.#state = SIZE;
        this.#overhead = 0;
        return byte === 10;
      case TRAILER:
        this.#state = byte === 13 ? END_LF : TRAILER_NAME;
        return byte === 13 || TOKEN[byte] === 1;
      case TRAILER_NAME:
        if (byte === 58) this.#state = TRAILER_LINE;
        return byte === 58 || TOKEN[byte] === 1;
      case TRAILER_LINE:
        if (byte === 13) this.#state = TRAILER_LF;
        return isText(byte) || byte === 13;
      case TRAILER_LF:
        this.#state = TRAILER;
        return byte === 10;
      default:
        this.isDone = byte === 10;
        return this.isDone;
    }
  }

  #stepSize(byte: number): boolean {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#left = this.#left * 16 + digit;
      return ++this.#digits <= 12;
    }
    if (this.#digits === 0) return false;
    if (byte === 13) this.#state = SIZE_LF;
    else this.#state = byte === 59 ? EXTENSION : BLANKS;
    return byte === 13 || byte === 59 || byte === 32 || byte === 9;
  }
}

/** No control character, but for the tab. */
function isText(byte: number): boolean {
  return (byte >= 32 && byte !== 127) || byte === 9;
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const letter = byte | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}
