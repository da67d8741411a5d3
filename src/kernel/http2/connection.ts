import type { Socket } from "node:net";
import type { Clock } from "../clock/types.js";
import { type HeaderBlock, HeaderBlocks } from "./blocks.js";
import { checkRequest } from "./fields.js";
import { CODES, FLAGS, FrameReader, FrameWriter, PREFACE, TYPES, withoutPadding } from "./frames.js";
import { Http2Stream, type StreamOutput } from "./stream.js";
import { LiveStreams } from "./streams.js";

const MAX_FRAME = 16_384;
const MAX_STREAMS = 256;
const STREAM_WINDOW = 1 << 20;
const CONNECTION_WINDOW = 1 << 24;
const MAX_WINDOW = 2 ** 31 - 1;
const MAX_HEADER_BYTES = 32_768;
/** Frames that ask for work and bring none: so many at once, and so many a second. */
const MAX_NOISE = 2000;
const NOISE_PER_MS = 0.5;
/** A request that is broken off weighs as much as so many of them. */
const RESET_WEIGHT = 2;
/** Bytes that a client may leave unread before its connection ends. */
const MAX_UNREAD_BYTES = 64 << 20;
/** What one stream sends while others wait. */
const TURN_BYTES = 65_536;
const EMPTY = Buffer.alloc(0);
const PING = Buffer.alloc(8);
/** Says that no table is kept (RFC 7541 6.3): whatever the client's setting for it becomes. */
const NO_TABLE = Buffer.of(0x20);

/** The code with which the connection ends; `undefined`: it goes on. */
type Fault = number | undefined;

/** What a connection needs of its server. */
export interface Http2Host {
  readonly clock: Clock;
  /** A request's header is here; its handlers are to be set now. */
  readonly onStream: (stream: Http2Stream) => void;
  readonly onClose: (connection: Http2Connection) => void;
}

/** A client's connection: frames in, streams, frames out. Faults of the client end it with GOAWAY (RFC 9113). */
export class Http2Connection implements StreamOutput {
  readonly #host: Http2Host;
  readonly #socket: Socket;
  readonly #writer: FrameWriter;
  readonly #reader = new FrameReader(MAX_FRAME);
  readonly #blocks = new HeaderBlocks(MAX_HEADER_BYTES);
  readonly #streams = new LiveStreams<Http2Stream>();
  /** Of a preface that is not whole. */
  #pending: Buffer = EMPTY;
  #hasPreface = false;
  #hasSettings = false;
  #lastId = 0;
  #receiveWindow = CONNECTION_WINDOW;
  #unacknowledged = 0;
  #sendWindow = 65_535;
  #initialSendWindow = 65_535;
  /** Most that a stream sends at once. */
  #turnBytes = Number.POSITIVE_INFINITY;
  #noise = 0;
  #noiseAtMs: number;
  #isDraining = false;
  #isFirstBlock = true;
  #isOver = false;
  /** When nothing was heard of the client for so long that it is given up; monotonic milliseconds. */
  lastHeardMs: number;

