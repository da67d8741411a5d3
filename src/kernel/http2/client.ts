import type { Socket } from "node:net";
import { ArgosyError } from "../errors/index.js";
import { type HeaderBlock, HeaderBlocks } from "./blocks.js";
import { CODES, FLAGS, FrameReader, FrameWriter, PREFACE, TYPES, withoutPadding } from "./frames.js";
import { type Field, HeaderEncoder } from "./hpack.js";
import { LiveStreams } from "./streams.js";

const STREAM_WINDOW = 1 << 24;
const CONNECTION_WINDOW = 1 << 26;
const MAX_WINDOW = 2 ** 31 - 1;
const MAX_FRAME = 16_384;
const MAX_HEADER_BYTES = 65_536;
/** As long as the server says nothing else. */
const USUAL_STREAMS = 100;
const MAX_STREAM_ID = 2 ** 30;
/** A connection without use is closed when its server asks so often whether anybody is there. */
const MAX_IDLE_PINGS = 2;
const EMPTY = Buffer.alloc(0);
const PASSING = new Set([":path", "content-length"]);

/** What is asked. */
export interface Http2Request {
  readonly method: string;
  /** Path and query, of visible ASCII. */
  readonly path: string;
  readonly authority: string;
  /** Names in small letters. */
  readonly fields: readonly Field[];
  readonly body: Uint8Array | undefined;
  /** Most of the answer's body that is wanted, bytes; beyond it the exchange fails. */
  readonly limit: number;
}

/** An answer that has come to its end. */
export interface Http2Answer {
  readonly status: number;
  readonly fields: readonly Field[];
  readonly body: Buffer;
}

/** Hears how an exchange ends. */
export interface Http2Receiver {
  onAnswer(answer: Http2Answer): void;
  /** `isUnseen`: the server says that it has done nothing about the request, which may be sent again. */
  onFailure(error: Error, isUnseen: boolean): void;
}

/** One exchange under way; `cancel` ends it without a word to its receiver. */
export interface Http2Exchange {
  cancel(): void;
}

/** What a connection tells its owner. */
export interface Http2Owner {
  onClose(): void;
}

class Exchange {
  readonly id: number;
  readonly receiver: Http2Receiver;
  readonly limit: number;
  sendWindow: number;
  /** Of the body: what the windows did not let out yet. */
  rest: Uint8Array | undefined;
  fields: readonly Field[] | undefined;
  status = 0;
  announced = -1;
  pieces: Buffer[] = [];
  bytes = 0;
  credit = 0;
  /** How much was heard of the server when it began. */
  readonly heardBefore: number;

  constructor(id: number, receiver: Http2Receiver, limit: number, state: { sendWindow: number; heard: number }) {
    this.id = id;
    this.receiver = receiver;
    this.limit = limit;
    this.sendWindow = state.sendWindow;
    this.heardBefore = state.heard;
  }
}

/** The code with which the connection ends; `undefined`: it goes on. */
type Fault = number | undefined;

/**
 * A client's connection over a socket on which HTTP/2 was agreed: many exchanges at a time, each of which ends with its whole answer. What is
 * asked in one turn of the event loop leaves in one write. A server that breaks the protocol ends it (RFC 9113).
 */
export class Http2Client {
  readonly #socket: Socket;
  readonly #writer: FrameWriter;
  readonly #reader = new FrameReader(MAX_FRAME);
  readonly #blocks = new HeaderBlocks(MAX_HEADER_BYTES);
  readonly #encoder = new HeaderEncoder();
  readonly #exchanges = new LiveStreams<Exchange>();
  #nextId = 1;
  #maxStreams = USUAL_STREAMS;
  #sendWindow = 65_535;
  #initialSendWindow = 65_535;
  #receiveWindow = CONNECTION_WINDOW;
  #unacknowledged = 0;
  /** How many times something was heard of the server. */
  #heard = 0;
  #hasSettings = false;
  /** How often the server asked since the last exchange. */
  #idlePings = 0;
  #isRetired = false;
  #isOver = false;

