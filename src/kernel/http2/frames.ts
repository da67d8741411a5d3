import type { Socket } from "node:net";

/** Types of frames (RFC 9113 6). */
export const TYPES = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

/** Flags of frames. */
export const FLAGS = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;

/** Error codes (RFC 9113 7). */
export const CODES = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const;

/** Small frames are copied into one buffer of this size; larger contents are handed on as they are. */
const BUFFER_BYTES = 16_384;
const MAX_COPIED = 4096;
const NONE = new Uint8Array();

/** What a client's connection begins with (RFC 9113 3.4). */
export const PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** Takes frames out of what is read. */
export class FrameReader {
  readonly #maxFrame: number;
  #pending: Buffer | undefined;

  constructor(maxFrame: number) {
    this.#maxFrame = maxFrame;
  }

  /** Hands over all frames that are whole; the code with which the connection ends: the first that `onFrame` returns, or that of a frame beyond the limit. */
  read(
    chunk: Buffer,
    onFrame: (type: number, flags: number, id: number, payload: Buffer) => number | undefined,
  ): number | undefined {
    const bytes = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = undefined;
    let at = 0;
    while (bytes.length - at >= 9) {
      const length = bytes.readUIntBE(at, 3);
      if (length > this.#maxFrame) return CODES.FRAME_SIZE_ERROR;
      if (bytes.length - at < 9 + length) break;
      const id = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
      const payload = bytes.subarray(at + 9, at + 9 + length);
      const fault = onFrame(bytes[at + 3] ?? 0, bytes[at + 4] ?? 0, id, payload);
      if (fault !== undefined) return fault;
      at += 9 + length;
    }
    if (at < bytes.length) this.#pending = at === 0 ? bytes : bytes.subarray(at);
    return undefined;
  }
}

/** A payload without its padding; `undefined` where that is longer than the payload. */
export function withoutPadding(flags: number, payload: Buffer): Buffer | undefined {
  if ((flags & FLAGS.PADDED) === 0) return payload;
  const padding = payload[0] ?? 0;
  return padding >= payload.length ? undefined : payload.subarray(1, payload.length - padding);
}

/** Writes frames; those of one turn of the event loop leave together. */
export class FrameWriter {
  readonly #socket: Socket;
  #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #start = 0;
  #at = 0;
  #ready: Uint8Array[] = [];
  #isScheduled = false;
  #unsent = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that wait: for the end of the turn, or for the socket. */
  get waitingBytes(): number {
    return this.#unsent + this.#socket.writableLength;
  }

  /** Bytes that are no frame. */
  raw(bytes: Uint8Array): void {
    this.#close();
    this.#ready.push(bytes);
  }

  headers(id: number, block: Uint8Array, isEnd: boolean): void {
    this.#frame(TYPES.HEADERS, FLAGS.END_HEADERS | (isEnd ? FLAGS.END_STREAM : 0), id, block);
  }

  data(id: number, bytes: Uint8Array, isEnd: boolean): void {
    this.#frame(TYPES.DATA, isEnd ? FLAGS.END_STREAM : 0, id, bytes);
  }

  reset(id: number, code: number): void {
    this.#frame(TYPES.RST_STREAM, 0, id, number32(code));
  }

  settings(values: readonly (readonly [key: number, value: number])[]): void {
    const payload = Buffer.alloc(values.length * 6);
    for (const [index, [key, value]] of values.entries()) {
      payload.writeUInt16BE(key, index * 6);
      payload.writeUInt32BE(value, index * 6 + 2);
    }
    this.#frame(TYPES.SETTINGS, 0, 0, payload);
  }

  settingsAck(): void {
    this.#frame(TYPES.SETTINGS, FLAGS.ACK, 0, NONE);
  }

  /** `isAnswer`: to one of the other side's. */
  ping(payload: Uint8Array, isAnswer = true): void {
    this.#frame(TYPES.PING, isAnswer ? FLAGS.ACK : 0, 0, payload);
  }

  goAway(lastId: number, code: number): void {
    this.#frame(TYPES.GOAWAY, 0, 0, Buffer.concat([number32(lastId), number32(code)]));
  }

  window(id: number, more: number): void {
    this.#frame(TYPES.WINDOW_UPDATE, 0, id, number32(more));
  }

  #frame(type: number, flags: number, id: number, payload: Uint8Array): void {
    const isCopied = payload.length <= MAX_COPIED;
    const needed = 9 + (isCopied ? payload.length : 0);
    if (this.#at + needed > this.#buffer.length) this.#cut();
    const buffer = this.#buffer;
    let at = this.#at;
    buffer[at++] = payload.length >>> 16;
    buffer[at++] = (payload.length >>> 8) & 255;
    buffer[at++] = payload.length & 255;
    buffer[at++] = type;
    buffer[at++] = flags;
    at = buffer.writeUInt32BE(id, at);
    if (isCopied) {
      buffer.set(payload, at);
      at += payload.length;
    }
    this.#at = at;
    this.#unsent += 9 + payload.length;
    if (!isCopied) {
      this.#close();
      this.#ready.push(payload);
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // After all that is about to be answered in this turn.
    process.nextTick(() => this.flush());
  }

  /** Puts what was written into the list of what leaves. */
  #close(): void {
    if (this.#at > this.#start) this.#ready.push(this.#buffer.subarray(this.#start, this.#at));
    this.#start = this.#at;
  }

  #cut(): void {
    this.#close();
    // What leaves is not written over.
    this.#buffer = Buffer.allocUnsafe(BUFFER_BYTES);
    this.#start = 0;
    this.#at = 0;
  }

  /** Hands everything to the socket. */
  flush(): void {
    this.#isScheduled = false;
    this.#unsent = 0;
    this.#close();
    const ready = this.#ready;
    if (ready.length === 0) return;
    this.#ready = [];
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    const [first] = ready;
    if (ready.length === 1 && first !== undefined) {
      this.#socket.write(first);
      return;
    }
    this.#socket.cork();
    for (const part of ready) this.#socket.write(part);
    this.#socket.uncork();
  }
}

function number32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
