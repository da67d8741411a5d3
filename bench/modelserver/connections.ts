/** Client connections that cost the generator little: HTTP/1.1 with one request under way, and gRPC with several calls. */
import { connect, type Socket } from "node:net";
import type { Request } from "./workload.js";

/** Places for requests under way at once. */
export interface Lane {
  /** Sends the request; `done` is called at its answer's end. One at a time. */
  ask(done: () => void): void;
  /** The last answer. */
  readonly answer: Answer;
}

/** An answer's fields, and its body; of gRPC the message with its prefix. */
export interface Answer {
  readonly head: string;
  readonly body: Buffer;
  /** The body is still in its chunks. */
  readonly isChunked?: boolean;
}

/** Lanes on some connections. */
export interface Lanes {
  readonly lanes: readonly Lane[];
  /** Rejects when a connection ends or an answer is none of success. */
  readonly failed: Promise<never>;
  close(): void;
}

/** Calls under way at once on a gRPC connection. */
const CALLS_EACH = 8;

/** Opens as many lanes as asked for. */
export async function openLanes(port: number, request: Request, count: number): Promise<Lanes> {
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);
  const sockets: Socket[] = [];
  const lanes: Lane[] = [];
  let isClosed = false;
  while (lanes.length < count) {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    sockets.push(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", () => resolve());
      socket.once("error", reject);
    });
    socket.on("error", fail);
    socket.on("close", () => isClosed || fail(new Error("the server ended a connection")));
    if (request.form === "grpc") {
      const connection = new GrpcConnection(socket, port, request.bytes, fail);
      for (let call = 0; call < CALLS_EACH && lanes.length < count; call++) lanes.push(connection.lane());
    } else lanes.push(new HttpLane(socket, request.bytes, fail));
  }
  return {
    ...{ lanes, failed },
    close() {
      isClosed = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

const LAST_CHUNK = Buffer.from("\r\n0\r\n\r\n");
const END_OF_HEAD = Buffer.from("\r\n\r\n");

class HttpLane implements Lane {
  readonly #socket: Socket;
  readonly #bytes: Buffer;
  #done: (() => void) | undefined;
  #received: Buffer | undefined;
  answer: Answer = { head: "", body: Buffer.alloc(0) };

  constructor(socket: Socket, bytes: Buffer, fail: (error: Error) => void) {
    this.#socket = socket;
    this.#bytes = bytes;
    socket.on("data", (chunk: Buffer) => {
      const all = this.#received === undefined ? chunk : Buffer.concat([this.#received, chunk]);
      const end = all.indexOf(END_OF_HEAD);
      const head = end < 0 ? "" : all.toString("latin1", 0, end);
      const at = head.indexOf("\r\ncontent-length: ");
      const isChunked = at < 0 && head.includes("\r\ntransfer-encoding: chunked");
      if (end >= 0 && ((at < 0 && !isChunked) || !head.startsWith("HTTP/1.1 200")))
        return fail(new Error(all.toString()));
      const isWhole = isChunked
        ? all.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)
        : all.length >= end + 4 + Number.parseInt(head.slice(at + 18), 10);
      this.#received = end >= 0 && isWhole ? undefined : all;
      if (this.#received !== undefined) return;
      this.answer = { head, body: all.subarray(end + 4), isChunked };
      this.#done?.();
    });
  }

  ask(done: () => void): void {
    this.#done = done;
    this.#socket.write(this.#bytes);
  }
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const DATA = 0;
const HEADERS = 1;
const RESET = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const END_STREAM = 1;
const END_HEADERS = 4;
const ACK = 1;
const WINDOW = 2 ** 31 - 1;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);

/** A call's header block as clients send it: with the first call the fields enter the connection's table, later ones point there. */
function headerBlocks(port: number): { first: Buffer; later: Buffer } {
  const first = Buffer.concat([
    ...[Buffer.from([0x83, 0x86, 0x44]), text("/inference.GRPCInferenceService/ModelInfer")],
    ...[Buffer.from([0x41]), text(`127.0.0.1:${port}`), Buffer.from([0x5f]), text("application/grpc")],
    ...[Buffer.from([0x40]), text("te"), text("trailers")],
  ]);
  return { first, later: Buffer.from([0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]) };
}

class GrpcConnection {
  readonly #socket: Socket;
  readonly #message: Buffer;
  readonly #fail: (error: Error) => void;
  readonly #blocks: { first: Buffer; later: Buffer };
  readonly #calls = new Map<number, { done: () => void; isAnswered: boolean; lane: { answer: Answer } }>();
  #nextStream = 1;
  #received: Buffer | undefined;
  #out: Buffer[] = [];

  constructor(socket: Socket, port: number, message: Buffer, fail: (error: Error) => void) {
    this.#socket = socket;
    this.#message = message;
    this.#fail = fail;
    this.#blocks = headerBlocks(port);
    // INITIAL_WINDOW_SIZE as large as there is: answers are never held back.
    const settings = frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(WINDOW)]));
    socket.write(Buffer.concat([PREFACE, settings, frame(WINDOW_UPDATE, 0, 0, uint32(WINDOW - 65_535))]));
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
  }

  lane(): Lane {
    const lane: { answer: Answer; ask: Lane["ask"] } = {
      answer: { head: "", body: Buffer.alloc(0) },
      ask: (done) => this.#ask(lane, done),
    };
    return lane;
  }

  #ask(lane: { answer: Answer }, done: () => void): void {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#calls.set(stream, { done, isAnswered: false, lane });
    const { first, later } = this.#blocks;
    this.#write(frame(HEADERS, END_HEADERS, stream, stream === 1 ? first : later));
    this.#write(frame(DATA, END_STREAM, stream, this.#message));
  }

  /** Calls that begin in one turn leave in one piece, as clients' libraries do it. */
  #write(bytes: Buffer): void {
    this.#out.push(bytes);
    if (this.#out.length > 1) return;
    setImmediate(() => {
      this.#socket.write(Buffer.concat(this.#out));
      this.#out = [];
    });
  }

  #onData(chunk: Buffer): void {
    const all = this.#received === undefined ? chunk : Buffer.concat([this.#received, chunk]);
    let at = 0;
    while (at + 9 <= all.length) {
      const length = all.readUIntBE(at, 3);
      if (at + 9 + length > all.length) break;
      this.#onFrame(all[at + 3] ?? 0, all[at + 4] ?? 0, {
        stream: all.readUInt32BE(at + 5),
        payload: all.subarray(at + 9, at + 9 + length),
      });
      at += 9 + length;
    }
    this.#received = at === all.length ? undefined : all.subarray(at);
  }

  #onFrame(type: number, flags: number, { stream, payload }: { stream: number; payload: Buffer }): void {
    const call = this.#calls.get(stream);
    if (type === SETTINGS && (flags & 1) === 0) this.#write(frame(type, ACK, 0, Buffer.alloc(0)));
    else if (type === PING && (flags & 1) === 0) this.#write(frame(type, ACK, 0, payload));
    else if (type === GOAWAY || type === RESET)
      this.#fail(new Error(`the server ended calls: ${payload.toString("latin1")}`));
    if (call === undefined) return;
    if (type === DATA && payload.length > 0) {
      call.isAnswered = true;
      call.lane.answer = { head: "", body: payload };
    }
    if ((type !== DATA && type !== HEADERS) || (flags & 1) === 0) return;
    this.#calls.delete(stream);
    // A call that fails has no message.
    if (call.isAnswered) call.done();
    else this.#fail(new Error(`a call failed: ${payload.toString("latin1")}`));
  }
}
