/**
 * Posts to one address with few connections and little CPU time: it runs beside the requests that it tells of. HTTP/1.1, one request at a time on a connection, plain
 * or with TLS.
 */
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { messageOf } from "../../../kernel/errors/index.js";
import {
  Framing,
  HeadFault,
  latin1,
  MAX_HEAD_BYTES,
  parseResponseHead,
  type ResponseHead,
} from "../../../kernel/http1/index.js";
import { DeliveryError } from "./queue.js";

/** What was answered to a post. */
export interface Posted {
  /** Only as long as was asked for. */
  readonly data: Buffer;
  /** A field of the answer by its lower-case name. */
  readonly header: (name: string) => string | undefined;
}

/** What is posted; both parts of the head are lines with their ends, of ASCII. */
export interface Post {
  readonly head: string;
  readonly body: string | Uint8Array;
  /** Of a body that is a text; default UTF-8. */
  readonly isLatin1?: boolean;
  /** Most of the answer's body that is wanted, bytes. */
  readonly limit: number;
}

const ANSWER_MS = 10_000;
/** Shorter than servers usually are, so that a connection is seldom closed by them while something is sent. */
const IDLE_MS = 4_000;
const MAX_COPIED_BYTES = 16_384;

/** An address to post to. */
export class PostClient {
  readonly #url: URL;
  readonly #fixed: string;
  readonly #idle: PostConnection[] = [];
  readonly #all = new Set<PostConnection>();

  constructor(url: string) {
    this.#url = new URL(url);
    const { pathname, search, host, username, password } = this.#url;
    const user = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
    const basic = username === "" ? "" : `authorization: Basic ${user}\r\n`;
    this.#fixed = `POST ${pathname}${search} HTTP/1.1\r\nhost: ${host}\r\n${basic}`;
  }

  /** Rejects with a `DeliveryError` unless the answer is a success. */
  async post(post: Post): Promise<Posted> {
    const used = this.#idle.pop();
    if (used !== undefined) {
      try {
        return await this.#postOn(used, post);
      } catch (error) {
        // It may have been closed while it was idle: that says nothing about the address.
        if (!(error instanceof DeliveryError) || !used.wasSilent) throw error;
      }
    }
    return this.#postOn(this.#open(), post);
  }

  async #postOn(connection: PostConnection, post: Post): Promise<Posted> {
    const { head, body, limit, isLatin1 = false } = post;
    const length = typeof body === "string" && !isLatin1 ? Buffer.byteLength(body) : body.length;
    const answer = await connection.send(`${this.#fixed}${head}content-length: ${length}\r\n\r\n`, post);
    if (connection.isUsable) this.#idle.push(connection);
    const { status } = answer.head;
    if (status >= 200 && status < 300) {
      if (answer.isCut && limit > 0) throw new DeliveryError(`its answer is longer than ${limit} bytes`, false);
      return { data: answer.data, header: (name) => fieldOf(answer.head, name) };
    }
    throw new DeliveryError(
      `it answered ${status}`,
      status >= 500 || status === 408 || status === 425 || status === 429,
    );
  }

  #open(): PostConnection {
    const { protocol, hostname, port } = this.#url;
    const host = hostname.replace(/^\[|\]$/g, "");
    const socket =
      protocol === "https:"
        ? connectTls({ host, port: Number(port) || 443, servername: host, ALPNProtocols: ["http/1.1"] })
        : connect({ host, port: Number(port) || 80 });
    const connection = new PostConnection(socket, () => {
      this.#all.delete(connection);
      const at = this.#idle.indexOf(connection);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    this.#all.add(connection);
    return connection;
  }

  /** Breaks everything off. */
  close(): void {
    for (const connection of this.#all) connection.destroy();
  }
}

function fieldOf(head: ResponseHead, name: string): string | undefined {
  for (const line of head.fields.rest.split("\r\n")) {
    const colon = line.indexOf(":");
    if (line.slice(0, colon).toLowerCase() === name) return line.slice(colon + 1).trim();
  }
  return undefined;
}

interface Answer {
  readonly head: ResponseHead;
  readonly data: Buffer;
  /** The body was longer than what was wanted. */
  readonly isCut: boolean;
}

interface Pending {
  readonly limit: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: DeliveryError) => void;
}

