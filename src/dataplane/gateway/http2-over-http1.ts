import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { Framing, HeadFault, latin1, parseResponseHead, type ResponseHead } from "../../kernel/http1/index.js";
import { ClientConnection } from "./client-connection.js";
import type { GatewayCore, ListenerState } from "./core.js";
import { LoopSocket } from "./loop-socket.unsafe.js";

/** A request of an HTTP/2 client. */
export interface Http2Request {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly authority: string;
  /** Path and query, normalised. */
  readonly target: string;
  readonly address: string;
  readonly listener: ListenerState;
}

/** Fields that belong to one connection, or that HTTP/1.1 says in another way. */
const NOT_PASSED = new Set([
  "host",
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "te",
  "http2-settings",
]);

/**
 * One stream of an HTTP/2 client whose backends speak HTTP/1.1: it is written as HTTP/1.1 into a connection within this process,
 * so that retries, sessions, limits and counters are the same for both kinds of clients.
 */
export class Http2OverHttp1 {
  readonly #request: Http2Request;
  readonly #near: LoopSocket;
  readonly #connection: ClientConnection;
  #partial = "";
  #framing: Framing | undefined;

  constructor(core: GatewayCore, request: Http2Request) {
    this.#request = request;
    const [near, far] = LoopSocket.pair(request.address);
    this.#near = near;
    this.#connection = new ClientConnection(core, request.listener, far.asSocket);
    core.timed.add(this.#connection);
    far.once("close", () => core.timed.delete(this.#connection));
  }

  start(): void {
    const { stream } = this.#request;
    const near = this.#near;
    near.write(this.#renderHead(), "latin1");
    const isChunked = this.#hasBody && this.#length === undefined;
    stream.on("data", (chunk: Buffer) => {
      const goesOn = isChunked
        ? near.write(Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n")]))
        : near.write(chunk);
      if (goesOn) return;
      stream.pause();
      near.once("drain", () => stream.resume());
    });
    stream.on("end", () => {
      if (isChunked) near.write("0\r\n\r\n", "latin1");
    });
    stream.on("close", () => near.destroy());
    stream.on("drain", () => near.resume());
    near.on("data", (chunk: Buffer) => this.#onAnswer(chunk));
    near.on("error", () => stream.close());
    near.on("close", () => this.#onGone());
  }

  get #length(): string | undefined {
    return this.#request.headers["content-length"];
  }

  get #hasBody(): boolean {
    return !this.#request.stream.endAfterHeaders;
  }

  #renderHead(): string {
    const { headers, authority, target } = this.#request;
    let text = `${headers[":method"] ?? "GET"} ${target} HTTP/1.1\r\nHost: ${authority}\r\n`;
    for (const [name, value] of Object.entries(headers)) {
      if (name.startsWith(":") || NOT_PASSED.has(name) || value === undefined) continue;
      if (name === "cookie" && Array.isArray(value)) text += `cookie: ${value.join("; ")}\r\n`;
      else for (const one of Array.isArray(value) ? value : [value]) text += `${name}: ${one}\r\n`;
    }
    if (this.#hasBody && this.#length === undefined) text += "Transfer-Encoding: chunked\r\n";
    return `${text}\r\n`;
  }

  #onAnswer(chunk: Buffer): void {
    if (this.#framing !== undefined) {
      this.#relay(chunk, 0);
      return;
    }
    this.#partial += latin1(chunk, 0, chunk.length);
    for (;;) {
      const end = this.#partial.indexOf("\r\n\r\n");
      if (end < 0) return;
      const answer = parseResponseHead(this.#partial, end + 2);
      const rest = this.#partial.slice(end + 4);
      this.#partial = rest;
      if (answer instanceof HeadFault) this.#request.stream.close();
      else if (answer.status >= 200) {
        this.#respond(answer);
        this.#partial = "";
        if (rest !== "") this.#relay(Buffer.from(rest, "latin1"), 0);
        return;
      }
    }
  }

  #respond(answer: ResponseHead): void {
    const { stream, headers } = this.#request;
    const isBodiless = headers[":method"] === "HEAD" || answer.status === 204 || answer.status === 304;
    if (isBodiless) this.#framing = new Framing("none");
    else if (answer.fields.isChunked) this.#framing = new Framing("chunked");
    else
      this.#framing =
        answer.fields.contentLength >= 0 ? new Framing("length", answer.fields.contentLength) : new Framing("close");
    if (stream.destroyed || stream.closed) return;
    stream.respond(headersOf(answer), { endStream: this.#framing.isDone });
    if (this.#framing.isDone) this.#near.destroy();
  }

  #relay(chunk: Buffer, start: number): void {
    const { stream } = this.#request;
    const framing = this.#framing;
    if (framing === undefined || stream.destroyed) return;
    let isFlowing = true;
    framing.consume(chunk, start, chunk.length, (from, to) => {
      isFlowing = stream.write(Buffer.from(chunk.subarray(from, to)));
    });
    if (framing.isDone) {
      stream.end();
      this.#near.destroy();
    } else if (!isFlowing) this.#near.pause();
  }

  /** The gateway's side ended: the end of an answer without a length, or a cut that the client must see. */
  #onGone(): void {
    const { stream } = this.#request;
    if (stream.destroyed || this.#framing?.isDone === true) return;
    if (this.#framing?.kind === "close") stream.end();
    else stream.close(2);
  }
}

/** An answer's fields as HTTP/2 has them. */
function headersOf(answer: ResponseHead): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {};
  for (const line of answer.fields.rest.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    if (NOT_PASSED.has(name)) continue;
    const value = line.slice(colon + 1).trim();
    const before = headers[name];
    headers[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return { ":status": answer.status, ...headers };
}
