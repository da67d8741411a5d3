import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { HeadFault, latin1, MAX_HEAD_BYTES, type RequestHead } from "../../kernel/http1/index.js";
import type { GatewayCore, ListenerState } from "./core.js";
import { Exchange } from "./exchange.js";
import type { Arrived } from "./exchange-text.js";
import { HTTP2_PREFACE } from "./http2-preface.js";
import { type KnownRequest, readRequest } from "./known-heads.js";
import { type Reply, renderReply } from "./replies.js";
import { receivingInto, writeText } from "./socket.unsafe.js";

const MAX_PIPELINED_BYTES = 65_536;
const LINGER_MS = 2000;
// One for all plain connections: what is to outlive the call is copied.
const readBuffer = Buffer.allocUnsafeSlow(65_536);

/** One connection of a client: reads request heads and hands each request to an exchange, one after the other. */
export class ClientConnection {
  readonly core: GatewayCore;
  readonly listener: ListenerState;
  readonly socket: Socket;
  readonly address: string;
  /** When `onDeadline` is due, monotonic milliseconds. */
  deadlineMs: number;
  #exchange: Exchange | undefined;
  /** Bytes of the next request that are here already. */
  #pending: Buffer | undefined;
  /** The last request's head. */
  #known: KnownRequest | undefined;
  #hasEnded = false;
  #isClosing = false;
  #isPaused = false;
  #isAdvancing = false;
  /** Set once the client turned out to speak HTTP/2. */
  #http2: ServerHttp2Session | undefined;
  #isHttp2 = false;

