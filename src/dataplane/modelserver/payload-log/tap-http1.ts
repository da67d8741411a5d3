/** Reading along on HTTP/1.1. */
import {
  type Fields,
  Framing,
  HeadFault,
  latin1,
  MAX_HEAD_BYTES,
  parseRequestHead,
  parseResponseHead,
} from "../../../kernel/http1/index.js";
import { Collector } from "./collector.js";
import type { Exchange, PayloadLog } from "./log.js";
import type { Tap } from "./tap.js";

/** Requests of a connection whose answers are awaited; beyond it nobody reads along. */
const MAX_OPEN = 256;

interface Body {
  readonly framing: Framing;
  /** Of messages that are logged. */
  readonly collector: Collector | undefined;
  readonly done: (body: Buffer, isCut: boolean) => void;
}

interface Asked {
  readonly method: string;
  readonly exchange: Exchange | undefined;
}

type HeadReader = (text: string, end: number) => Body | "skip" | "fault";

/** One direction: head, body, head, body. */
class Direction {
  readonly #log: PayloadLog;
  readonly #readHead: HeadReader;
  #rest: Buffer | undefined;
  #body: Body | undefined;
  isOff = false;

  constructor(log: PayloadLog, readHead: HeadReader) {
    this.#log = log;
    this.#readHead = readHead;
  }

  push(chunk: Buffer): void {
    let bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    while (bytes.length > 0 && !this.isOff) {
      const used = this.#body === undefined ? this.#head(bytes) : this.#content(this.#body, bytes);
      if (used === 0) return;
      bytes = bytes.subarray(used);
    }
  }

  /** Nobody reads on: what was gathered makes room for others. */
  abandon(): void {
    this.isOff = true;
    this.#rest = undefined;
    this.#body?.collector?.drop();
    this.#body = undefined;
  }

  /** No more will come. */
  end(): void {
    const body = this.#body;
    this.#body = undefined;
    if (body !== undefined) this.#finish(body, body.framing.kind !== "close");
  }

  #head(bytes: Buffer): number {
    const text = latin1(bytes, 0, Math.min(bytes.length, MAX_HEAD_BYTES));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      if (text.length >= MAX_HEAD_BYTES) this.#giveUp();
      // What a chunk was cut out of may be larger.
      else this.#rest = Buffer.from(bytes);
      return 0;
    }
    const made = this.#readHead(text, end + 2);
    if (made === "fault") this.#giveUp();
    else if (made !== "skip") {
      if (made.framing.isDone) this.#finish(made, false);
      else this.#body = made;
    }
    return end + 4;
  }

  #content(body: Body, bytes: Buffer): number {
    const { framing, collector } = body;
    const used = framing.consume(bytes, 0, bytes.length, (from, to) => collector?.add(bytes.subarray(from, to)));
    if (framing.isBroken) {
      collector?.drop();
      this.#body = undefined;
      this.#giveUp();
    } else if (framing.isDone) {
      this.#body = undefined;
      this.#finish(body, false);
    }
    return used;
  }

  #finish({ collector, done }: Body, isCut: boolean): void {
    const whole = collector === undefined ? Buffer.alloc(0) : collector.take();
    if (whole === undefined) this.#log.skip();
    done(whole ?? Buffer.alloc(0), isCut || whole === undefined);
  }

  #giveUp(): void {
    this.isOff = true;
    this.#log.skip();
  }
}

/** Follows requests and answers in their order. */
export class Http1Tap implements Tap {
  readonly #log: PayloadLog;
  readonly #client: Direction;
  readonly #server: Direction;
  readonly #open: Asked[] = [];
  #isOff = false;

  constructor(log: PayloadLog) {
    this.#log = log;
    this.#client = new Direction(log, (text, end) => this.#onRequest(text, end));
    this.#server = new Direction(log, (text, end) => this.#onResponse(text, end));
  }

  fromClient(chunk: Buffer): void {
    if (!this.#isOff) this.#client.push(chunk);
    this.#look();
  }

  fromServer(chunk: Buffer): void {
    if (!this.#isOff) this.#server.push(chunk);
    this.#look();
  }

  serverEnded(): void {
    if (!this.#isOff) this.#server.end();
  }

  closed(): void {
    if (this.#isOff) return;
    this.#client.end();
    this.#server.end();
    this.#isOff = true;
  }

  #look(): void {
    if (this.#isOff || !(this.#client.isOff || this.#server.isOff || this.#open.length > MAX_OPEN)) return;
    this.#isOff = true;
    this.#client.abandon();
    this.#server.abandon();
    this.#open.length = 0;
  }

  #onRequest(text: string, end: number): ReturnType<HeadReader> {
    const head = parseRequestHead(text, end);
    if (head instanceof HeadFault) return "fault";
    const { fields, method } = head;
    const header = headerReader(fields);
    const isLogged =
      (method === "POST" || method === "PUT") && header("user-agent")?.startsWith("kube-probe/") !== true;
    const exchange = isLogged ? this.#log.begin(header) : undefined;
    this.#open.push({ method, exchange });
    const framing = fields.isChunked
      ? new Framing("chunked")
      : fields.contentLength > 0
        ? new Framing("length", fields.contentLength)
        : new Framing("none");
    return {
      framing,
      collector: exchange === undefined ? undefined : new Collector(this.#log.budget),
      done: (body, isCut) =>
        exchange?.request({ body, type: header("content-type"), coding: header("content-encoding"), isCut }),
    };
  }

  #onResponse(text: string, end: number): ReturnType<HeadReader> {
    const head = parseResponseHead(text, end);
    if (head instanceof HeadFault) return "fault";
    const { status, fields } = head;
    // Another protocol from here on.
    if (status === 101) return "fault";
    if (status < 200) return "skip";
    const asked = this.#open.shift();
    if (asked === undefined) return "fault";
    const { exchange, method } = asked;
    const header = headerReader(fields);
    return {
      framing: framingOf(method, status, fields),
      collector: exchange === undefined ? undefined : new Collector(this.#log.budget),
      done: (body, isCut) =>
        exchange?.response(
          { body, type: header("content-type"), coding: header("content-encoding"), isCut },
          { http: status },
        ),
    };
  }
}

function framingOf(method: string, status: number, fields: Fields): Framing {
  if (method === "HEAD" || status === 204 || status === 304) return new Framing("none");
  if (fields.isChunked) return new Framing("chunked");
  return fields.contentLength >= 0 ? new Framing("length", fields.contentLength) : new Framing("close");
}

function headerReader({ rest }: Fields): (name: string) => string | undefined {
  let fields: Map<string, string> | undefined;
  return (name) => {
    if (fields === undefined) {
      fields = new Map();
      for (const line of rest.split("\r\n")) {
        const colon = line.indexOf(":");
        if (colon < 0) continue;
        const key = line.slice(0, colon).toLowerCase();
        const value = line.slice(colon + 1).trim();
        const before = fields.get(key);
        fields.set(key, before === undefined ? value : `${before}, ${value}`);
      }
    }
    return fields.get(name);
  };
}
