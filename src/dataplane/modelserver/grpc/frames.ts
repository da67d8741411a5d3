/** Messages of a gRPC stream: five bytes of head each, compressed or not. */
import { promisify } from "node:util";
import { deflate, deflateSync, gunzip, gunzipSync, gzip, gzipSync, inflate, inflateSync } from "node:zlib";
import { HttpError } from "../../../kernel/http1/index.js";
import { FRAME_HEAD } from "./frame-head.js";

/** A message as it came. */
export interface Frame {
  readonly isCompressed: boolean;
  readonly bytes: Buffer;
}

const codings = {
  gzip: { decode: promisify(gunzip), decodeSync: gunzipSync, encode: promisify(gzip), encodeSync: gzipSync },
  deflate: { decode: promisify(inflate), decodeSync: inflateSync, encode: promisify(deflate), encodeSync: deflateSync },
} as const;

/** A coding of messages. */
export type Coding = keyof typeof codings;

export const CODINGS = "identity,gzip,deflate";
/** Beyond it the work goes to another thread. */
const MAX_IN_LINE = 16_384;
/** Less is not worth it. */
const MIN_COMPRESSED = 512;

/** The coding that a header names; `undefined` for none. Throws 415 for one that is not offered. */
export function readCoding(value: string | undefined): Coding | undefined {
  if (value === undefined || value === "identity") return undefined;
  if (value !== "gzip" && value !== "deflate")
    throw new HttpError(415, `message coding ${value.slice(0, 40)} is not offered; ${CODINGS} are`);
  return value;
}

/** Cuts a stream of bytes into messages. Throws 413 as soon as a message says that it is too large. */
export class FrameReader {
  readonly #limit: number;
  #pieces: Buffer[] = [];
  #size = 0;
  #wanted = -1;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes of a message that is not whole are here. */
  get isWithin(): boolean {
    return this.#size > 0;
  }

  push(chunk: Buffer): Frame[] {
    this.#pieces.push(chunk);
    this.#size += chunk.length;
    if (this.#wanted > this.#size) return [];
    const [first = chunk] = this.#pieces;
    let bytes = this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces);
    const frames: Frame[] = [];
    this.#wanted = -1;
    while (bytes.length >= FRAME_HEAD) {
      const length = bytes.readUInt32BE(1);
      if (length > this.#limit)
        throw new HttpError(413, `a message of ${length} bytes is larger than ${this.#limit} bytes`);
      if ((bytes[0] ?? 0) > 1) throw new HttpError(400, "the head of a message is malformed");
      if (bytes.length < FRAME_HEAD + length) {
        this.#wanted = FRAME_HEAD + length;
        break;
      }
      frames.push({ isCompressed: bytes[0] === 1, bytes: bytes.subarray(FRAME_HEAD, FRAME_HEAD + length) });
      bytes = bytes.subarray(FRAME_HEAD + length);
    }
    this.#pieces = bytes.length === 0 ? [] : [bytes];
    this.#size = bytes.length;
    return frames;
  }
}

/** A message's content, at most `limit` bytes. Throws 400, 413. */
export async function openFrame(
  { isCompressed, bytes }: Frame,
  coding: Coding | undefined,
  limit: number,
): Promise<Buffer> {
  if (!isCompressed) return bytes;
  if (coding === undefined) throw new HttpError(400, "a message is compressed, but grpc-encoding does not say how");
  const { decode, decodeSync } = codings[coding];
  try {
    const options = { maxOutputLength: limit };
    return bytes.length > MAX_IN_LINE ? await decode(bytes, options) : decodeSync(bytes, options);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE")
      throw new HttpError(413, `a message is larger than ${limit} bytes`);
    throw new HttpError(400, `a message is not ${coding}`);
  }
}

/** Puts the head into a message that was written after `FRAME_HEAD` free bytes, and compresses it where that is worth it. */
export async function closeFrame(frame: Buffer, coding: Coding | undefined): Promise<Buffer> {
  if (coding === undefined || frame.length < MIN_COMPRESSED) return plainFrame(frame);
  const { encode, encodeSync } = codings[coding];
  const content = frame.subarray(FRAME_HEAD);
  const packed = content.length > MAX_IN_LINE ? await encode(content, { level: 1 }) : encodeSync(content, { level: 1 });
  const head = Buffer.alloc(FRAME_HEAD, 1);
  head.writeUInt32BE(packed.length, 1);
  return Buffer.concat([head, packed]);
}

/** As `closeFrame`, without compression. */
export function plainFrame(frame: Buffer): Buffer {
  frame[0] = 0;
  frame.writeUInt32BE(frame.length - FRAME_HEAD, 1);
  return frame;
}