/** One connection. */
class PostConnection {
  readonly #socket: Socket;
  #pending: Pending | undefined;
  #rest: Buffer | undefined;
  #head: ResponseHead | undefined;
  #framing: Framing | undefined;
  #pieces: Buffer[] = [];
  #size = 0;
  #isSpent = false;
  /** Nothing came in answer to what was sent last. */
  wasSilent = true;

  constructor(socket: Socket, onClose: () => void) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("error", (error) => this.#fail(messageOf(error)));
    socket.on("timeout", () => this.#fail(`no answer within ${ANSWER_MS} ms`));
    socket.on("close", () => {
      // An answer without a length ends with its connection.
      if (this.#framing?.kind === "close" && this.#pending !== undefined) this.#finish();
      this.#fail("the connection was closed before an answer came");
      onClose();
    });
  }

  get isUsable(): boolean {
    return !this.#isSpent && !this.#socket.destroyed;
  }

  send(head: string, { body, limit, isLatin1 = false }: Post): Promise<Answer> {
    const socket = this.#socket;
    return new Promise((resolve, reject) => {
      this.#pending = { limit, resolve, reject };
      this.wasSilent = true;
      socket.setTimeout(ANSWER_MS);
      // One write of one piece is the cheapest there is.
      if (typeof body === "string") socket.write(head + body, isLatin1 ? "latin1" : "utf8");
      else if (body.length <= MAX_COPIED_BYTES) {
        const bytes = Buffer.allocUnsafe(head.length + body.length);
        bytes.write(head, "latin1");
        bytes.set(body, head.length);
        socket.write(bytes);
      } else {
        socket.cork();
        socket.write(head, "latin1");
        socket.write(body);
        socket.uncork();
      }
    });
  }

  destroy(): void {
    this.#fail("the log is being closed");
  }

  #fail(message: string): void {
    this.#isSpent = true;
    this.#socket.destroy();
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.reject(new DeliveryError(message, true));
  }

  #onData(chunk: Buffer): void {
    this.wasSilent = false;
    if (this.#pending === undefined) {
      this.#fail("it sent an answer that nobody asked for");
      return;
    }
    let at = 0;
    let bytes = chunk;
    if (this.#framing === undefined) {
      bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
      at = this.#readHead(bytes);
    }
    const framing = this.#framing;
    if (framing === undefined) return;
    framing.consume(bytes, at, bytes.length, (from, to) => this.#keep(bytes.subarray(from, to)));
    if (framing.isBroken) this.#fail("its answer is malformed");
    else if (framing.isDone) this.#finish();
  }

  /** Where the head's body begins; without a framing the head has not come whole. */
  #readHead(bytes: Buffer): number {
    let start = 0;
    for (;;) {
      const text = latin1(bytes, start, Math.min(bytes.length, start + MAX_HEAD_BYTES));
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) {
        if (text.length >= MAX_HEAD_BYTES) this.#fail("the head of its answer is too long");
        this.#rest = bytes.subarray(start);
        return start;
      }
      const head = parseResponseHead(text, end + 2);
      if (head instanceof HeadFault) {
        this.#fail(head.message);
        return start;
      }
      start += end + 4;
      if (head.status < 200) continue;
      this.#rest = undefined;
      this.#head = head;
      this.#framing = framingOf(head);
      return start;
    }
  }

  #keep(piece: Buffer): void {
    this.#size += piece.length;
    if (this.#size <= (this.#pending?.limit ?? 0)) this.#pieces.push(piece);
  }

  #finish(): void {
    const [pending, head] = [this.#pending, this.#head];
    if (pending === undefined || head === undefined) return;
    const { close, keepAlive } = head.fields;
    if (close || (head.minor === 0 && !keepAlive) || this.#framing?.kind === "close") {
      this.#isSpent = true;
      this.#socket.end();
    }
    const isCut = this.#size > pending.limit;
    const data = isCut ? Buffer.alloc(0) : Buffer.concat(this.#pieces);
    this.#pending = undefined;
    this.#head = undefined;
    this.#framing = undefined;
    this.#pieces = [];
    this.#size = 0;
    this.#socket.setTimeout(IDLE_MS);
    pending.resolve({ head, data, isCut });
  }
}

function framingOf({ status, fields }: ResponseHead): Framing {
  if (status === 204 || status === 304) return new Framing("none");
  if (fields.isChunked) return new Framing("chunked");
  return fields.contentLength >= 0 ? new Framing("length", fields.contentLength) : new Framing("close");
}