  constructor(host: Http2Host, socket: Socket, first: Buffer) {
    this.#host = host;
    this.#socket = socket;
    this.#writer = new FrameWriter(socket);
    this.lastHeardMs = host.clock.monotonicMs();
    this.#noiseAtMs = this.lastHeardMs;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.#flushAll());
    socket.on("end", () => socket.destroy());
    socket.on("error", () => undefined);
    socket.on("close", () => this.#onClose());
    this.#writer.settings([
      [3, MAX_STREAMS],
      [4, STREAM_WINDOW],
      [6, MAX_HEADER_BYTES],
    ]);
    this.#writer.window(0, CONNECTION_WINDOW - 65_535);
    this.#onData(first);
    socket.resume();
  }

  get isIdle(): boolean {
    return this.#streams.size === 0;
  }

  get isWritable(): boolean {
    return this.#writer.waitingBytes < MAX_FRAME * 16;
  }

  streams(): readonly Http2Stream[] {
    return this.#streams.all();
  }

  /** Takes no more requests; ends when those under way are answered. */
  drain(): void {
    if (this.#isDraining || this.#isOver) return;
    this.#isDraining = true;
    this.#writer.goAway(this.#lastId, CODES.NO_ERROR);
    if (this.isIdle) this.#end();
  }

  /** Asks the client whether it is there; `lastHeardMs` tells of its answer. */
  ping(): void {
    if (!this.#isOver) this.#writer.ping(PING, false);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #end(): void {
    this.#isOver = true;
    this.#writer.flush();
    this.#socket.end();
  }

  #onClose(): void {
    this.#isOver = true;
    for (const stream of this.#streams.all()) stream.close();
    this.#host.onClose(this);
  }

  /** The client broke the protocol: it is told, and the connection ends. */
  #fail(code: number): void {
    if (this.#isOver) return;
    this.#writer.goAway(this.#lastId, code);
    this.#end();
    for (const stream of this.#streams.all()) stream.close();
    // What it still sends is not read.
    this.#socket.destroySoon();
  }

  #onData(chunk: Buffer): void {
    if (this.#isOver) return;
    this.lastHeardMs = this.#host.clock.monotonicMs();
    let bytes = chunk;
    if (!this.#hasPreface) {
      bytes = Buffer.concat([this.#pending, chunk]);
      const length = Math.min(bytes.length, PREFACE.length);
      if (!bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) {
        this.#socket.destroy();
        return;
      }
      if (bytes.length < PREFACE.length) {
        this.#pending = bytes;
        return;
      }
      this.#hasPreface = true;
      this.#pending = EMPTY;
      bytes = bytes.subarray(PREFACE.length);
    }
    const fault = this.#reader.read(bytes, (type, flags, id, payload) =>
      this.#isOver ? undefined : this.#onFrame(type, flags, id, payload),
    );
    if (fault !== undefined) this.#fail(fault);
    if (this.#socket.writableLength > MAX_UNREAD_BYTES) this.#socket.destroy();
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): Fault {
    if (!this.#hasSettings && type !== TYPES.SETTINGS) return CODES.PROTOCOL_ERROR;
    if (!this.#blocks.allows(type, id)) return CODES.PROTOCOL_ERROR;
    switch (type) {
      case TYPES.DATA:
        return this.#onDataFrame(flags, id, payload);
      case TYPES.HEADERS:
        return this.#onHead(this.#blocks.begin(flags, id, payload));
      case TYPES.CONTINUATION:
        return this.#onHead(this.#blocks.goOn(flags, payload));
      case TYPES.PRIORITY:
        if (id === 0 || payload.length !== 5) return CODES.PROTOCOL_ERROR;
        return this.#count(1);
      case TYPES.RST_STREAM:
        return this.#onReset(id, payload);
      case TYPES.SETTINGS:
        return this.#onSettings(flags, id, payload);
      case TYPES.PING:
        return this.#onPing(flags, id, payload);
      case TYPES.GOAWAY:
        return id === 0 ? undefined : CODES.PROTOCOL_ERROR;
      case TYPES.WINDOW_UPDATE:
        return this.#onWindow(id, payload);
      case TYPES.PUSH_PROMISE:
        return CODES.PROTOCOL_ERROR;
      default:
        return this.#count(1);
    }
  }

  /** Bounds what costs us and brings the client nothing (PING, SETTINGS, empty frames, requests that are broken off). */
  #count(weight: number): Fault {
    const now = this.lastHeardMs;
    this.#noise = Math.max(0, this.#noise - (now - this.#noiseAtMs) * NOISE_PER_MS) + weight;
    this.#noiseAtMs = now;
    return this.#noise > MAX_NOISE ? CODES.ENHANCE_YOUR_CALM : undefined;
  }

  #onDataFrame(flags: number, id: number, payload: Buffer): Fault {
    const size = payload.length;
    this.#receiveWindow -= size;
    if (id === 0 || id > this.#lastId) return CODES.PROTOCOL_ERROR;
    if (this.#receiveWindow < 0) return CODES.FLOW_CONTROL_ERROR;
    const content = withoutPadding(flags, payload);
    if (content === undefined) return CODES.PROTOCOL_ERROR;
    // The connection's window is for all streams: one that is held up must not hold the others up.
    this.#giveBackConnection(size);
    const isEnd = (flags & FLAGS.END_STREAM) !== 0;
    const fault = content.length === 0 && !isEnd ? this.#count(1) : undefined;
    const stream = this.#streams.get(id);
    // Of streams that were ended here more may be under way.
    if (stream === undefined || fault !== undefined) return fault;
    if (stream.isRemoteEnded) {
      stream.reset(CODES.STREAM_CLOSED);
      return undefined;
    }
    stream.receiveWindow -= size;
    if (stream.receiveWindow < 0) {
      stream.reset(CODES.FLOW_CONTROL_ERROR);
      return undefined;
    }
    stream.received += content.length;
    const { announced, received } = stream;
    if (announced >= 0 && (received > announced || (isEnd && received < announced))) {
      stream.reset(CODES.PROTOCOL_ERROR);
      return undefined;
    }
    if (isEnd) stream.isRemoteEnded = true;
    stream.deliver(content, size);
    if (isEnd && !stream.isClosed) stream.endRemote();
    return undefined;
  }

  #giveBackConnection(size: number): void {
    this.#unacknowledged += size;
    if (this.#unacknowledged < CONNECTION_WINDOW / 4) return;
    this.#writer.window(0, this.#unacknowledged);
    this.#receiveWindow += this.#unacknowledged;
    this.#unacknowledged = 0;
  }

  #onHead(found: HeaderBlock | number | undefined): Fault {
    return typeof found === "object" ? this.#onBlock(found) : found;
  }

  #onBlock({ id, isEnd, fields }: HeaderBlock): Fault {
    const known = this.#streams.get(id);
    if (known !== undefined) {
      // Trailers; those of requests say nothing here.
      if (!isEnd || known.isRemoteEnded) {
        known.reset(CODES.PROTOCOL_ERROR);
        return undefined;
      }
      if (known.announced >= 0 && known.received < known.announced) {
        known.reset(CODES.PROTOCOL_ERROR);
        return undefined;
      }
      known.endRemote();
      return undefined;
    }
    if (id <= this.#lastId) {
      // Trailers of a stream that ended here; a new one cannot have an old number.
      return isEnd ? this.#count(1) : CODES.STREAM_CLOSED;
    }
    this.#lastId = id;
    if (this.#isDraining || this.#streams.size >= MAX_STREAMS) {
      this.#writer.reset(id, CODES.REFUSED_STREAM);
      return this.#count(RESET_WEIGHT);
    }
    if (!checkRequest(fields)) {
      this.#writer.reset(id, CODES.PROTOCOL_ERROR);
      return this.#count(RESET_WEIGHT);
    }
    const windows = { send: this.#initialSendWindow, receive: STREAM_WINDOW };
    const stream = new Http2Stream(id, fields, this, windows);
    this.#streams.add(stream);
    this.#host.onStream(stream);
    if (!isEnd || stream.isClosed) return undefined;
    if (stream.announced > 0) stream.reset(CODES.PROTOCOL_ERROR);
    else stream.endRemote();
    return undefined;
  }

  #onReset(id: number, payload: Buffer): Fault {
    if (payload.length !== 4) return CODES.FRAME_SIZE_ERROR;
    if (id === 0 || id > this.#lastId) return CODES.PROTOCOL_ERROR;
    this.#streams.get(id)?.close();
    return this.#count(RESET_WEIGHT);
  }

  #onSettings(flags: number, id: number, payload: Buffer): Fault {
    if (id !== 0) return CODES.PROTOCOL_ERROR;
    const fault = this.#count(1);
    if (fault !== undefined) return fault;
    if ((flags & FLAGS.ACK) !== 0) return payload.length === 0 ? undefined : CODES.FRAME_SIZE_ERROR;
    if (payload.length % 6 !== 0) return CODES.FRAME_SIZE_ERROR;
    this.#hasSettings = true;
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      const key = payload.readUInt16BE(at);
      // Of the others none changes what we send: no pushes, no table, no frames beyond the smallest limit.
      if (key !== 4) continue;
      if (value > MAX_WINDOW) return CODES.FLOW_CONTROL_ERROR;
      const more = value - this.#initialSendWindow;
      this.#initialSendWindow = value;
      for (const stream of this.#streams.all()) stream.sendWindow += more;
    }
    this.#writer.settingsAck();
    this.#flushAll();
    return undefined;
  }

  #onPing(flags: number, id: number, payload: Buffer): Fault {
    if (id !== 0) return CODES.PROTOCOL_ERROR;
    if (payload.length !== 8) return CODES.FRAME_SIZE_ERROR;
    if ((flags & FLAGS.ACK) !== 0) return undefined;
    this.#writer.ping(payload);
    return this.#count(1);
  }

  #onWindow(id: number, payload: Buffer): Fault {
    if (payload.length !== 4) return CODES.FRAME_SIZE_ERROR;
    const more = payload.readUInt32BE(0) & 0x7fff_ffff;
    if (id === 0) {
      this.#sendWindow += more;
      if (more === 0 || this.#sendWindow > MAX_WINDOW) return CODES.FLOW_CONTROL_ERROR;
      this.#flushAll();
      return undefined;
    }
    if (id > this.#lastId) return CODES.PROTOCOL_ERROR;
    const stream = this.#streams.get(id);
    if (stream === undefined) return undefined;
    stream.sendWindow += more;
    if (more === 0) stream.reset(CODES.PROTOCOL_ERROR);
    else if (stream.sendWindow > MAX_WINDOW) stream.reset(CODES.FLOW_CONTROL_ERROR);
    else if (stream.hasWaiting) stream.flush();
    return undefined;
  }

  /** In turn, a part of each: whoever has much to send holds nobody else up. */
  #flushAll(): void {
    if (this.#isOver) return;
    this.#turnBytes = TURN_BYTES;
    let waiting: readonly Http2Stream[] = this.#streams.all().filter((each) => each.hasAnswered && !each.isLocalEnded);
    do {
      const before = this.#sendWindow;
      for (const stream of waiting) stream.flush();
      waiting = before === this.#sendWindow ? [] : waiting.filter((each) => each.hasWaiting);
    } while (waiting.length > 0 && this.isWritable);
    this.#turnBytes = Number.POSITIVE_INFINITY;
  }

  sendHeaders(stream: Http2Stream, block: Buffer, isEnd: boolean): void {
    if (block.length > MAX_FRAME) stream.reset(CODES.INTERNAL_ERROR);
    else {
      this.#writer.headers(stream.id, this.#isFirstBlock ? Buffer.concat([NO_TABLE, block]) : block, isEnd);
      this.#isFirstBlock = false;
    }
  }

  sendData(stream: Http2Stream, bytes: Uint8Array, isEnd: boolean): number {
    if (bytes.length === 0) {
      this.#writer.data(stream.id, bytes, isEnd);
      return 0;
    }
    let sent = 0;
    while (sent < bytes.length && sent < this.#turnBytes && this.isWritable) {
      const size = Math.min(bytes.length - sent, stream.sendWindow, this.#sendWindow, MAX_FRAME);
      if (size <= 0) break;
      stream.sendWindow -= size;
      this.#sendWindow -= size;
      this.#writer.data(stream.id, bytes.subarray(sent, sent + size), isEnd && sent + size === bytes.length);
      sent += size;
    }
    return sent;
  }

  sendReset(stream: Http2Stream, code: number): void {
    if (!this.#isOver) this.#writer.reset(stream.id, code);
  }

  giveBack(stream: Http2Stream, bytes: number): void {
    if (stream.isClosed || stream.isRemoteEnded || bytes === 0) return;
    stream.credit += bytes;
    if (stream.credit < STREAM_WINDOW / 2) return;
    this.#writer.window(stream.id, stream.credit);
    stream.receiveWindow += stream.credit;
    stream.credit = 0;
  }

  forget(stream: Http2Stream): void {
    this.#streams.delete(stream.id);
    if (this.#isDraining && this.isIdle && !this.#isOver) this.#end();
  }
}
