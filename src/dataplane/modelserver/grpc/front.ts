import type { Socket } from "node:net";
import type { Timer } from "../../../kernel/clock/types.js";
import { CODES, Http2Connection, type Http2Stream } from "../../../kernel/http2/index.js";
import { type CallHost, GrpcCall } from "./call.js";

/** What a front needs: calls, and what is no call. */
export interface Http2FrontOptions extends CallHost {
  /** Answers a request that is not gRPC. */
  readonly answer: (stream: Http2Stream) => void;
  /** From a request's head to the last byte of its body, and for a client to take an answer; milliseconds. */
  readonly bodyMs: number;
  /** For a connection without a request. */
  readonly idleMs: number;
}

const SWEEP_MS = 1000;

/** HTTP/2 with prior knowledge, on connections that begin with its preface. */
export class Http2Front {
  readonly #options: Http2FrontOptions;
  readonly #connections = new Set<Http2Connection>();
  #sweep: Timer | undefined;

  constructor(options: Http2FrontOptions) {
    this.#options = options;
  }

  /** Takes a connection over, with what was read of it already. */
  take(socket: Socket, first: Buffer): void {
    const { clock } = this.#options;
    const host = {
      clock,
      onStream: (stream: Http2Stream) => this.#onStream(stream),
      onClose: (connection: Http2Connection) => {
        this.#connections.delete(connection);
      },
    };
    this.#connections.add(new Http2Connection(host, socket, first));
    this.#sweep ??= clock.setTimer(SWEEP_MS, () => this.#onSweep());
  }

  /** No new streams; connections end when those under way have ended. */
  drain(): void {
    for (const connection of this.#connections) connection.drain();
  }

  /** Ends everything. */
  destroy(): void {
    for (const connection of this.#connections) connection.destroy();
    this.#sweep?.cancel();
  }

  #onStream(stream: Http2Stream): void {
    stream.deadlineMs = this.#options.clock.monotonicMs() + this.#options.bodyMs;
    const isCall = stream.headers.get("content-type")?.startsWith("application/grpc") === true;
    if (!isCall || stream.headers.get(":method") !== "POST") {
      stream.onOverdue = () => stream.reset(CODES.CANCEL);
      this.#options.answer(stream);
    } else new GrpcCall(this.#options, stream).start();
  }

  #onSweep(): void {
    const now = this.#options.clock.monotonicMs();
    for (const connection of this.#connections) {
      if (connection.isIdle) {
        if (connection.lastHeardMs + this.#options.idleMs <= now) connection.drain();
      } else for (const stream of connection.streams()) this.#look(stream, now);
    }
    this.#sweep =
      this.#connections.size === 0 ? undefined : this.#options.clock.setTimer(SWEEP_MS, () => this.#onSweep());
  }

  /** While an answer is made nothing is expected of the client; before and after that it has its time. */
  #look(stream: Http2Stream, now: number): void {
    if (stream.hasWaiting) {
      if (stream.stuckSinceMs === undefined) stream.stuckSinceMs = now;
      else if (stream.stuckSinceMs + this.#options.bodyMs <= now) stream.reset(CODES.CANCEL);
      return;
    }
    stream.stuckSinceMs = undefined;
    if (!stream.isRemoteEnded && stream.deadlineMs <= now) stream.onOverdue();
  }
}
