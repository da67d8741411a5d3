import { connect as connectPlain, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { abortReason } from "../clock/index.js";
import { ArgosyError } from "../errors/index.js";
import { Framing, HeadFault, latin1, MAX_HEAD_BYTES, parseResponseHead, type ResponseHead } from "../http1/index.js";
import type { TransportRequest, TransportResponse } from "./types.js";

/** Where connections go. */
export interface KeptTarget {
  readonly url: URL;
  /** For `https:`. */
  readonly tls: ConnectionOptions;
  readonly connectTimeoutMs: number;
  /** A connection that nobody has used for so long is closed. */
  readonly idleMs: number;
}

/** A whole answer is held in memory; no server of this API sends more in one. */
const maxAnswerBytes = 512 * 1024 * 1024;
/** Longer bodies are written behind their head, not with it. */
const maxOneWriteLength = 16 * 1024;
/** A server may say how long it keeps a connection; this much before that it is not used any more. */
const keepAliveMarginMs = 1000;

/** What can be sent as it is: anything else could be read as more than one request. */
const target = /^\/[\x21-\x7e]*$/;
const notAValue = /[^\t\x20-\x7e\x80-\xff]/;
const ascii = /^[\t\n\r\x20-\x7e]*$/;

/**
 * Connections over HTTP/1.1 to one server, kept for the next request: each has one exchange under way, of which the whole answer is
 * waited for. That is all that most calls need, and costs a fraction of what a client for everything takes.
 */
export class KeptConnections {
  readonly #target: KeptTarget;
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  #isClosed = false;

  constructor(to: KeptTarget) {
    this.#target = to;
  }

  /** Whether a request can be sent here: its answer is wanted whole, and it has nothing that must be written with more care. */
  static takes(request: TransportRequest): boolean {
    return request.wantsWhole === true && request.repeatedHeaders === undefined && target.test(request.path);
  }

  /** Rejects with what the connection failed with, or why the signal was aborted. */
  send(request: TransportRequest, path: string, authorization: string | undefined): Promise<TransportResponse> {
    const { signal } = request;
    if (this.#isClosed) return Promise.reject(new ArgosyError("Closed", "the transport is closed"));
    if (signal?.aborted === true) return Promise.reject(abortReason(signal));
    return new Promise((resolve, reject) => {
      const head = headOf(request, path, { host: this.#target.url.host, authorization });
      const connection = this.#idle.pop() ?? this.#open();
      const onAbort = (): void => connection.destroy(signal === undefined ? undefined : abortReason(signal));
      signal?.addEventListener("abort", onAbort, { once: true });
      const end = (): void => signal?.removeEventListener("abort", onAbort);
      connection.exchange(request, head, {
        onAnswer: (answer, isKept) => {
          end();
          if (isKept && !this.#isClosed) this.#idle.push(connection);
          else connection.destroy();
          resolve(answer);
        },
        onFailure: (error) => {
          end();
          reject(error);
        },
      });
    });
  }

  #open(): Connection {
    const connection = new Connection(this.#target, () => {
      this.#all.delete(connection);
      const place = this.#idle.indexOf(connection);
      if (place >= 0) this.#idle.splice(place, 1);
    });
    this.#all.add(connection);
    return connection;
  }

  /** No more requests; what is under way ends as it would have. */
  retire(): void {
    this.#isClosed = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  destroy(): void {
    this.#isClosed = true;
    for (const connection of [...this.#all]) connection.destroy(new ArgosyError("Closed", "the transport is closed"));
  }
}

interface Outcome {
  /** `isKept`: another request may follow on the connection. */
  onAnswer(answer: TransportResponse, isKept: boolean): void;
  onFailure(error: Error): void;
}

class Connection {
  readonly #socket: Socket;
  readonly #target: KeptTarget;
  #outcome: Outcome | undefined;
  #head: ResponseHead | undefined;
  #framing = new Framing("none");
  #pieces: Buffer[] = [];
  #bytes = 0;
  #isReady = false;
  #failure: Error | undefined;
  /** After how long without use it is closed. */
  #keptMs: number;

  constructor(to: KeptTarget, onGone: () => void) {
    this.#target = to;
    this.#keptMs = to.idleMs;
    const { url, tls } = to;
    const isPlain = url.protocol === "http:";
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const port = url.port === "" ? (isPlain ? 80 : 443) : Number(url.port);
    // A server is told no name that is an address (RFC 6066).
    const servername = tls.servername ?? (/^[\d.]+$|:/.test(host) ? "" : host);
    this.#socket = isPlain
      ? connectPlain({ host, port })
      : connectTls({ ...tls, host, port, servername, ALPNProtocols: ["http/1.1"] });
    const socket = this.#socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    socket.setTimeout(to.connectTimeoutMs);
    socket.on("timeout", () => this.#onSilence());
    socket.once(isPlain ? "connect" : "secureConnect", () => {
      this.#isReady = true;
      socket.setTimeout(to.idleMs);
    });
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.once("end", () => this.#end());
    socket.on("error", (error) => {
      this.#failure ??= error;
    });
    socket.once("close", () => {
      onGone();
      this.#fail(this.#failure ?? broken("other side closed"));
    });
  }

  exchange(request: TransportRequest, head: string, outcome: Outcome): void {
    const socket = this.#socket;
    this.#outcome = outcome;
    socket.ref();
    const { body } = request;
    if (body === undefined) socket.write(`${head}\r\n`, "latin1");
    else if (typeof body !== "string" || body.length > maxOneWriteLength) {
      socket.cork();
      const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : body;
      socket.write(`${head}content-length: ${bytes.byteLength}\r\n\r\n`, "latin1");
      socket.write(bytes);
      socket.uncork();
    } else if (ascii.test(body)) socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`, "latin1");
    else socket.write(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, "utf8");
  }

  destroy(error?: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
    if (error !== undefined) this.#fail(error);
  }

  #onSilence(): void {
    if (!this.#isReady) {
      const { connectTimeoutMs, url } = this.#target;
      this.destroy(new ArgosyError("ConnectTimeout", `no connection to ${url.host} within ${connectTimeoutMs} ms`));
    } else if (this.#outcome === undefined) this.destroy();
  }

  #fail(error: Error): void {
    const outcome = this.#outcome;
    this.#outcome = undefined;
    outcome?.onFailure(error);
  }

  #take(chunk: Buffer): void {
    if (this.#outcome === undefined) {
      // Nobody has asked for it.
      this.destroy();
    } else if (this.#head !== undefined) this.#takeBody(chunk);
    else this.#takeHead(chunk);
  }

  #takeHead(chunk: Buffer): void {
    this.#pieces.push(chunk);
    const all = this.#pieces.length === 1 ? chunk : Buffer.concat(this.#pieces);
    const end = all.indexOf("\r\n\r\n");
    if (end < 0 || end > MAX_HEAD_BYTES) {
      if (all.byteLength > MAX_HEAD_BYTES) this.destroy(broken("the head of the answer is too long"));
      return;
    }
    this.#pieces = [];
    const head = parseResponseHead(latin1(all, 0, end + 2), end + 2);
    const fault =
      head instanceof HeadFault ? head.message : head.status === 101 ? "the server changes the protocol" : "";
    if (head instanceof HeadFault || fault !== "") {
      this.destroy(broken(fault));
      return;
    }
    const rest = all.subarray(end + 4);
    if (head.status < 200) {
      // An interim answer; the final one follows.
      if (rest.byteLength > 0) this.#takeHead(rest);
      return;
    }
    this.#head = head;
    this.#framing = framingOf(head);
    this.#takeBody(rest);
  }

  #takeBody(chunk: Buffer): void {
    const framing = this.#framing;
    const end = framing.consume(chunk, 0, chunk.byteLength, (from, to) => {
      this.#bytes += to - from;
      this.#pieces.push(chunk.subarray(from, to));
    });
    if (framing.isBroken) this.destroy(broken("the chunks of the answer are malformed"));
    else if (this.#bytes > maxAnswerBytes)
      this.destroy(new ArgosyError("TooLarge", `answered with more than ${maxAnswerBytes} bytes`));
    else if (framing.isDone) this.#finish(end === chunk.byteLength);
  }

  #end(): void {
    if (this.#head !== undefined && this.#framing.kind === "close") this.#finish(false);
    this.#socket.destroy();
  }

  #finish(isClean: boolean): void {
    const head = this.#head;
    const outcome = this.#outcome;
    if (head === undefined || outcome === undefined) return;
    const [only] = this.#pieces;
    const whole = this.#pieces.length === 1 && only !== undefined ? only : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#bytes = 0;
    this.#head = undefined;
    this.#outcome = undefined;
    const { close, keepAliveSeconds } = head.fields;
    // What answers before it has the whole request may not read the rest of it.
    const isOver = isClean && this.#socket.writableLength === 0;
    const isKept = isOver && !close && head.minor === 1 && this.#framing.kind !== "close";
    if (isKept) {
      if (keepAliveSeconds >= 0) this.#keepFor(keepAliveSeconds * 1000 - keepAliveMarginMs);
      this.#socket.unref();
    }
    outcome.onAnswer(answerOf(head, whole), isKept);
  }

  #keepFor(milliseconds: number): void {
    const keptMs = Math.max(1, Math.min(this.#target.idleMs, milliseconds));
    if (keptMs !== this.#keptMs) this.#socket.setTimeout(keptMs);
    this.#keptMs = keptMs;
  }
}

function broken(message: string): Error {
  return new ArgosyError("ECONNRESET", message);
}

function framingOf({ status, fields }: ResponseHead): Framing {
  if (status === 204 || status === 304) return new Framing("none");
  if (fields.isChunked) return new Framing("chunked");
  if (fields.contentLength >= 0) return new Framing("length", fields.contentLength);
  return new Framing("close");
}

function headOf(
  { method, headers = {} }: TransportRequest,
  path: string,
  { host, authorization }: { readonly host: string; readonly authorization: string | undefined },
): string {
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n`;
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && name !== "authorization") head += `${name}: ${checked(name, value)}\r\n`;
  }
  const own = authorization ?? headers["authorization"];
  return own === undefined ? head : `${head}authorization: ${checked("authorization", own)}\r\n`;
}

function checked(name: string, value: string): string {
  if (notAValue.test(value)) throw new TypeError(`header ${name} has characters that are not allowed`);
  return value;
}

function answerOf(head: ResponseHead, whole: Buffer): TransportResponse {
  let headers: Readonly<Record<string, string>> | undefined;
  return {
    status: head.status,
    get headers() {
      headers ??= fieldsOf(head.fields.rest);
      return headers;
    },
    whole,
    body: onePiece(whole),
  };
}

function fieldsOf(lines: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const line of lines.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    fields[name] = Object.hasOwn(fields, name) ? `${fields[name]}, ${value}` : value;
  }
  return fields;
}

async function* onePiece(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  if (bytes.byteLength > 0) yield bytes;
}
