import type { Socket } from "node:net";
import { type HopFields, type Http1Answer, HttpError, renderHead } from "./answer.js";
import { HeadFault, latin1, MAX_HEAD_BYTES, parseRequestHead, type RequestHead } from "./head.js";
import { Http1Request, KnownHead } from "./request.js";

/** Bounds of a server; all times in milliseconds. */
export interface Http1Limits {
  /** From a head's first byte to its last. */
  readonly headMs: number;
  /** From a head to the last byte of its body. */
  readonly bodyMs: number;
  /** Between requests. */
  readonly idleMs: number;
  /** For a client to take an answer that does not fit the socket's buffers. */
  readonly writeMs: number;
}

/** What connections need of their server. */
export interface ConnectionHost {
  readonly limits: Http1Limits;
  readonly answer: (request: Http1Request) => Http1Answer | Promise<Http1Answer>;
  readonly fail: (error: unknown, request: Http1Request | undefined) => Http1Answer;
  /** Connections end after the answer under way. */
  readonly isClosing: boolean;
  nowMs(): number;
  /** As in a Date field. */
  date(): string;
  /** Takes over a connection that begins with HTTP/2's preface; `first` was read of it already. */
  readonly takeOver: ((socket: Socket, first: Buffer) => void) | undefined;
  /** Forgets a connection that was handed over. */
  release(connection: Http1Connection): void;
}

/** How HTTP/2 begins (RFC 9113 3.4), up to what looks like the end of a head. */
const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\n";
const BARE_LF = /(?<!\r)\n/;

type Whole = string | Uint8Array;

const CRLF = Buffer.from("\r\n");
/** Longer heads are not kept. */
const MAX_KNOWN_BYTES = 2048;
const MAX_PIPELINED_BYTES = 65_536;
/** Answers that are put together in one piece. */
const MAX_COPIED_BYTES = 65_536;
/** How long what still comes is read after our last byte, so that the answer is not lost to a reset. */
const LINGER_MS = 5000;
/** A client that has ended its side may read on: so long it is taken for one that waits, then for one that is gone. */
const HALF_CLOSED_MS = 1000;

/** One client's connection: requests are answered one after the other. */
export class Http1Connection {
  readonly #host: ConnectionHost;
  readonly #socket: Socket;
  /** When `onDeadline` is due, monotonic milliseconds; infinite while an answer is being made. */
  deadlineMs: number;
  #request: Http1Request | undefined;
  #head: RequestHead | undefined;
  /** The last head, and its bytes with the empty line: programs send the same again and again. */
  #known: KnownHead | undefined;
  #knownBytes: Buffer | undefined;
  /** Bytes after the request under way. */
  #pending: Buffer | undefined;
  #isAdvancing = false;
  #isClosing = false;
  #isBlocked = false;
  #isFirst = true;
  /** When the client ended its side. */
  #endedMs = Number.POSITIVE_INFINITY;
  #onUnblocked: (() => void) | undefined;

  constructor(host: ConnectionHost, socket: Socket) {
    this.#host = host;
    this.#socket = socket;
    this.deadlineMs = host.nowMs() + host.limits.idleMs;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("end", () => this.#onEnd());
    socket.on("drain", () => this.#onDrain());
    // The close event follows.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#request?.cut("the connection ended");
      this.#request?.leave();
      this.#unblock();
    });
  }

