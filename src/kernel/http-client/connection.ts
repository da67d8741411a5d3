import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { ArgosyError } from "../errors/index.js";
import { Framing, HeadFault, latin1, MAX_HEAD_BYTES, parseResponseHead, type ResponseHead } from "../http1/index.js";
import { type ClientTarget, hostOf, PROBE_MS, portOf, servernameOf } from "./target.js";

/** What is sent; not HEAD, whose answer has a length and no body. */
export interface OutgoingRequest {
  /** Request line and fields, each with its CRLF, of one byte a character; without content-length, and without the empty line. */
  readonly head: string;
  /** Absent: the request has none. */
  readonly body?: string | Uint8Array | undefined;
  /** Of a body that is a text: one byte a character; default UTF-8. */
  readonly isLatin1?: boolean | undefined;
}

/** Hears of one exchange: its head, its body's pieces, its end; or at any time, as the last thing, of its failure. */
export interface AnswerReceiver {
  onHead(head: ResponseHead): void;
  /** A part of what was read: not to be changed. */
  onPiece(piece: Buffer): void;
  /** `isKept`: another exchange may follow on the connection. */
  onEnd(isKept: boolean): void;
  /** What `destroy` was given, what the socket failed with, or an `ArgosyError` of code `ECONNRESET`, `ETIMEDOUT` or `ConnectTimeout`. */
  onFailure(error: Error): void;
}

/** Longer bodies are written behind their head, not with it. */
const MAX_ONE_WRITE = 16 * 1024;
/** A server may say how long it keeps a connection; this much before that it is not used any more. */
const KEEP_ALIVE_MARGIN_MS = 1000;
/** Of one exchange. */
const MAX_INTERIM_ANSWERS = 64;

/** One connection; one exchange at a time. */
export class ClientConnection {
  readonly #socket: Socket;
  readonly #target: ClientTarget;
  #receiver: AnswerReceiver | undefined;
  #head: ResponseHead | undefined;
  #framing = new Framing("none");
  /** Of a head that has not come whole. */
  #early: Buffer | undefined;
  #interims = 0;
  #exchanges = 0;
  #isSilent = true;
  #isReady = false;
  #isKept = false;
  #failure: Error | undefined;
  /** After how long without use it is closed. */
  #keptMs: number;
  #patienceMs: number;

