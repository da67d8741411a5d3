import { STATUS_CODES } from "node:http";
import type { TLSSocket } from "node:tls";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { queryOf } from "../request/query.js";
import type { ApiRequest, ApiResponse } from "../types.js";
import { certificateSubject, LazyAbort } from "./http.js";
import { warningValue } from "./in-process.js";
import { SimpleReader, type SimpleRequest } from "./simple-request.js";
import { lastChunk, type Out, writeBody, writeChunk } from "./streams.js";
import type { Wait, Waiting } from "./waiting.js";

/** What lanes need of their listener. */
export interface LaneHost {
  handle(request: ApiRequest): Promise<ApiResponse>;
  /** Clients that have not sent anything yet, that may send another request, that still send a body, and that are to take an answer. */
  readonly waits: Readonly<Record<"first" | "next" | "bodies" | "answers", Waiting>>;
  readonly log: Logger;
  /** As in a Date field. */
  date(): string;
  /** Serves a connection from its next byte on, whatever comes. */
  takeOver(socket: TLSSocket): void;
}

/** Longer bodies are written behind their head, not with it. */
const maxOneWriteBytes = 16 * 1024;
/** Answers up to this fit into what the kernel and TLS buffer for a connection. */
const maxQuickBytes = 256 * 1024;
/** What may come before the answer to what came before it. */
const maxEarlyBytes = 64 * 1024;

/**
 * A connection over HTTP/1.1 as long as plain requests come on it, one after the other: most of what a client of the API sends.
 * These cost a fraction of what node's server takes for any request. With the first that is not plain the connection is handed
 * over to that server, for good.
 */
export class Lane {
  readonly #socket: TLSSocket;
  readonly #host: LaneHost;
  readonly #reader = new SimpleReader();
  readonly #onData = (chunk: Buffer): void => this.#take(chunk);
  readonly #onDrain = (): void => this.#out?.onDrain();
  readonly #onClose = (): void => this.#close();
  // The close event follows.
  readonly #onError = (): void => undefined;
  #wait: { readonly of: Waiting; readonly entry: Wait } | undefined;
  /** Of the request under way. */
  #gone: LazyAbort | undefined;
  #out: Out | undefined;
  #early: Buffer | undefined;
  /** A request of which not all has come. */
  #coming: { readonly pieces: Buffer[]; missing: number } | undefined;