  /** Between requests, nothing begun. */
  get isIdle(): boolean {
    return this.#request === undefined && this.#pending === undefined;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Ends our side and reads what still comes for a while. */
  closeSoon(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#pending = undefined;
    this.deadlineMs = this.#host.nowMs() + (this.#isBlocked ? this.#host.limits.writeMs : LINGER_MS);
    this.#socket.end();
    this.#socket.resume();
  }

  /** `deadlineMs` has passed. */
  onDeadline(): void {
    if (this.#isClosing || this.#isBlocked) this.#socket.destroy();
    else if (this.#request !== undefined) {
      this.deadlineMs = Number.POSITIVE_INFINITY;
      this.#request.cut("the body did not arrive in time", 408);
    } else if (this.#pending !== undefined) this.#refuse(new HttpError(408, "the request head did not arrive in time"));
    else this.closeSoon();
  }

  #onData(chunk: Buffer): void {
    if (this.#isClosing) return;
    if (this.#request !== undefined && !this.#request.isWhole) {
      this.#feed(this.#request, chunk, 0);
      return;
    }
    if (this.#pending === undefined) {
      this.#pending = chunk;
    } else this.#pending = Buffer.concat([this.#pending, chunk]);
    if (this.#request === undefined) this.#advance();
    else if (this.#pending.length > MAX_PIPELINED_BYTES) this.#socket.pause();
  }

  #onEnd(): void {
    this.#endedMs = this.#host.nowMs();
    if (this.#request === undefined) this.closeSoon();
    else if (!this.#request.isWhole) this.#request.cut("the connection ended before the body did");
    else {
      this.#isClosing = true;
      this.#request.leave();
    }
  }

  #onDrain(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    if (this.#onUnblocked !== undefined) {
      this.deadlineMs = Number.POSITIVE_INFINITY;
      this.#unblock();
      return;
    }
    this.deadlineMs = this.#host.nowMs() + (this.#isClosing ? LINGER_MS : this.#host.limits.idleMs);
    if (this.#request === undefined && !this.#isClosing) this.#advance();
  }

  /** Begins as many requests as have come, one after the other. A loop, so that many pipelined ones need no deep stack. */
  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    while (this.#pending !== undefined && this.#request === undefined && !this.#isClosing && !this.#isBlocked) {
      if (!this.#readHead(this.#pending)) break;
    }
    this.#isAdvancing = false;
    if (!this.#isClosing && !this.#isBlocked && this.#request === undefined && this.#socket.isPaused())
      this.#socket.resume();
  }

  /** False: the head has not come whole. */
  #readHead(chunk: Buffer): boolean {
    const known = this.#knownBytes;
    if (known !== undefined && this.#known !== undefined && beginsWith(chunk, known)) {
      this.#pending = undefined;
      this.#begin(this.#known, chunk, known.length);
      return true;
    }
    let text = latin1(chunk, 0, Math.min(chunk.length, MAX_HEAD_BYTES));
    let skipped = 0;
    while (text.startsWith("\r\n")) {
      text = text.slice(2);
      skipped += 2;
    }
    const end = text.indexOf("\r\n\r\n");
    if (this.#isFirst && this.#host.takeOver !== undefined && text.startsWith(HTTP2_PREFACE)) {
      this.#handOver(this.#host.takeOver, chunk);
      return false;
    }
    if (end < 0) {
      if (BARE_LF.test(text)) {
        this.#refuse(new HttpError(400, "the head has control characters or bare line ends"));
        return false;
      }
      if (chunk.length >= MAX_HEAD_BYTES) {
        this.#refuse(new HttpError(431, `the head is longer than ${MAX_HEAD_BYTES} bytes`));
        return false;
      }
      this.#pending = text.length === 0 ? undefined : chunk;
      this.deadlineMs = Math.min(this.deadlineMs, this.#host.nowMs() + this.#host.limits.headMs);
      return false;
    }
    const head = parseRequestHead(text, end + 2);
    this.#pending = undefined;
    if (head instanceof HeadFault) this.#refuse(new HttpError(head.status, head.message));
    else this.#begin(this.#keep(head, chunk, end + 4, skipped), chunk, end + 4 + skipped);
    return true;
  }

  /** Heads that are long, or come behind empty lines, are not worth it. */
  #keep(head: RequestHead, chunk: Buffer, length: number, skipped: number): KnownHead {
    const known = new KnownHead(head);
    const isKept = length <= MAX_KNOWN_BYTES && skipped === 0;
    this.#known = isKept ? known : undefined;
    this.#knownBytes = isKept ? Buffer.from(chunk.subarray(0, length)) : undefined;
    return known;
  }

  #handOver(takeOver: (socket: Socket, first: Buffer) => void, first: Buffer): void {
    this.#pending = undefined;
    this.#isClosing = true;
    this.#host.release(this);
    for (const event of ["data", "end", "drain", "error", "close"]) this.#socket.removeAllListeners(event);
    takeOver(this.#socket, first);
  }

  #begin(known: KnownHead, chunk: Buffer, bodyStart: number): void {
    this.#isFirst = false;
    const request = new Http1Request(known, this);
    this.#request = request;
    this.#head = known.head;
    if (bodyStart < chunk.length) this.#feed(request, chunk, bodyStart);
    this.deadlineMs = request.isWhole ? Number.POSITIVE_INFINITY : this.#host.nowMs() + this.#host.limits.bodyMs;
    let answer: Http1Answer | Promise<Http1Answer>;
    try {
      answer = this.#host.answer(request);
    } catch (error) {
      this.#send(request, this.#host.fail(error, request));
      return;
    }
    if (!(answer instanceof Promise)) this.#send(request, answer);
    else
      answer.then(
        (made) => this.#send(request, made),
        (error: unknown) => this.#send(request, this.#host.fail(error, request)),
      );
  }

  #feed(request: Http1Request, chunk: Buffer, start: number): void {
    const used = request.feed(chunk, start);
    if (request.isWhole) {
      this.deadlineMs = Number.POSITIVE_INFINITY;
      if (start + used < chunk.length) this.#pending = chunk.subarray(start + used);
    } else if (request.unread > MAX_PIPELINED_BYTES) this.#socket.pause();
  }

  /** The request's: it is to be read by nobody. */
  isGone(): boolean {
    return this.#socket.destroyed || this.#host.nowMs() - this.#endedMs >= HALF_CLOSED_MS;
  }

  /** The request's: somebody waits for the rest of its body. */
  wantBody(request: Http1Request): void {
    const { fields, minor } = this.#head ?? {};
    if (fields?.expectContinue === true && minor === 1 && request === this.#request)
      this.#socket.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
    this.#socket.resume();
  }

  #send(request: Http1Request, answer: Http1Answer): void {
    const head = this.#head;
    if (this.#request !== request || head === undefined) return;
    request.forget();
    const { close, keepAlive } = head.fields;
    const stays =
      request.isWhole && !this.#isClosing && !this.#host.isClosing && !close && (head.minor === 1 || keepAlive);
    const { body } = answer;
    if (typeof body === "string" || body instanceof Uint8Array) {
      this.#write(request, [answer, body], { close: !stays, keepAlive: head.minor === 0, date: this.#host.date() });
      this.#finish(stays);
    } else void this.#stream(answer, body, { stays: stays && head.minor === 1, chunked: head.minor === 1 });
  }

  /** The answer is under way: no other request is begun before its end. Never rejects. */
  async #stream(
    answer: Http1Answer,
    pieces: AsyncIterable<string | Uint8Array>,
    { stays, chunked }: { stays: boolean; chunked: boolean },
  ): Promise<void> {
    const socket = this.#socket;
    try {
      const hop = { close: !stays, keepAlive: false, chunked, date: this.#host.date() };
      socket.write(renderHead(answer, undefined, hop), "latin1");
      for await (const piece of pieces) {
        const bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
        if (socket.destroyed) break;
        if (bytes.length === 0) continue;
        const sent = chunked
          ? socket.write(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, CRLF]))
          : socket.write(bytes);
        if (!sent) await this.#untilUnblocked();
      }
      if (socket.destroyed) return;
      if (chunked) this.#isBlocked = !socket.write("0\r\n\r\n");
      this.#finish(stays);
    } catch {
      // The head is out: only a cut says that the answer is not whole.
      socket.destroy();
    }
  }

  #untilUnblocked(): Promise<void> {
    this.#isBlocked = true;
    this.deadlineMs = this.#host.nowMs() + this.#host.limits.writeMs;
    return new Promise((resolve) => {
      this.#onUnblocked = resolve;
    });
  }

  #unblock(): void {
    this.#onUnblocked?.();
    this.#onUnblocked = undefined;
  }