  constructor(socket: Socket, owner: Http2Owner) {
    this.#socket = socket;
    this.#writer = new FrameWriter(socket);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.#flushAll());
    socket.on("end", () => socket.destroy());
    let failure: Error = new ArgosyError("ECONNRESET", "the other side closed the connection");
    socket.on("error", (error) => {
      failure = error;
    });
    socket.on("close", () => {
      this.#fail(failure);
      owner.onClose();
    });
    this.#writer.raw(PREFACE);
    this.#writer.settings([
      [2, 0],
      [4, STREAM_WINDOW],
      [6, MAX_HEADER_BYTES],
    ]);
    this.#writer.window(0, CONNECTION_WINDOW - 65_535);
  }

  /** Another exchange may begin. */
  get canTake(): boolean {
    return !this.#isRetired && !this.#isOver && this.#exchanges.size < this.#maxStreams && this.#nextId < MAX_STREAM_ID;
  }

  get isIdle(): boolean {
    return this.#exchanges.size === 0;
  }

  /** Sends a request; only where `canTake`. Throws `ArgosyError` where its header is longer than a frame. */
  exchange(request: Http2Request, receiver: Http2Receiver): Http2Exchange {
    const { method, path, authority, fields, body } = request;
    const all: Field[] = [
      [":method", method],
      [":scheme", "https"],
      [":authority", authority],
      [":path", path],
      ...fields,
    ];
    if (body !== undefined) all.push(["content-length", String(body.length)]);
    const block = this.#encoder.encode(all, PASSING);
    if (block === undefined) throw new ArgosyError("TooLarge", "the head of the request is too long");
    const state = { sendWindow: this.#initialSendWindow, heard: this.#heard };
    const exchange = new Exchange(this.#nextId, receiver, request.limit, state);
    this.#nextId += 2;
    this.#exchanges.add(exchange);
    this.#idlePings = 0;
    this.#socket.ref();
    const hasBody = body !== undefined && body.length > 0;
    this.#writer.headers(exchange.id, block, !hasBody);
    if (hasBody) {
      exchange.rest = body;
      this.#send(exchange);
    }
    return { cancel: () => this.#cancel(exchange) };
  }

  /** No more exchanges; it ends with the last one that is under way. */
  retire(): void {
    this.#isRetired = true;
    if (this.isIdle) this.#end();
  }

  /** Ends it; what is under way fails. */
  destroy(error: Error): void {
    this.#fail(error);
    this.#socket.destroy();
  }

  #end(): void {
    this.#writer.flush();
    this.#socket.end();
  }

  #cancel(exchange: Exchange): void {
    if (this.#exchanges.get(exchange.id) === undefined) return;
    this.#writer.reset(exchange.id, CODES.CANCEL);
    // Nothing came of it all the while: it may be that nothing comes any more.
    if (exchange.heardBefore === this.#heard) this.#isRetired = true;
    this.#forget(exchange);
  }

  #forget(exchange: Exchange): void {
    this.#exchanges.delete(exchange.id);
    if (this.isIdle && this.#isRetired) this.#end();
    else if (this.isIdle) this.#socket.unref();
  }

  #fail(error: Error, isUnseenAfter = MAX_WINDOW): void {
    this.#isOver = true;
    for (const exchange of this.#exchanges.all()) {
      this.#exchanges.delete(exchange.id);
      exchange.receiver.onFailure(error, exchange.id > isUnseenAfter);
    }
  }

  #break(code: number): void {
    if (this.#isOver) return;
    this.#writer.goAway(0, code);
    this.#writer.flush();
    this.destroy(new ArgosyError("ECONNRESET", `the server broke the protocol (HTTP/2 error ${code})`));
  }

  #onData(chunk: Buffer): void {
    this.#heard++;
    const fault = this.#reader.read(chunk, (type, flags, id, payload) =>
      this.#isOver ? undefined : this.#onFrame(type, flags, id, payload),
    );
    if (fault !== undefined) this.#break(fault);
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): Fault {
    if (!this.#hasSettings && type !== TYPES.SETTINGS) return CODES.PROTOCOL_ERROR;
    if (!this.#blocks.allows(type, id)) return CODES.PROTOCOL_ERROR;
    switch (type) {
      case TYPES.DATA:
        return this.#onDataFrame(flags, id, payload);
      case TYPES.HEADERS:
        return id >= this.#nextId ? CODES.PROTOCOL_ERROR : this.#onHead(this.#blocks.begin(flags, id, payload));
      case TYPES.CONTINUATION:
        return this.#onHead(this.#blocks.goOn(flags, payload));
      case TYPES.RST_STREAM:
        return this.#onReset(id, payload);
      case TYPES.SETTINGS:
        return this.#onSettings(flags, id, payload);
      case TYPES.PING:
        return this.#onPing(flags, id, payload);
      case TYPES.GOAWAY:
        return this.#onGoAway(payload);
      case TYPES.WINDOW_UPDATE:
        return this.#onWindow(id, payload);
      case TYPES.PUSH_PROMISE:
        return CODES.PROTOCOL_ERROR;
      default:
        return undefined;
    }
  }

  #onDataFrame(flags: number, id: number, payload: Buffer): Fault {
    const size = payload.length;
    this.#receiveWindow -= size;
    if (id % 2 === 0 || id >= this.#nextId) return CODES.PROTOCOL_ERROR;
    if (this.#receiveWindow < 0) return CODES.FLOW_CONTROL_ERROR;
    this.#unacknowledged += size;
    if (this.#unacknowledged >= CONNECTION_WINDOW / 4) {
      this.#writer.window(0, this.#unacknowledged);
      this.#receiveWindow += this.#unacknowledged;
      this.#unacknowledged = 0;
    }
    const content = withoutPadding(flags, payload);
    if (content === undefined) return CODES.PROTOCOL_ERROR;
    const exchange = this.#exchanges.get(id);
    // It was cancelled; more of its answer may be under way.
    if (exchange === undefined) return undefined;
    if (exchange.status === 0) return CODES.PROTOCOL_ERROR;
    if (content.length > 0) exchange.pieces.push(content);
    exchange.bytes += content.length;
    if (exchange.bytes > exchange.limit) {
      this.#refuse(exchange, `answered with more than ${exchange.limit} bytes`, "TooLarge");
      return undefined;
    }
    if ((flags & FLAGS.END_STREAM) !== 0) this.#finish(exchange);
    else this.#giveBack(exchange, size);
    return undefined;
  }

  #giveBack(exchange: Exchange, size: number): void {
    exchange.credit += size;
    if (exchange.credit < STREAM_WINDOW / 2) return;
    this.#writer.window(exchange.id, exchange.credit);
    exchange.credit = 0;
  }

  #onHead(found: HeaderBlock | number | undefined): Fault {
    return typeof found === "object" ? this.#onBlock(found) : found;
  }

  #onBlock({ id, isEnd, fields }: HeaderBlock): Fault {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) return undefined;
    // After the head: trailers, which say nothing here.
    if (exchange.status === 0) {
      const status = statusOf(fields);
      if (status === undefined) {
        this.#refuse(exchange, "the answer has no head", "ECONNRESET");
        return undefined;
      }
      if (status < 200) return isEnd ? CODES.PROTOCOL_ERROR : undefined;
      exchange.status = status;
      exchange.fields = fields.filter(([name]) => !name.startsWith(":"));
      const length = fields.find(([name]) => name === "content-length")?.[1];
      if (length !== undefined && /^\d{1,15}$/.test(length)) exchange.announced = Number(length);
    } else if (!isEnd) return CODES.PROTOCOL_ERROR;
    if (isEnd) this.#finish(exchange);
    return undefined;
  }

  #finish(exchange: Exchange): void {
    const { status, fields = [], announced, bytes, pieces, receiver } = exchange;
    if (announced >= 0 && announced !== bytes && status !== 304) {
      this.#refuse(exchange, `the answer has ${bytes} bytes of ${announced}`, "ECONNRESET");
      return;
    }
    // It answered before it had the whole request.
    if (exchange.rest !== undefined) this.#writer.reset(exchange.id, CODES.NO_ERROR);
    this.#forget(exchange);
    const [only] = pieces;
    const body = pieces.length > 1 ? Buffer.concat(pieces) : (only ?? EMPTY);
    receiver.onAnswer({ status, fields, body });
  }

  /** Ends an exchange whose answer cannot be used. */
  #refuse(exchange: Exchange, message: string, code: string): void {
    this.#writer.reset(exchange.id, CODES.CANCEL);
    this.#forget(exchange);
    exchange.receiver.onFailure(new ArgosyError(code, message), false);
  }

  #onReset(id: number, payload: Buffer): Fault {
    if (payload.length !== 4) return CODES.FRAME_SIZE_ERROR;
    if (id === 0 || id >= this.#nextId) return CODES.PROTOCOL_ERROR;
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) return undefined;
    const code = payload.readUInt32BE(0);
    this.#forget(exchange);
    const error = new ArgosyError("ECONNRESET", `the server broke the exchange off (HTTP/2 error ${code})`);
    exchange.receiver.onFailure(error, code === CODES.REFUSED_STREAM);
    return undefined;
  }

  #onSettings(flags: number, id: number, payload: Buffer): Fault {
    if (id !== 0) return CODES.PROTOCOL_ERROR;
    if ((flags & FLAGS.ACK) !== 0) return payload.length === 0 ? undefined : CODES.FRAME_SIZE_ERROR;
    if (payload.length % 6 !== 0) return CODES.FRAME_SIZE_ERROR;
    this.#hasSettings = true;
    for (let at = 0; at < payload.length; at += 6) {
      const key = payload.readUInt16BE(at);
      const value = payload.readUInt32BE(at + 2);
      if (key === 1) this.#encoder.limit(value);
      else if (key === 3) this.#maxStreams = value;
      else if (key === 4) {
        if (value > MAX_WINDOW) return CODES.FLOW_CONTROL_ERROR;
        for (const exchange of this.#exchanges.all()) exchange.sendWindow += value - this.#initialSendWindow;
        this.#initialSendWindow = value;
      }
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
    // It asks whoever is quiet; nobody has anything to say.
    if (this.isIdle && ++this.#idlePings >= MAX_IDLE_PINGS) this.retire();
    return undefined;
  }

  /** What it has not seen may be sent again; what it has it still answers. */
  #onGoAway(payload: Buffer): Fault {
    if (payload.length < 8) return CODES.FRAME_SIZE_ERROR;
    const lastId = payload.readUInt32BE(0) & 0x7fff_ffff;
    this.#isRetired = true;
    const error = new ArgosyError("ECONNRESET", "the server goes away");
    for (const exchange of this.#exchanges.all()) {
      if (exchange.id <= lastId) continue;
      this.#forget(exchange);
      exchange.receiver.onFailure(error, true);
    }
    if (this.isIdle) this.#end();
    return undefined;
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
    if (id >= this.#nextId) return CODES.PROTOCOL_ERROR;
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) return undefined;
    exchange.sendWindow += more;
    if (exchange.sendWindow > MAX_WINDOW) return CODES.FLOW_CONTROL_ERROR;
    this.#send(exchange);
    return undefined;
  }

  #flushAll(): void {
    for (const exchange of this.#exchanges.all()) this.#send(exchange);
  }

  /** Sends of a body what the windows allow. */
  #send(exchange: Exchange): void {
    let { rest } = exchange;
    while (rest !== undefined && this.#writer.waitingBytes < MAX_FRAME * 64) {
      const size = Math.min(rest.length, exchange.sendWindow, this.#sendWindow, MAX_FRAME);
      if (size <= 0) break;
      exchange.sendWindow -= size;
      this.#sendWindow -= size;
      this.#writer.data(exchange.id, rest.subarray(0, size), size === rest.length);
      rest = size === rest.length ? undefined : rest.subarray(size);
    }
    exchange.rest = rest;
  }
}

function statusOf(fields: readonly Field[]): number | undefined {
  const status = fields.find(([name]) => name === ":status")?.[1] ?? "";
  return /^[1-9]\d\d$/.test(status) ? Number(status) : undefined;
}
