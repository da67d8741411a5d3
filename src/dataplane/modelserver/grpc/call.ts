import type { Clock, Timer } from "../../../kernel/clock/types.js";
import { type BodyHold, HttpError } from "../../../kernel/http1/index.js";
import { CODES, encodeHeaders, type Field, type Http2Stream } from "../../../kernel/http2/index.js";
import type { Span, Tracer } from "../../../kernel/traces/index.js";
import {
  CODINGS,
  type Coding,
  closeFrame,
  type Frame,
  FrameReader,
  openFrame,
  plainFrame,
  readCoding,
} from "./frames.js";
import { encodeMessage, GRPC, type GrpcStatus, readTimeoutHeader, statusOf } from "./status.js";

/** What a handler knows of its call. */
export interface CallContext {
  /** A metadata value by its lower-case name. */
  metadata(name: string): string | undefined;
  /** From `grpc-timeout`, counted from the call's begin. */
  readonly timeoutMs: number | undefined;
  isGone(): boolean;
}

/** A method; messages that it gives have `FRAME_HEAD` free bytes before them. */
export type GrpcMethod =
  | { readonly kind: "unary"; handle(message: Buffer, call: CallContext): Buffer | Promise<Buffer> }
  | { readonly kind: "stream"; handle(messages: AsyncIterable<Buffer>, call: CallContext): AsyncIterable<Buffer> };

/** What calls need of their server. */
export interface CallHost {
  readonly clock: Clock;
  readonly maxMessageBytes: number;
  readonly chargeBody: () => BodyHold;
  readonly findMethod: (path: string) => GrpcMethod | undefined;
  /** Told of what was thrown that is no `HttpError`. */
  readonly onFault: (path: string, error: unknown) => void;
  readonly onEnd: (path: string, code: number) => void;
  readonly tracer: Tracer | undefined;
}

/** Messages of one call that wait to be handled, before the client is held up. */
const MAX_WAITING = 16;

const HEAD: readonly Field[] = [
  [":status", "200"],
  ["content-type", "application/grpc"],
  ["grpc-accept-encoding", CODINGS],
];
const HEADS = {
  identity: encodeHeaders(HEAD),
  gzip: encodeHeaders([...HEAD, ["grpc-encoding", "gzip"]]),
  deflate: encodeHeaders([...HEAD, ["grpc-encoding", "deflate"]]),
} as const;
const TRAILERS_OK = encodeHeaders([["grpc-status", "0"]]);

/** One call: messages in, messages out, a status. */
export class GrpcCall implements CallContext {
  readonly #host: CallHost;
  readonly #stream: Http2Stream;
  readonly #path: string;
  readonly #reader: FrameReader;
  readonly #charge: BodyHold;
  #coding: Coding | undefined;
  #answerCoding: Coding | undefined;
  #timer: Timer | undefined;
  #method: GrpcMethod | undefined;
  #span: Span | undefined;
  #isOver = false;
  #isAnswering = false;
  readonly #waiting: Frame[] = [];
  #wake: (() => void) | undefined;
  timeoutMs: number | undefined;

  constructor(host: CallHost, stream: Http2Stream) {
    this.#host = host;
    this.#stream = stream;
    this.#path = stream.headers.get(":path") ?? "";
    this.#reader = new FrameReader(host.maxMessageBytes);
    this.#charge = host.chargeBody();
  }

