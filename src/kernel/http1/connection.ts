import type { Socket } from "node:net";
import { type Http1Answer, HttpError, renderHead } from "./answer.js";
import { HeadFault, latin1, MAX_HEAD_BYTES, parseRequestHead, type RequestHead } from "./head.js";
import { Http1Request } from "./request.js";

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
}

const MAX_PIPELINED_BYTES = 65_536;
/** How long what still comes is read after our last byte, so that the answer is not lost to a reset. */
const LINGER_MS = 5000;

/** One client's connection: requests are answered one after the other. */
export class Http1Connection {
  readonly #host: ConnectionHost;
  readonly #socket: Socket;
  /** When `onDeadline` is due, monotonic milliseconds; infinite while an answer is being made. */
  deadlineMs: number;
  #request: Http1Request | undefined;
  #head: RequestHead | undefined;
  /** Bytes after the request under way. */
  #pending: Buffer | undefined;
  #isAdvancing = false;
  #isClosing = false;
  #isBlocked = false;

  constructor(host: ConnectionHost, socket: Socket) {
    this.#host = host;
    this.#socket = socket;
    this.deadlineMs = host.nowMs() + host.limits.idleMs;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("end", () => this.#onEnd());
    socket.on("drain", () => this.#onDrain());
    // The close event follows.
    socket.on("error", () => {});
    socket.on("close", () => this.#request?.cut("the connection ended"));
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
    if (this.#request === undefined) this.closeSoon();
    else if (!this.#request.isWhole) this.#request.cut("the connection ended before the body did");
    else this.#isClosing = true;
  }

  #onDrain(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
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
    let text = latin1(chunk, 0, Math.min(chunk.length, MAX_HEAD_BYTES));
    let skipped = 0;
    while (text.startsWith("\r\n")) {
      text = text.slice(2);
      skipped += 2;
    }
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) {
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
    else this.#begin(head, chunk, end + 4 + skipped);
    return true;
  }

  #begin(head: RequestHead, chunk: Buffer, bodyStart: number): void {
    const request = new Http1Request(head, { wantBody: () => this.#wantBody(request) });
    this.#request = request;
    this.#head = head;
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

  #wantBody(request: Http1Request): void {
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
    this.#write(request, answer, { close: !stays, keepAlive: head.minor === 0 });
    this.#finish(stays);
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

  #write(request: Http1Request | undefined, answer: Http1Answer, hop: { close: boolean; keepAlive: boolean }): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    let { body } = answer;
    let length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
    let head: string;
    try {
      head = renderHead(answer, length, { ...hop, date: this.#host.date() });
    } catch (error) {
      const { status, body: why } = this.#host.fail(error, request);
      body = why;
      length = typeof why === "string" ? Buffer.byteLength(why) : why.length;
      head = renderHead({ status, body }, length, { ...hop, date: this.#host.date() });
    }
    // One write of one string is the cheapest there is; a head is ASCII or latin1, which a longer body must not turn into UTF-8.
    if (request?.method === "HEAD" || length === 0) this.#isBlocked = !socket.write(head, "latin1");
    else if (typeof body === "string" && body.length === length) this.#isBlocked = !socket.write(head + body, "latin1");
    else {
      socket.cork();
      socket.write(head, "latin1");
      this.#isBlocked = !socket.write(body);
      socket.uncork();
    }
  }

  #refuse(error: HttpError): void {
    this.#write(undefined, this.#host.fail(error, undefined), { close: true, keepAlive: false });
    this.closeSoon();
  }
}