  constructor(socket: TLSSocket, host: LaneHost) {
    this.#socket = socket;
    this.#host = host;
    socket.on("data", this.#onData);
    socket.on("drain", this.#onDrain);
    socket.on("close", this.#onClose);
    socket.on("error", this.#onError);
    this.#waitFor(host.waits.first);
  }

  #waitFor(of: Waiting, bytes = 0): void {
    this.#wait = { of, entry: of.begin(() => this.#socket.destroy(), bytes) };
  }

  #endWait(): void {
    this.#wait?.of.end(this.#wait.entry);
    this.#wait = undefined;
  }

  #take(chunk: Buffer): void {
    if (this.#gone === undefined) {
      this.#begin(chunk);
      return;
    }
    this.#early = this.#early === undefined ? chunk : Buffer.concat([this.#early, chunk]);
    if (this.#early.byteLength > maxEarlyBytes) this.#socket.pause();
  }

  #begin(chunk: Buffer): void {
    const all = this.#gather(chunk);
    if (all === undefined) return;
    const request = this.#reader.read(all);
    if (typeof request === "number") {
      this.#coming = { pieces: [all], missing: request - all.byteLength };
      this.#endWait();
      this.#waitFor(this.#host.waits.bodies, all.byteLength);
      return;
    }
    this.#endWait();
    if (request === undefined) this.#handOver(all);
    else void this.#serve(request); // answers its own failures
  }

  /** A request's bytes, once all of them are here: the body must come in its time, however many pieces there are. */
  #gather(chunk: Buffer): Buffer | undefined {
    const coming = this.#coming;
    if (coming === undefined) return chunk;
    coming.pieces.push(chunk);
    coming.missing -= chunk.byteLength;
    if (this.#wait !== undefined) this.#host.waits.bodies.grow(this.#wait.entry, chunk.byteLength);
    if (coming.missing > 0) return undefined;
    this.#coming = undefined;
    return Buffer.concat(coming.pieces);
  }

  #handOver(chunk: Buffer): void {
    const socket = this.#socket;
    socket.off("data", this.#onData);
    socket.off("drain", this.#onDrain);
    socket.off("close", this.#onClose);
    socket.off("error", this.#onError);
    socket.pause();
    socket.unshift(chunk);
    this.#host.takeOver(socket);
    socket.resume();
  }

  async #serve(request: SimpleRequest): Promise<void> {
    const gone = new LazyAbort();
    this.#gone = gone;
    let answer: ApiResponse | undefined;
    try {
      answer = await this.#host.handle(this.#toApiRequest(request, gone));
      if (!gone.isClosed) await this.#write(answer);
    } catch (error) {
      if (!gone.isAborted) this.#host.log.warn("answer broke off", { path: request.target, err: messageOf(error) });
      this.#socket.destroy();
    }
    answer?.done?.();
    this.#gone = undefined;
    this.#out = undefined;
    if (!this.#socket.destroyed) this.#goOn();
  }

  #toApiRequest({ method, target, headers, body }: SimpleRequest, gone: LazyAbort): ApiRequest {
    const mark = target.indexOf("?");
    const subject = certificateSubject(this.#socket);
    return {
      method,
      path: mark < 0 ? target : target.slice(0, mark),
      query: queryOf(target),
      headers,
      body,
      ...(subject === undefined ? {} : subject),
      remoteAddress: this.#socket.remoteAddress ?? "",
      get signal() {
        return gone.signal;
      },
    };
  }

  #goOn(): void {
    const early = this.#early;
    this.#early = undefined;
    if (early === undefined) {
      this.#waitFor(this.#host.waits.next);
      return;
    }
    if (this.#socket.isPaused()) this.#socket.resume();
    this.#begin(early);
  }

  #close(): void {
    this.#endWait();
    if (this.#gone === undefined) return;
    this.#gone.isClosed = true;
    this.#gone.abort();
    this.#out?.onClose();
  }

  async #write(answer: ApiResponse): Promise<void> {
    const { body } = answer;
    const socket = this.#socket;
    if (answer.status === 204 || answer.status === 304) {
      socket.write(`${this.#head(answer)}\r\n`, "latin1");
      if (!(body instanceof Uint8Array)) await drop(body);
      return;
    }
    if (!(body instanceof Uint8Array)) {
      socket.write(`${this.#head(answer)}transfer-encoding: chunked\r\n\r\n`, "latin1");
      await writeBody(this.#openOut(), body, this.#host.waits.answers);
      return;
    }
    const head = `${this.#head(answer)}content-length: ${body.byteLength}\r\n\r\n`;
    if (body.byteLength <= maxOneWriteBytes) {
      // As Latin-1 text (a byte a character) head and body leave in one write, which a TLS socket encrypts at once.
      const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("latin1");
      if (socket.write(head + text, "latin1")) return;
    } else {
      socket.cork();
      socket.write(head, "latin1");
      socket.write(body);
      socket.uncork();
    }
    await this.#drained(body.byteLength);
  }

  #head({ status, headers, warnings = [] }: ApiResponse): string {
    const fields = warnings.map((text) => `warning: ${checked("warning", warningValue(text))}\r\n`).join("");
    return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${fieldsOf(headers)}${fields}date: ${this.#host.date()}\r\nconnection: keep-alive\r\nkeep-alive: timeout=75\r\n`;
  }

  /** Resolves when the client took what was written, or is gone. */
  async #drained(bytes: number): Promise<void> {
    if (!this.#socket.writableNeedDrain) return;
    const { answers } = this.#host.waits;
    const wait = answers.begin(() => this.#socket.destroy(), bytes > maxQuickBytes ? bytes : 0);
    const out = this.#openOut();
    await new Promise<void>((resolve) => {
      out.onDrain = resolve;
      out.onClose = resolve;
    });
    answers.end(wait);
  }

  #openOut(): Out {
    const socket = this.#socket;
    const out: Out = {
      get isGone() {
        return socket.destroyed;
      },
      write: (bytes) => writeChunk(socket, bytes),
      end: () => void socket.write(lastChunk),
      destroy: () => void socket.destroy(),
      onDrain: () => undefined,
      onClose: () => undefined,
    };
    this.#out = out;
    return out;
  }
}

/** Such an answer has no body; whatever makes one may still hold something. */
async function drop(body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of body) break;
}

/** What the connection itself has to say. */
const own = new Set(["connection", "content-length", "date", "keep-alive", "transfer-encoding"]);
/** Most answers share their headers, as one object. */
const rendered = new WeakMap<object, string>();

function fieldsOf(headers: Readonly<Record<string, string>>): string {
  let text = rendered.get(headers);
  if (text === undefined) {
    text = Object.entries(headers)
      .filter(([name]) => !own.has(name.toLowerCase()))
      .map(([name, value]) => `${name}: ${checked(name, value)}\r\n`)
      .join("");
    rendered.set(headers, text);
  }
  return text;
}

/** A value that cannot end its field; throws `TypeError` for any other, as node does. */
function checked(name: string, value: string): string {
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw new TypeError(`invalid character in header content [${name}]`);
  return value;
}
