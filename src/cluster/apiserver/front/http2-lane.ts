import type { TLSSocket } from "node:tls";
import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { CODES, encodeHeaders, Http2Connection, type Http2Stream } from "../../../kernel/http2/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { tooLarge } from "../failures.js";
import { maxBodyBytes } from "../request/body.js";
import { queryOf } from "../request/query.js";
import { failureResponse } from "../server/respond.js";
import type { ApiRequest, ApiResponse } from "../types.js";
import { certificateSubject, LazyAbort, maxDroppedBytes, maxQuickBytes } from "./http.js";
import { warningValue } from "./in-process.js";
import { type Out, writeBody } from "./streams.js";
import type { Waiting } from "./waiting.js";

/** What connections over HTTP/2 need of their listener. */
export interface Http2Host {
  handle(request: ApiRequest): Promise<ApiResponse>;
  readonly waits: Readonly<Record<"bodies" | "answers", Waiting>>;
  readonly clock: Clock;
  readonly log: Logger;
  /** As in a Date field. */
  date(): string;
  /** After so much silence a client is asked whether it is there, and let go after as much again; milliseconds. */
  readonly quietMs: number;
}

const nothing = new Uint8Array();

/** Connections over HTTP/2: each request is a stream; what is answered in one turn of the event loop leaves in one write. */
export class Http2Lanes {
  readonly #host: Http2Host;
  readonly #connections = new Set<Http2Connection>();
  #sweep: Timer | undefined;

  constructor(host: Http2Host) {
    this.#host = host;
  }

  /** Serves a connection from its first byte on. */
  take(socket: TLSSocket): void {
    const { clock } = this.#host;
    const host = {
      clock,
      onStream: (stream: Http2Stream) => void new Exchange(stream, socket, this.#host).serve(), // answers its own failures
      onClose: (connection: Http2Connection) => void this.#connections.delete(connection),
    };
    this.#connections.add(new Http2Connection(host, socket, Buffer.alloc(0)));
    this.#sweep ??= clock.setTimer(this.#host.quietMs / 2, () => this.#look());
  }

  /** Clients may be gone without a word. */
  #look(): void {
    const { clock, quietMs } = this.#host;
    const now = clock.monotonicMs();
    for (const connection of this.#connections) {
      const silentMs = now - connection.lastHeardMs;
      if (silentMs >= 2 * quietMs) connection.destroy();
      else if (silentMs >= quietMs) connection.ping();
    }
    this.#sweep = this.#connections.size === 0 ? undefined : clock.setTimer(quietMs / 2, () => this.#look());
  }

  close(): void {
    this.#sweep?.cancel();
    for (const connection of this.#connections) connection.destroy();
  }
}

/** One request and its answer. */
class Exchange {
  readonly #stream: Http2Stream;
  readonly #socket: TLSSocket;
  readonly #host: Http2Host;
  readonly #gone = new LazyAbort();
  readonly #out: Out;
  #answer: ApiResponse | undefined;

  constructor(stream: Http2Stream, socket: TLSSocket, host: Http2Host) {
    this.#stream = stream;
    this.#socket = socket;
    this.#host = host;
    this.#out = outOf(stream);
    stream.onDrain = () => this.#out.onDrain();
    stream.onClose = () => this.#onClose();
  }

  #onClose(): void {
    this.#gone.isClosed = true;
    if (!this.#stream.isLocalEnded) this.#gone.abort();
    this.#out.onClose();
    this.#answer?.done?.();
  }

