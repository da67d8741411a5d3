/** Reading along on HTTP/2: REST, and gRPC with its messages. */
import { type Field, FLAGS, HeaderDecoder, TYPES } from "../../../kernel/http2/index.js";
import { Collector } from "./collector.js";
import type { Exchange, PayloadLog } from "./log.js";
import type { Tap } from "./tap.js";

const MAX_FRAME_BYTES = 2 ** 20;
const MAX_BLOCK_BYTES = 65_536;
const MAX_STREAMS = 1024;
const FRAME_HEAD = 9;

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** Frames of one direction. */
class FrameReader {
  #rest: Buffer | undefined;
  isOff = false;

  *push(chunk: Buffer): Generator<Frame> {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    let at = 0;
    while (bytes.length - at >= FRAME_HEAD) {
      const length = bytes.readUIntBE(at, 3);
      if (length > MAX_FRAME_BYTES) {
        this.isOff = true;
        return;
      }
      if (bytes.length - at < FRAME_HEAD + length) break;
      const [type = 0, flags = 0] = [bytes[at + 3], bytes[at + 4]];
      const id = bytes.readUInt32BE(at + 5) & 0x7fffffff;
      yield { type, flags, id, payload: bytes.subarray(at + FRAME_HEAD, at + FRAME_HEAD + length) };
      at += FRAME_HEAD + length;
    }
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
  }
}

type Fields = ReadonlyMap<string, string>;

interface Stream {
  readonly exchange: Exchange;
  readonly head: Fields;
  readonly asked: Collector;
  readonly answered: Collector;
  isAsked: boolean;
  answer: Map<string, string>;
}

/** Header blocks of one direction: all must be read, the table depends on it. */
class Blocks {
  readonly #decoder = new HeaderDecoder();
  #open: { readonly id: number; readonly parts: Buffer[]; readonly isEnd: boolean } | undefined;
  #size = 0;