  constructor(core: GatewayCore, listener: ListenerState, socket: Socket) {
    this.core = core;
    this.listener = listener;
    const direct = listener.isSecure
      ? undefined
      : receivingInto(socket, readBuffer, (length) => {
          this.#onData(readBuffer, length);
          return true;
        });
    this.socket = direct ?? socket;
    if (direct === undefined) this.#readAsStream();
    this.address = this.socket.remoteAddress?.replace(/^::ffff:/, "") ?? "unknown";
    this.deadlineMs = core.nowMs + core.limits.keepAliveMs;
    this.socket.on("end", () => this.#onEnd());
    this.socket.on("drain", () => this.#exchange?.onClientDrain());
    // The close event follows and does what is needed.
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.#onClose());
  }

  #readAsStream(): void {
    this.socket.on("data", (chunk: Buffer) => this.#onData(chunk, chunk.length));
    this.socket.resume();
  }

  get isIdle(): boolean {
    return this.#exchange === undefined && this.#pending === undefined && !this.#isHttp2;
  }

  /** False when the client reads more slowly than this is written; `onClientDrain` of the exchange follows. */
  write(data: string | Buffer): boolean {
    return typeof data === "string" ? writeText(this.socket, data) : this.socket.write(data);
  }

  /** The same for bytes that stand there for this call only; short ones go out cheaper as text. */
  writeCopy(bytes: Buffer, isShort: boolean): boolean {
    return this.write(isShort ? latin1(bytes, 0, bytes.length) : Buffer.from(bytes));
  }

  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#isPaused || this.#isClosing) return;
    this.#isPaused = false;
    this.socket.resume();
  }

  /** Bytes after the end of the running request; they are copied. */
  keep(bytes: Buffer): void {
    this.#pending = this.#pending === undefined ? Buffer.from(bytes) : Buffer.concat([this.#pending, bytes]);
    if (this.#pending.length > MAX_PIPELINED_BYTES) this.pause();
  }

  /** The exchange is over. Without `keepAlive` the connection ends once everything is written. */
  finish(keepAlive: boolean): void {
    this.#exchange = undefined;
    this.deadlineMs = this.core.nowMs + this.core.limits.keepAliveMs;
    if (!keepAlive || this.#hasEnded || this.listener.isClosed) {
      this.closeSoon();
      return;
    }
    this.resume();
    if (this.#pending !== undefined && !this.#isAdvancing) this.#advance();
  }

  /** Answers in the gateway's own name. The connection stays only if the request is fully read. */
  reply(reply: Reply, head: RequestHead | undefined, isRequestRead: boolean): void {
    const close = !isRequestRead || head === undefined || !this.wantsKeepAlive(head);
    this.write(Buffer.from(renderReply(reply, { close, withoutBody: head?.method === "HEAD" })));
    this.finish(!close);
  }

  wantsKeepAlive(head: RequestHead): boolean {
    const { close, keepAlive } = head.fields;
    return !close && (head.minor === 1 || keepAlive) && !this.core.isDraining && !this.listener.isClosed;
  }

  /** Ends our side and reads what still comes for a moment, so that the last answer is not lost to a reset. */
  closeSoon(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#pending = undefined;
    if (this.#isHttp2) {
      this.#http2?.close();
      return;
    }
    this.deadlineMs = this.core.nowMs + LINGER_MS;
    if (this.#hasEnded) this.socket.destroySoon();
    else this.socket.end();
    this.socket.resume();
  }

  destroy(): void {
    this.#isClosing = true;
    this.socket.destroy();
  }

  /** The client speaks HTTP/2: hands the socket over, with what was read of it. */
  becomeHttp2(read?: Buffer): void {
    const { socket } = this;
    this.#isHttp2 = true;
    this.deadlineMs = Number.POSITIVE_INFINITY;
    for (const event of ["data", "end", "drain", "error"]) socket.removeAllListeners(event);
    socket.on("error", () => {});
    socket.pause();
    // Not within the socket's own callback.
    setImmediate(() => {
      if (socket.destroyed) return;
      if (read !== undefined) socket.unshift(read);
      this.#http2 = this.core.http2.take(socket, this.listener);
      if (this.#isClosing) this.#http2?.close();
    });
  }

  /** Called by the sweep when `deadlineMs` has passed. */
  onDeadline(): void {
    if (this.#isClosing) this.socket.destroy();
    else if (this.#exchange !== undefined) this.#exchange.onDeadline();
    else if (this.#pending !== undefined) this.#refuse(new HeadFault(408, "the request head did not arrive in time"));
    else this.closeSoon();
  }

  /** The first `length` bytes are new; they stand there for this call only. */
  #onData(buffer: Buffer, length: number): void {
    if (this.#isClosing || this.#isHttp2) return;
    if (this.#exchange !== undefined) {
      this.#exchange.onClientData(buffer.subarray(0, length));
      return;
    }
    if (this.#pending === undefined) {
      this.deadlineMs = this.core.nowMs + this.core.limits.headMs;
      this.#readHead(buffer, length);
    } else {
      this.#pending = Buffer.concat([this.#pending, buffer.subarray(0, length)]);
    }
    if (this.#pending !== undefined && !this.#isAdvancing) this.#advance();
  }

  /** Works on what is pending until it is used up or a request is running. A loop, so that many pipelined requests need no deep stack. */
  #advance(): void {
    this.#isAdvancing = true;
    let before = -1;
    while (this.#pending !== undefined && this.#exchange === undefined && !this.#isClosing) {
      const pending = this.#pending;
      if (pending.length === before) break;
      before = pending.length;
      this.#pending = undefined;
      this.#readHead(pending, pending.length);
    }
    this.#isAdvancing = false;
  }

  #readHead(chunk: Buffer, length: number): void {
    let text = latin1(chunk, 0, Math.min(length, MAX_HEAD_BYTES));
    const known = this.#known;
    if (known !== undefined && known.text !== "" && text.startsWith(known.text)) {
      this.#begin(known, { chunk, length, text, bodyStart: known.text.length });
      return;
    }
    let skipped = 0;
    while (text.startsWith("\r\n")) {
      text = text.slice(2);
      skipped += 2;
    }
    const end = text.indexOf("\r\n\r\n");
    if (end === 14 && text.startsWith(HTTP2_PREFACE.slice(0, 18))) {
      this.becomeHttp2(Buffer.from(chunk.subarray(skipped, length)));
      return;
    }
    if (end < 0) {
      if (length >= MAX_HEAD_BYTES) this.#refuse(new HeadFault(431, `the head is longer than ${MAX_HEAD_BYTES} bytes`));
      else if (text.length > 0) this.#pending = Buffer.from(chunk.subarray(skipped, length));
      return;
    }
    const read = readRequest(chunk, text, end, skipped);
    if (read instanceof HeadFault) {
      this.#refuse(read);
      return;
    }
    this.#known = read;
    this.#begin(read, { chunk, length, text, bodyStart: end + 4 + skipped });
  }

  #begin(known: KnownRequest, arrived: Arrived): void {
    const route = known.routeFor(this);
    const { head } = known;
    if (route === undefined) {
      this.core.totals.unrouted++;
      const hasBody = head.fields.isChunked || head.fields.contentLength > 0;
      if (!hasBody && arrived.bodyStart < arrived.length)
        this.keep(arrived.chunk.subarray(arrived.bodyStart, arrived.length));
      const message = `no route of listener ${this.listener.name} matches host "${head.host}" and path "${head.target.split("?")[0]}"`;
      this.reply({ status: 404, reason: "NoRoute", message }, head, !hasBody);
      return;
    }
    if (route.table.protocol === "h2") {
      const message = `the backends of route ${route.table.id} speak HTTP/2, so that clients must speak it too`;
      this.reply({ status: 426, reason: "NeedsHttp2", message }, head, false);
      return;
    }
    const exchange = new Exchange(this, known, route);
    this.#exchange = exchange;
    exchange.start(arrived);
  }

  #refuse(fault: HeadFault): void {
    this.core.totals.badRequests++;
    this.#pending = undefined;
    this.reply({ status: fault.status, reason: "BadRequest", message: fault.message }, undefined, false);
  }

  #onEnd(): void {
    this.#hasEnded = true;
    if (this.#exchange !== undefined) this.#exchange.onClientEnd();
    else this.closeSoon();
  }

  #onClose(): void {
    this.#isClosing = true;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#pending = undefined;
    exchange?.onClientGone();
  }
}