  /** `onGone` is told when it is closed, whatever for. */
  constructor(target: ClientTarget, onGone: () => void) {
    const { url, tls = {}, connectMs, idleMs } = target;
    this.#target = target;
    this.#keptMs = idleMs;
    this.#patienceMs = connectMs;
    const isPlain = url.protocol === "http:";
    const [host, port, servername] = [hostOf(url), portOf(url), servernameOf(url, tls)];
    const socket = isPlain
      ? connectPlain({ host, port })
      : connectTls({ ...tls, host, port, servername, ALPNProtocols: ["http/1.1"] });
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, PROBE_MS);
    socket.setTimeout(connectMs);
    socket.on("timeout", () => this.#onSilence());
    socket.once(isPlain ? "connect" : "secureConnect", () => {
      this.#isReady = true;
      this.#wait();
    });
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.once("end", () => this.#onEnd());
    socket.on("error", (error) => {
      this.#failure ??= error;
    });
    socket.once("close", () => {
      this.#isKept = false;
      onGone();
      this.#fail();
    });
  }

  /** Another exchange may begin. */
  get canBeUsed(): boolean {
    return this.#isKept && !this.#socket.destroyed;
  }

  /** The exchange failed as it does where a server closes a kept connection just when it is used: it may well have seen nothing of the request. */
  get isStale(): boolean {
    return this.#exchanges > 1 && this.#isSilent;
  }

  /** Sends a request; only on a new connection, or one that `canBeUsed`. */
  exchange(request: OutgoingRequest, receiver: AnswerReceiver): void {
    this.#receiver = receiver;
    this.#exchanges++;
    this.#interims = 0;
    this.#isSilent = true;
    this.#isKept = false;
    if (this.#socket.destroyed) {
      this.#fail();
      return;
    }
    this.#socket.ref();
    if (this.#isReady) this.#wait();
    this.#write(request);
  }

  /** Nothing more is read until `resume`. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#socket.isPaused()) return;
    // What was silent meanwhile was held back.
    this.#socket.setTimeout(this.#patienceMs);
    this.#socket.resume();
  }

  /** The rest of the answer is not wanted: the exchange ends here, and the connection with it. */
  cut(): void {
    this.#finish(false);
  }

  /** Ends it; an exchange that is under way fails. */
  destroy(error?: Error): void {
    this.#failure ??= error;
    this.#isKept = false;
    this.#socket.destroy();
    if (error !== undefined) this.#fail();
  }

  /** One write of one piece is the cheapest there is. */
  #write({ head, body, isLatin1 = false }: OutgoingRequest): void {
    const socket = this.#socket;
    if (body === undefined) {
      socket.write(`${head}\r\n`, "latin1");
      return;
    }
    const length = typeof body === "string" && !isLatin1 ? Buffer.byteLength(body) : body.length;
    const whole = `${head}content-length: ${length}\r\n\r\n`;
    if (typeof body === "string" && length === body.length) {
      // One byte a character, whatever it was meant as.
      socket.write(whole + body, "latin1");
      return;
    }
    const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : body;
    if (length <= MAX_ONE_WRITE) {
      const all = Buffer.allocUnsafe(whole.length + length);
      all.write(whole, "latin1");
      all.set(bytes, whole.length);
      socket.write(all);
      return;
    }
    socket.cork();
    socket.write(whole, "latin1");
    socket.write(bytes);
    socket.uncork();
  }

  /** How long it may be silent now. */
  #wait(): void {
    const ms = (this.#receiver === undefined ? undefined : this.#target.silenceMs) ?? this.#keptMs;
    if (ms !== this.#patienceMs) this.#socket.setTimeout(ms);
    this.#patienceMs = ms;
  }

  #onSilence(): void {
    const { connectMs, silenceMs, url } = this.#target;
    if (!this.#isReady)
      this.destroy(new ArgosyError("ConnectTimeout", `no connection to ${url.host} within ${connectMs} ms`));
    else if (this.#receiver === undefined) this.destroy();
    else if (silenceMs !== undefined && !this.#socket.isPaused())
      this.destroy(new ArgosyError("ETIMEDOUT", `nothing came for ${silenceMs} ms`));
  }

  #break(message: string): void {
    this.destroy(new ArgosyError("ECONNRESET", message));
  }

  #fail(): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.#failure ??= new ArgosyError("ECONNRESET", "the other side closed the connection");
    this.#receiver = undefined;
    receiver.onFailure(this.#failure);
  }

  #take(chunk: Buffer): void {
    if (this.#receiver === undefined) {
      // Nobody has asked for it.
      this.destroy();
      return;
    }
    this.#isSilent = false;
    if (this.#head === undefined) this.#takeHead(this.#receiver, chunk);
    else this.#takeBody(this.#receiver, chunk, 0);
  }

  #takeHead(receiver: AnswerReceiver, chunk: Buffer): void {
    const all = this.#early === undefined ? chunk : Buffer.concat([this.#early, chunk]);
    this.#early = undefined;
    let start = 0;
    for (;;) {
      const end = all.indexOf("\r\n\r\n", start);
      if (end < 0 || end - start > MAX_HEAD_BYTES) {
        if (all.length - start > MAX_HEAD_BYTES) this.#break("the head of the answer is too long");
        else if (start < all.length) this.#early = start === 0 ? all : all.subarray(start);
        return;
      }
      const head = this.#readHead(all, start, end + 2);
      if (head === undefined) return;
      start = end + 4;
      // An interim answer; the final one follows.
      if (head.status < 200) continue;
      this.#head = head;
      this.#framing = framingOf(head);
      receiver.onHead(head);
      this.#takeBody(receiver, all, start);
      return;
    }
  }

  /** None: it is no answer, and the exchange has failed. */
  #readHead(bytes: Buffer, start: number, end: number): ResponseHead | undefined {
    const head = parseResponseHead(latin1(bytes, start, end), end - start);
    if (head instanceof HeadFault) this.#break(head.message);
    else if (head.status === 101) this.#break("the answer changes the protocol");
    else if (head.status < 200 && ++this.#interims > MAX_INTERIM_ANSWERS) this.#break("the answer never begins");
    else return head;
    return undefined;
  }

  #takeBody(receiver: AnswerReceiver, chunk: Buffer, start: number): void {
    const framing = this.#framing;
    const used = framing.consume(chunk, start, chunk.length, (from, to) => {
      // Whoever hears of a piece may end the exchange.
      if (this.#receiver === receiver) receiver.onPiece(chunk.subarray(from, to));
    });
    if (this.#receiver !== receiver) return;
    if (framing.isBroken) this.#break("the chunks of the answer are malformed");
    else if (framing.isDone) this.#finish(start + used === chunk.length);
  }

  #onEnd(): void {
    if (this.#head !== undefined && this.#framing.kind === "close") this.#finish(false);
    this.#socket.destroy();
  }

  #finish(isClean: boolean): void {
    const [head, receiver] = [this.#head, this.#receiver];
    if (head === undefined || receiver === undefined) return;
    this.#head = undefined;
    this.#receiver = undefined;
    const { close, keepAliveSeconds } = head.fields;
    // What answers before it has the whole request may not read the rest of it.
    const isWhole = isClean && this.#socket.writableLength === 0 && this.#framing.kind !== "close";
    this.#isKept = isWhole && !close && head.minor === 1 && !this.#socket.destroyed;
    if (!this.#isKept) this.#socket.destroy();
    else {
      if (keepAliveSeconds >= 0) {
        const toldMs = keepAliveSeconds * 1000 - KEEP_ALIVE_MARGIN_MS;
        this.#keptMs = Math.max(1, Math.min(this.#target.idleMs, toldMs));
      }
      this.#wait();
      // The last piece may have been one too many for its reader.
      this.resume();
      this.#socket.unref();
    }
    receiver.onEnd(this.#isKept);
  }
}

function framingOf({ status, fields }: ResponseHead): Framing {
  if (status === 204 || status === 304) return new Framing("none");
  if (fields.isChunked) return new Framing("chunked");
  return fields.contentLength >= 0 ? new Framing("length", fields.contentLength) : new Framing("close");
}