  /** A whole block, `undefined` while it is not, "fault" when it cannot be read. */
  push({ type, flags, id, payload }: Frame): { id: number; fields: Fields; isEnd: boolean } | "fault" | undefined {
    this.#size = (type === TYPES.HEADERS ? 0 : this.#size) + payload.length;
    if (this.#size > MAX_BLOCK_BYTES) return "fault";
    if (type === TYPES.HEADERS) {
      const part = unpad(payload, flags);
      const isEnd = (flags & FLAGS.END_STREAM) !== 0;
      this.#open = { id, parts: [(flags & FLAGS.PRIORITY) !== 0 ? part.subarray(5) : part], isEnd };
    } else this.#open?.parts.push(Buffer.from(payload));
    const open = this.#open;
    if (open === undefined || (flags & FLAGS.END_HEADERS) === 0) return undefined;
    this.#open = undefined;
    const fields = this.#decoder.decode(Buffer.concat(open.parts), MAX_BLOCK_BYTES);
    return fields === undefined ? "fault" : { id: open.id, fields: mapOf(fields), isEnd: open.isEnd };
  }
}

function mapOf(fields: readonly Field[]): Fields {
  const map = new Map<string, string>();
  for (const [name, value] of fields) {
    const before = map.get(name);
    map.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return map;
}

function unpad(payload: Buffer, flags: number): Buffer {
  if ((flags & FLAGS.PADDED) === 0) return payload;
  return payload.subarray(1, Math.max(1, payload.length - (payload[0] ?? 0)));
}

/** Follows the streams of a connection. */
export class Http2Tap implements Tap {
  readonly #log: PayloadLog;
  readonly #client = { frames: new FrameReader(), blocks: new Blocks() };
  readonly #server = { frames: new FrameReader(), blocks: new Blocks() };
  readonly #streams = new Map<number, Stream>();
  #isOff = false;

  constructor(log: PayloadLog) {
    this.#log = log;
  }

  fromClient(chunk: Buffer): void {
    if (this.#isOff) return;
    for (const frame of this.#client.frames.push(chunk)) this.#onFrame(frame, "client");
    if (this.#client.frames.isOff) this.#giveUp();
  }

  fromServer(chunk: Buffer): void {
    if (this.#isOff) return;
    for (const frame of this.#server.frames.push(chunk)) this.#onFrame(frame, "server");
    if (this.#server.frames.isOff) this.#giveUp();
  }

  serverEnded(): void {
    // The connection's end says it all.
  }

  closed(): void {
    for (const id of [...this.#streams.keys()]) this.#end(id, true);
    this.#isOff = true;
  }

  #giveUp(): void {
    if (this.#isOff) return;
    this.#log.skip();
    this.closed();
  }

  #onFrame(frame: Frame, from: "client" | "server"): void {
    if (this.#isOff) return;
    const { type, flags, id, payload } = frame;
    if (type === TYPES.HEADERS || type === TYPES.CONTINUATION) {
      const block = (from === "client" ? this.#client : this.#server).blocks.push(frame);
      if (block === "fault") this.#giveUp();
      else if (block !== undefined) this.#onBlock(block, from);
    } else if (type === TYPES.DATA) {
      const stream = this.#streams.get(id);
      const data = unpad(payload, flags);
      (from === "client" ? stream?.asked : stream?.answered)?.add(data);
      if ((flags & FLAGS.END_STREAM) !== 0) this.#onEnd(id, from);
    } else if (type === TYPES.RST_STREAM) this.#end(id, true);
  }

  #onBlock({ id, fields, isEnd }: { id: number; fields: Fields; isEnd: boolean }, from: "client" | "server"): void {
    const stream = this.#streams.get(id);
    if (from === "server") {
      if (!(fields.get(":status") ?? "200").startsWith("1"))
        for (const [name, value] of fields) stream?.answer.set(name, value);
    } else if (stream === undefined && isLogged(fields)) {
      if (this.#streams.size >= MAX_STREAMS) this.#log.skip();
      else
        this.#streams.set(id, {
          exchange: this.#log.begin((name) => fields.get(name)),
          head: fields,
          asked: new Collector(this.#log.budget),
          answered: new Collector(this.#log.budget),
          isAsked: false,
          answer: new Map(),
        });
    }
    if (isEnd) this.#onEnd(id, from);
  }

  #onEnd(id: number, from: "client" | "server"): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (from === "client") this.#tellRequest(stream, false);
    else this.#end(id, false);
  }

  #tellRequest(stream: Stream, isCut: boolean): void {
    if (stream.isAsked) return;
    stream.isAsked = true;
    const body = stream.asked.take();
    if (body === undefined) this.#log.skip();
    const isMissing = isCut || body === undefined;
    stream.exchange.request(seenOf(body ?? Buffer.alloc(0), stream.head, "request", isMissing));
  }

  #end(id: number, isCut: boolean): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#streams.delete(id);
    this.#tellRequest(stream, isCut);
    const body = stream.answered.take();
    const { answer, head, exchange } = stream;
    const code = answer.get("grpc-status");
    if (body === undefined) this.#log.skip();
    const isMissing = isCut || body === undefined;
    if (answer.size > 0)
      exchange.response(
        seenOf(
          body ?? Buffer.alloc(0),
          new Map([[":path", head.get(":path") ?? ""], ...answer]),
          "response",
          isMissing,
        ),
        code === undefined ? { http: Number(answer.get(":status")) || 0 } : { grpc: Number(code) || 0 },
      );
  }
}

const QUIET = /^\/grpc\.(?:health|reflection)\./;

const isLogged = (fields: Fields): boolean =>
  (fields.get(":method") === "POST" || fields.get(":method") === "PUT") &&
  !QUIET.test(fields.get(":path") ?? "") &&
  fields.get("user-agent")?.startsWith("kube-probe/") !== true;

/** The message of a gRPC call that has one; several stay as they are on the wire, each with its length. */
function seenOf(body: Buffer, fields: Fields, which: "request" | "response", isCut: boolean) {
  const type = fields.get("content-type");
  const plain = { body, type, coding: fields.get("content-encoding"), isCut };
  const isSingle = body.length >= 5 && body.readUInt32BE(1) === body.length - 5;
  if (type?.startsWith("application/grpc") !== true || !isSingle) return plain;
  const known = fields.get(":path") === "/inference.GRPCInferenceService/ModelInfer";
  const name = which === "request" ? "ModelInferRequest" : "ModelInferResponse";
  return {
    body: body.subarray(5),
    type: `application/x-protobuf${known ? `;messageType=inference.${name}` : ""}`,
    coding: body[0] === 1 ? fields.get("grpc-encoding") : undefined,
    isCut,
  };
}