  async serve(): Promise<void> {
    const { log, waits } = this.#host;
    const stream = this.#stream;
    try {
      const body = await this.#body();
      if (this.#gone.isClosed) return;
      const asked = this.#toApiRequest(body ?? nothing);
      const answer =
        body === undefined ? failureResponse(tooLarge(maxBodyBytes), log, asked) : await this.#host.handle(asked);
      if (this.#gone.isClosed) {
        answer.done?.();
        return;
      }
      this.#answer = answer;
      await this.#write(answer, waits.answers);
    } catch (error) {
      if (!this.#gone.isAborted)
        log.warn("answer broke off", { path: stream.headers.get(":path") ?? "", err: messageOf(error) });
      stream.reset(CODES.INTERNAL_ERROR);
    }
  }

  /** `undefined`: more than a resource may have. */
  #body(): Promise<Uint8Array | undefined> {
    const stream = this.#stream;
    const { bodies } = this.#host.waits;
    return new Promise((resolve) => {
      let pieces: Buffer[] = [];
      let size = 0;
      const wait = bodies.begin(() => stream.reset(CODES.CANCEL));
      const end = (body: Uint8Array | undefined): void => {
        bodies.end(wait);
        resolve(body);
      };
      stream.onData = (piece) => {
        size += piece.byteLength;
        if (size <= maxBodyBytes) {
          bodies.grow(wait, piece.byteLength);
          pieces.push(piece);
        } else pieces = [];
        // The rest is read and dropped: a client that still sends would not see the answer.
        if (size > maxBodyBytes && pieces.length === 0) end(undefined);
        if (size > maxDroppedBytes) stream.reset(CODES.CANCEL);
      };
      stream.onEnd = () => {
        if (size > maxBodyBytes) end(undefined);
        else end(pieces.length === 1 ? pieces[0] : pieces.length === 0 ? nothing : Buffer.concat(pieces));
      };
      const gone = stream.onClose;
      stream.onClose = () => {
        gone();
        end(nothing);
      };
    });
  }

  #toApiRequest(body: Uint8Array): ApiRequest {
    const gone = this.#gone;
    const target = this.#stream.headers.get(":path") ?? "/";
    const mark = target.indexOf("?");
    const subject = certificateSubject(this.#socket);
    const headers: Record<string, string> = {};
    for (const [name, value] of this.#stream.headers)
      if (!name.startsWith(":") && name !== "__proto__") headers[name] = value;
    const { repeated } = this.#stream;
    return {
      method: this.#stream.headers.get(":method") ?? "GET",
      path: mark < 0 ? target : target.slice(0, mark),
      query: queryOf(target),
      headers,
      ...(repeated === undefined ? {} : { repeatedHeaders: Object.fromEntries(repeated) }),
      body,
      ...(subject === undefined ? {} : subject),
      remoteAddress: this.#socket.remoteAddress ?? "",
      get signal() {
        return gone.signal;
      },
    };
  }

  async #write(answer: ApiResponse, answers: Waiting): Promise<void> {
    const stream = this.#stream;
    const { body, status } = answer;
    const isHead = stream.headers.get(":method") === "HEAD";
    if (!(body instanceof Uint8Array)) {
      stream.respond(this.#head(answer, undefined));
      await writeBody(this.#out, body, answers);
      return;
    }
    const isEmpty = isHead || body.byteLength === 0 || status === 204 || status === 304;
    stream.respond(this.#head(answer, status === 204 || status === 304 ? undefined : body.byteLength), isEmpty);
    if (isEmpty) return;
    stream.end(body);
    if (body.byteLength <= maxQuickBytes || !stream.hasWaiting) return;
    const wait = answers.begin(() => stream.reset(CODES.CANCEL), body.byteLength);
    this.#out.onClose = () => answers.end(wait);
  }

  #head({ status, headers, warnings = [] }: ApiResponse, length: number | undefined): Buffer {
    const passing: [string, string][] = warnings.map((text) => ["warning", warningValue(text)]);
    if (length !== undefined) passing.push(["content-length", String(length)]);
    return Buffer.concat([lastingHead(status, headers), encodeHeaders(passing), dateField(this.#host.date())]);
  }
}

function outOf(stream: Http2Stream): Out {
  return {
    get isGone() {
      return stream.isClosed;
    },
    write: (bytes) => stream.write(bytes),
    end: () => stream.end(),
    destroy: () => stream.reset(CODES.CANCEL),
    onDrain: () => undefined,
    onClose: () => undefined,
  };
}

/** What the connection itself has to say, or must not be said over HTTP/2. */
const own = new Set(["connection", "content-length", "date", "keep-alive", "transfer-encoding"]);
/** Most answers share their headers, as one object. */
const heads = new WeakMap<object, Map<number, Buffer>>();

function lastingHead(status: number, headers: Readonly<Record<string, string>>): Buffer {
  const known = heads.get(headers) ?? new Map<number, Buffer>();
  heads.set(headers, known);
  let block = known.get(status);
  if (block === undefined) {
    const fields = Object.entries(headers).map(([name, value]): [string, string] => [name.toLowerCase(), value]);
    block = encodeHeaders([[":status", String(status)], ...fields.filter(([name]) => !own.has(name))]);
    known.set(status, block);
  }
  return block;
}

let dated: { readonly text: string; readonly block: Buffer } = { text: "", block: Buffer.alloc(0) };

function dateField(text: string): Buffer {
  if (dated.text !== text) dated = { text, block: encodeHeaders([["date", text]]) };
  return dated.block;
}