  #finish(stays: boolean): void {
    this.#request = undefined;
    this.#head = undefined;
    if (!stays) {
      this.#isClosing = false;
      this.closeSoon();
      return;
    }
    this.deadlineMs = this.#host.nowMs() + (this.#isBlocked ? this.#host.limits.writeMs : this.#host.limits.idleMs);
    if (this.#pending !== undefined && !this.#isBlocked) this.#advance();
  }

  #write(request: Http1Request | undefined, [answer, whole]: readonly [Http1Answer, Whole], hop: HopFields): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    let body = whole;
    let length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
    let head: string;
    try {
      head = renderHead(answer, length, hop);
    } catch (error) {
      const { status, body: why } = this.#host.fail(error, request);
      body = wholeOf(why);
      length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
      head = renderHead({ status, body }, length, hop);
    }
    // One write of one string is the cheapest there is; a head is ASCII or latin1, which a longer body must not turn into UTF-8.
    if (request?.method === "HEAD" || length === 0) this.#isBlocked = !socket.write(head, "latin1");
    else if (typeof body === "string" && body.length === length) this.#isBlocked = !socket.write(head + body, "latin1");
    else if (head.length + length <= MAX_COPIED_BYTES) {
      // One write of one piece is cheaper than two pieces, which the kernel has to gather.
      const bytes = Buffer.allocUnsafe(head.length + length);
      bytes.write(head, "latin1");
      if (typeof body === "string") bytes.write(body, head.length, "utf8");
      else bytes.set(body, head.length);
      this.#isBlocked = !socket.write(bytes);
    } else {
      socket.cork();
      socket.write(head, "latin1");
      this.#isBlocked = !socket.write(body);
      socket.uncork();
    }
  }

  #refuse(error: HttpError): void {
    const answer = this.#host.fail(error, undefined);
    this.#write(undefined, [answer, wholeOf(answer.body)], { close: true, keepAlive: false, date: this.#host.date() });
    this.closeSoon();
  }
}

function beginsWith(chunk: Buffer, known: Buffer): boolean {
  return chunk.length >= known.length && known.compare(chunk, 0, known.length) === 0;
}

/** Answers to what failed are whole; one that is not has lost its words. */
const wholeOf = (body: Http1Answer["body"]): Whole =>
  typeof body === "string" || body instanceof Uint8Array ? body : "";
