import type { Duplex } from "node:stream";
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from "node:zlib";
import { ArgosyError } from "../../../../kernel/errors/index.js";
import { spdyDictionary } from "./dictionary.js";

/** The peer broke the protocol; its connection ends. */
export class SpdyError extends ArgosyError {
  constructor(message: string) {
    super("SpdyProtocol", message);
  }
}

/** One stream that the client opened. */
export interface SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  /** Resolves when the bytes are on their way, so that fast sources wait for slow readers. */
  send(data: Uint8Array): Promise<void>;
  /** No more will be sent. */
  finish(): Promise<void>;
  reset(): void;
}

/** What is done with what the client sends. */
export interface SpdyHandlers {
  onStream(stream: SpdyStream): void;
  /** Awaited before the next frame is read. */
  onData(stream: SpdyStream, data: Uint8Array): Promise<void> | void;
  /** The client sends no more on this stream, or gave it up. */
  onEnd(stream: SpdyStream, isReset: boolean): void;
}

const version = 3;
const types = { synStream: 1, synReply: 2, reset: 3, ping: 6, goAway: 7, headers: 8 } as const;
const finFlag = 1;
const maxFrameBytes = 1 << 20;
const maxHeaderBytes = 64 * 1024;
const maxStreams = 256;

/** Serves SPDY/3.1 on a connection until it ends, as Kubernetes' clients speak it (no flow control of its own). Rejects with `SpdyError`. */
export async function serveSpdy(socket: Duplex, handlers: SpdyHandlers): Promise<void> {
  const session = new Session(socket, handlers);
  try {
    let rest = Buffer.alloc(0);
    for await (const chunk of socket) {
      if (!(chunk instanceof Uint8Array)) continue;
      rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
      for (;;) {
        const length = rest.length < 8 ? -1 : rest.readUIntBE(5, 3);
        if (length > maxFrameBytes) throw new SpdyError(`a frame of ${length} bytes is too long`);
        if (length < 0 || rest.length < 8 + length) break;
        await session.receive(rest.subarray(0, 8), rest.subarray(8, 8 + length));
        rest = rest.subarray(8 + length);
      }
    }
  } finally {
    session.close();
  }
}

/** A stream, and which of its two directions have ended. */
interface Open {
  readonly stream: SpdyStream;
  isFinished: boolean;
  isFinishedByPeer: boolean;
}

class Session {
  readonly #socket: Duplex;
  readonly #handlers: SpdyHandlers;
  readonly #streams = new Map<number, Open>();
  readonly #inflate: Inflate = createInflate({ dictionary: spdyDictionary });
  readonly #deflate: Deflate = createDeflate({ dictionary: spdyDictionary });

  constructor(socket: Duplex, handlers: SpdyHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.#inflate.on("error", () => socket.destroy());
  }

  close(): void {
    for (const { stream } of this.#streams.values()) this.#handlers.onEnd(stream, true);
    this.#streams.clear();
    this.#inflate.close();
    this.#deflate.close();
  }

  async receive(head: Buffer, payload: Buffer): Promise<void> {
    const first = head.readUInt32BE(0);
    const flags = head.readUInt8(4);
    if ((first & 0x80000000) === 0) return this.#receiveData(first, payload, flags);
    if (((first >>> 16) & 0x7fff) !== version) throw new SpdyError("only SPDY/3.1 is spoken here");
    switch (first & 0xffff) {
      case types.synStream:
        return this.#open(payload, flags);
      case types.headers:
        await this.#readHeaders(payload.subarray(4));
        return;
      case types.reset:
        return this.#reset(payload.readUInt32BE(0) & 0x7fffffff);
      case types.ping:
        await this.#write(control(types.ping, 0, payload));
        return;
      case types.goAway:
        this.#socket.end();
        return;
      default:
      // Settings and window updates change nothing here.
    }
  }

  async #receiveData(id: number, payload: Buffer, flags: number): Promise<void> {
    const open = this.#streams.get(id);
    if (open === undefined) return;
    if (payload.length > 0) await this.#handlers.onData(open.stream, payload);
    if ((flags & finFlag) !== 0) this.#finishedByPeer(open);
  }

