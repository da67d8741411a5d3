import { CODES, FLAGS, TYPES, withoutPadding } from "./frames.js";
import { type Field, HeaderDecoder } from "./hpack.js";

const MAX_CONTINUATIONS = 16;

/** A head, or trailers. */
export interface HeaderBlock {
  readonly id: number;
  /** Its stream ends with it. */
  readonly isEnd: boolean;
  readonly fields: readonly Field[];
}

/** Reads the header blocks of one connection, each of a HEADERS frame and CONTINUATIONs, between which nothing else may come (RFC 9113 4.3). */
export class HeaderBlocks {
  readonly #decoder = new HeaderDecoder();
  readonly #maxBytes: number;
  #open: { readonly id: number; readonly isEnd: boolean; readonly pieces: Buffer[]; size: number } | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether a frame may come now. */
  allows(type: number, id: number): boolean {
    return this.#open === undefined || (type === TYPES.CONTINUATION && id === this.#open.id);
  }

  /** A HEADERS frame. A number: the code with which the connection ends; `undefined`: the block goes on. */
  begin(flags: number, id: number, payload: Buffer): HeaderBlock | number | undefined {
    let block = withoutPadding(flags, payload);
    if (block === undefined || id === 0 || id % 2 === 0) return CODES.PROTOCOL_ERROR;
    if ((flags & FLAGS.PRIORITY) !== 0) {
      if (block.length < 5) return CODES.FRAME_SIZE_ERROR;
      block = block.subarray(5);
    }
    const isEnd = (flags & FLAGS.END_STREAM) !== 0;
    if ((flags & FLAGS.END_HEADERS) !== 0) return this.#decode(id, block, isEnd);
    this.#open = { id, isEnd, pieces: [block], size: block.length };
    return undefined;
  }

  /** A CONTINUATION frame, answered as `begin` does. */
  goOn(flags: number, payload: Buffer): HeaderBlock | number | undefined {
    const open = this.#open;
    if (open === undefined) return CODES.PROTOCOL_ERROR;
    open.pieces.push(payload);
    open.size += payload.length;
    if (open.size > this.#maxBytes || open.pieces.length > MAX_CONTINUATIONS) return CODES.ENHANCE_YOUR_CALM;
    if ((flags & FLAGS.END_HEADERS) === 0) return undefined;
    this.#open = undefined;
    return this.#decode(open.id, Buffer.concat(open.pieces), open.isEnd);
  }

  #decode(id: number, block: Buffer, isEnd: boolean): HeaderBlock | number {
    const fields = this.#decoder.decode(block, this.#maxBytes);
    return fields === undefined ? CODES.COMPRESSION_ERROR : { id, isEnd, fields };
  }
}
