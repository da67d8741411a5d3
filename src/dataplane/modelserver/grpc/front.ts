import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Timer } from "../../../kernel/clock/types.js";
import { type CallHost, GrpcCall } from "./call.js";

/** What a front needs: calls, and what is no call. */
export interface Http2FrontOptions extends CallHost {
  /** Answers a request that is not gRPC. */
  readonly answer: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;
  /** From a request's head to the last byte of its body, and for a client to take an answer; milliseconds. */
  readonly bodyMs: number;
  /** For a connection without a request. */
  readonly idleMs: number;
}

const SWEEP_MS = 1000;
/** Streams of one connection. */
const MAX_STREAMS = 256;
/** Megabytes that node may hold for one connection. */
const MAX_SESSION_MIB = 64;
const MAX_HEADER_BYTES = 32_768;
const INITIAL_WINDOW = 1 << 20;

/** HTTP/2 with prior knowledge, on connections that begin with its preface. */
export class Http2Front {
  readonly #options: Http2FrontOptions;
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  /** Streams that have a deadline, monotonic milliseconds. */
  readonly #open = new Map<ServerHttp2Stream, { until: number; readonly call: GrpcCall | undefined }>();
  #sweep: Timer | undefined;

  constructor(options: Http2FrontOptions) {
    this.#options = options;
    this.#server = createServer({
      settings: {
        maxConcurrentStreams: MAX_STREAMS,
        maxHeaderListSize: MAX_HEADER_BYTES,
        initialWindowSize: INITIAL_WINDOW,
        enableConnectProtocol: false,
      },
      maxSessionMemory: MAX_SESSION_MIB,
      maxSessionInvalidFrames: 100,
      maxSessionRejectedStreams: 100,
    });
    // Faults of clients are the clients' affair.
    this.#server.on("sessionError", () => undefined);
    this.#server.on("error", () => undefined);
    this.#server.on("session", (session) => this.#begin(session));
    this.#server.on("stream", (stream, headers) => this.#onStream(stream, headers));
  }

  /** Takes a connection over, with what was read of it already. */
  take(socket: Socket, first: Buffer): void {
    socket.on("error", () => undefined);
    socket.pause();
    socket.unshift(first);
    // Who ends it is gone: a half-open connection says nothing more.
    socket.once("end", () => socket.destroy());
    this.#server.emit("connection", socket);
  }

  /** No new streams; ends when those under way have ended. */
  drain(): void {
    for (const session of this.#sessions) session.close();
  }

  /** Ends everything. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy();
    this.#sweep?.cancel();
  }

  #begin(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.on("error", () => undefined);
    session.on("close", () => this.#sessions.delete(session));
    session.setLocalWindowSize(1 << 24);
    session.setTimeout(this.#options.idleMs, () => {
      for (const stream of this.#open.keys()) if (stream.session === session) return;
      session.close();
    });
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on("error", () => undefined);
    const isCall = headers["content-type"]?.startsWith("application/grpc") === true && headers[":method"] === "POST";
    const call = isCall ? new GrpcCall(this.#options, stream, headers) : undefined;
    const entry = { until: this.#options.clock.monotonicMs() + this.#options.bodyMs, call };
    this.#open.set(stream, entry);
    stream.on("close", () => this.#open.delete(stream));
    // While the answer is being made nothing is expected of the client.
    stream.on("end", () => {
      entry.until = Number.POSITIVE_INFINITY;
    });
    stream.on("finish", () => {
      entry.until = this.#options.clock.monotonicMs() + this.#options.bodyMs;
    });
    this.#sweep ??= this.#options.clock.setTimer(SWEEP_MS, () => this.#onSweep());
    if (call === undefined) this.#options.answer(stream, headers);
    else call.start();
  }

  #onSweep(): void {
    const now = this.#options.clock.monotonicMs();
    for (const [stream, { until, call }] of this.#open) {
      if (until > now || (call?.isStreaming === true && !stream.writableEnded)) continue;
      call?.fail({ code: 4, message: "the request did not arrive in time" });
      stream.close(8);
    }
    this.#sweep = this.#open.size === 0 ? undefined : this.#options.clock.setTimer(SWEEP_MS, () => this.#onSweep());
  }
}