  #reset(id: number): void {
    const open = this.#streams.get(id);
    if (open === undefined) return;
    this.#streams.delete(id);
    this.#handlers.onEnd(open.stream, true);
  }

  #finishedByPeer(open: Open): void {
    if (open.isFinishedByPeer) return;
    open.isFinishedByPeer = true;
    this.#forgetIfDone(open);
    this.#handlers.onEnd(open.stream, false);
  }

  #forgetIfDone(open: Open): void {
    if (open.isFinishedByPeer && open.isFinished) this.#streams.delete(open.stream.id);
  }

  async #open(payload: Buffer, flags: number): Promise<void> {
    if (payload.length < 10) throw new SpdyError("a SYN_STREAM frame is too short");
    const id = payload.readUInt32BE(0) & 0x7fffffff;
    const headers = await this.#readHeaders(payload.subarray(10));
    if (this.#streams.has(id)) throw new SpdyError(`stream ${id} is opened twice`);
    if (this.#streams.size >= maxStreams) throw new SpdyError(`more than ${maxStreams} streams`);
    const stream: SpdyStream = {
      id,
      headers,
      send: (data) => this.#write(dataFrame(id, 0, data)),
      finish: () => {
        if (open.isFinished) return Promise.resolve();
        open.isFinished = true;
        this.#forgetIfDone(open);
        return this.#write(dataFrame(id, finFlag, new Uint8Array()));
      },
      reset: () => {
        this.#streams.delete(id);
        const body = Buffer.alloc(8);
        body.writeUInt32BE(id);
        body.writeUInt32BE(5, 4);
        void this.#write(control(types.reset, 0, body));
      },
    };
    const open: Open = { stream, isFinished: false, isFinishedByPeer: false };
    this.#streams.set(id, open);
    const reply = Buffer.alloc(4);
    reply.writeUInt32BE(id);
    await this.#write(control(types.synReply, 0, Buffer.concat([reply, await this.#emptyHeaders()])));
    this.#handlers.onStream(stream);
    if ((flags & finFlag) !== 0) this.#finishedByPeer(open);
  }

  async #readHeaders(block: Buffer): Promise<Map<string, string>> {
    const bytes = await through(this.#inflate, block, maxHeaderBytes);
    const headers = new Map<string, string>();
    let at = 0;
    const number = () => {
      if (at + 4 > bytes.length) throw new SpdyError("headers end too early");
      at += 4;
      return bytes.readUInt32BE(at - 4);
    };
    const text = () => {
      const length = number();
      if (at + length > bytes.length) throw new SpdyError("headers end too early");
      at += length;
      return bytes.toString("utf8", at - length, at);
    };
    for (let count = number(); count > 0; count--) headers.set(text().toLowerCase(), text());
    return headers;
  }

  #emptyHeaders(): Promise<Buffer> {
    return through(this.#deflate, Buffer.alloc(4), maxHeaderBytes);
  }

  #write(frame: Buffer): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed || this.#socket.writableEnded) resolve();
      else this.#socket.write(frame, () => resolve());
    });
  }
}

/** Sends bytes through a (de)compressor whose state goes on from block to block. */
function through(stream: Inflate | Deflate, bytes: Buffer, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const collect = (chunk: Buffer) => {
      size += chunk.length;
      chunks.push(chunk);
    };
    const fail = () => {
      stream.off("data", collect);
      reject(new SpdyError("headers cannot be decompressed"));
    };
    stream.on("data", collect);
    stream.once("error", fail);
    stream.write(bytes, () => {
      stream.flush(constants.Z_SYNC_FLUSH, () => {
        stream.off("data", collect);
        stream.off("error", fail);
        if (size > limit) reject(new SpdyError("headers are too long"));
        else resolve(Buffer.concat(chunks));
      });
    });
  });
}

function control(type: number, flags: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE((0x80000000 | (version << 16) | type) >>> 0);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

function dataFrame(id: number, flags: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(id);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}