  start(): void {
    const stream = this.#stream;
    stream.onClose = () => this.#over();
    stream.onOverdue = () => this.#onOverdue();
    try {
      this.#method = this.#host.findMethod(this.#path);
      this.#span = this.#host.tracer?.begin(this.metadata("traceparent"), this.#path.slice(1, 200));
      if (this.#method === undefined) throw new HttpError(501, `there is no method ${this.#path.slice(0, 200)}`);
      this.#coding = readCoding(this.metadata("grpc-encoding"));
      if (this.#coding !== undefined && this.metadata("grpc-accept-encoding")?.includes(this.#coding) === true)
        this.#answerCoding = this.#coding;
      this.timeoutMs = readTimeoutHeader(this.metadata("grpc-timeout"));
      if (this.timeoutMs !== undefined) this.#limit(this.timeoutMs);
    } catch (error) {
      this.fail(statusOf(error));
      return;
    }
    stream.onData = (chunk) => this.#onData(chunk);
    stream.onEnd = () => this.#onEnd();
    if (this.#method.kind === "stream") void this.#answerStream(this.#method);
  }

  metadata(name: string): string | undefined {
    return this.#stream.headers.get(name);
  }

  isGone(): boolean {
    return this.#isOver || this.#stream.isClosed;
  }

  #limit(timeoutMs: number): void {
    const late = { code: GRPC.DEADLINE_EXCEEDED, message: `the answer was not there within ${timeoutMs} ms` };
    this.#timer = this.#host.clock.setTimer(Math.min(timeoutMs, 2 ** 31 - 1), () => this.fail(late));
  }

  #onData(chunk: Buffer): void {
    if (this.#isOver) return;
    try {
      this.#charge.take(chunk.length);
      const frames = this.#reader.push(chunk);
      if (frames.length === 0) return;
      this.#waiting.push(...frames);
      if (this.#method?.kind === "unary" && this.#waiting.length > 1)
        throw new HttpError(400, "the method takes one message");
      if (this.#waiting.length > MAX_WAITING) this.#stream.pause();
      this.#wake?.();
    } catch (error) {
      this.fail(statusOf(error));
    }
  }

  /** The request's part of a stream may stay open for as long as the client likes. */
  #onOverdue(): void {
    if (this.#method?.kind === "stream") return;
    this.fail({ code: GRPC.DEADLINE_EXCEEDED, message: "the request did not arrive in time" });
    this.#stream.reset(CODES.CANCEL);
  }

  #onEnd(): void {
    this.#wake?.();
    if (this.#isOver || this.#method?.kind !== "unary") return;
    const [frame] = this.#waiting;
    if (frame === undefined || this.#reader.isWithin) {
      this.fail({ code: GRPC.INVALID_ARGUMENT, message: "the call ended before its message did" });
      return;
    }
    try {
      const answer = frame.isCompressed
        ? this.#openAndHandle(frame, this.#method)
        : this.#method.handle(frame.bytes, this);
      if (answer instanceof Promise) answer.then((message) => this.#answerUnary(message), this.#onError);
      else this.#answerUnary(answer);
    } catch (error) {
      this.#onError(error);
    }
  }

  async #openAndHandle(frame: Frame, method: GrpcMethod & { kind: "unary" }): Promise<Buffer> {
    return method.handle(await this.#open(frame), this);
  }

  async #open(frame: Frame): Promise<Buffer> {
    const bytes = await openFrame(frame, this.#coding, this.#host.maxMessageBytes);
    if (frame.isCompressed && !this.#isOver) this.#charge.take(bytes.length);
    return bytes;
  }

  readonly #onError = (error: unknown): void => {
    if (!(error instanceof HttpError)) this.#host.onFault(this.#path, error);
    this.fail(statusOf(error));
  };

  #answerUnary(message: Buffer): void {
    if (this.isGone()) return;
    if (this.#answerCoding !== undefined) {
      closeFrame(message, this.#answerCoding).then((frame) => {
        if (!this.isGone()) this.#finish(frame);
      }, this.#onError);
    } else this.#finish(plainFrame(message));
  }

  #finish(frame: Buffer | undefined): void {
    this.#respond();
    this.#over(GRPC.OK);
    this.#stream.end(frame, TRAILERS_OK);
  }

  #respond(): void {
    if (this.#isAnswering) return;
    this.#isAnswering = true;
    this.#stream.respond(HEADS[this.#answerCoding ?? "identity"]);
  }

  async #answerStream(method: GrpcMethod & { kind: "stream" }): Promise<void> {
    try {
      this.#respond();
      for await (const message of method.handle(this.#messages(), this)) {
        if (this.isGone()) return;
        const frame = await closeFrame(message, this.#answerCoding);
        if (!this.#stream.write(frame)) await this.#untilDrained();
      }
      if (!this.isGone()) this.#finish(undefined);
    } catch (error) {
      this.#onError(error);
    }
  }

  #untilDrained(): Promise<void> {
    return new Promise((resolve) => {
      this.#stream.onDrain = resolve;
    });
  }

  async *#messages(): AsyncGenerator<Buffer> {
    for (;;) {
      const frame = this.#waiting.shift();
      if (frame !== undefined) {
        if (this.#stream.isPaused && this.#waiting.length === 0) this.#stream.resume();
        const bytes = await this.#open(frame);
        yield bytes;
        // Its handler is done with it.
        if (!this.#isOver) this.#charge.give(frame.bytes.length + (frame.isCompressed ? bytes.length : 0));
      } else if (this.#isAtEnd()) return;
      else await this.#untilMore();
    }
  }

  #isAtEnd(): boolean {
    if (this.isGone()) return true;
    if (this.#stream.isRemoteEnded && this.#reader.isWithin)
      throw new HttpError(400, "the call ended within a message");
    return this.#stream.isRemoteEnded;
  }

  #untilMore(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Ends the call with a fault; the first end counts. */
  fail(status: GrpcStatus): void {
    const stream = this.#stream;
    if (this.isGone()) return;
    this.#over(status.code);
    if (this.#isAnswering) stream.end(undefined, encodeHeaders(trailersOf(status)));
    else stream.respond(encodeHeaders([...HEAD, ...trailersOf(status)]), true);
    // What the client still sends is not wanted.
    if (!stream.isRemoteEnded && !stream.hasWaiting) stream.reset(CODES.NO_ERROR);
  }

  #over(code: number = GRPC.CANCELLED): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    this.#charge.close();
    this.#wake?.();
    this.#host.onEnd(this.#path, code);
    const attributes = { "rpc.system": "grpc", "rpc.grpc.status_code": code };
    this.#span?.end({
      isError: code === GRPC.INTERNAL || code === GRPC.UNKNOWN || code === GRPC.UNAVAILABLE,
      attributes,
    });
  }
}

const trailersOf = ({ code, message }: GrpcStatus): Field[] =>
  message === ""
    ? [["grpc-status", String(code)]]
    : [
        ["grpc-status", String(code)],
        ["grpc-message", encodeMessage(message)],
      ];
