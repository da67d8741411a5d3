import { createServer, type Server, type Socket } from "node:net";
import type { Clock, Timer } from "../clock/index.js";
import { InputError } from "../errors/index.js";
import type { Http1Answer } from "./answer.js";
import { type ConnectionHost, Http1Connection, type Http1Limits } from "./connection.js";
import type { Http1Request } from "./request.js";

export interface Http1ServerOptions {
  readonly clock: Clock;
  /** Answers one request; what it throws or rejects with goes to `fail`. */
  readonly answer: (request: Http1Request) => Http1Answer | Promise<Http1Answer>;
  /** The answer for a request that failed; without `request`: for one that could not be read (an `HttpError`). */
  readonly fail: (error: unknown, request: Http1Request | undefined) => Http1Answer;
  readonly limits?: Partial<Http1Limits>;
  /** Takes connections that begin with HTTP/2's preface (prior knowledge); without it they are refused. `first` was read already. */
  readonly takeOver?: (socket: Socket, first: Buffer) => void;
}

/** An HTTP/1.1 server over TCP for answers that fit the memory; one connection's requests are answered one after the other. */
export interface Http1Server {
  /** Resolves with the port. Throws `InputError` when the address is taken. */
  listen(port: number, host: string): Promise<number>;
  /** From now on connections end with their next answer; new ones are still taken. */
  drain(): void;
  /** Takes no more connections, ends idle ones, and the others with the answer under way; after `graceMs` all of them. */
  close(graceMs: number): Promise<void>;
}

const LIMITS: Http1Limits = { headMs: 20_000, bodyMs: 120_000, idleMs: 75_000, writeMs: 120_000 };
const SWEEP_MS = 1000;

/** Makes a server that does not listen yet. */
export function createHttp1Server(options: Http1ServerOptions): Http1Server {
  return new NodeHttp1Server(options);
}

class NodeHttp1Server implements Http1Server, ConnectionHost {
  readonly limits: Http1Limits;
  readonly answer: ConnectionHost["answer"];
  readonly fail: ConnectionHost["fail"];
  readonly takeOver: ConnectionHost["takeOver"];
  readonly #clock: Clock;
  readonly #server: Server;
  readonly #connections = new Set<Http1Connection>();
  #sweep: Timer | undefined;
  #date = "";
  #dateSecond = -1;
  isClosing = false;

  constructor({ clock, answer, fail, limits, takeOver }: Http1ServerOptions) {
    this.takeOver = takeOver;
    this.limits = { ...LIMITS, ...limits };
    this.answer = answer;
    this.fail = fail;
    this.#clock = clock;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  nowMs(): number {
    return this.#clock.monotonicMs();
  }

  date(): string {
    const second = Math.floor(this.#clock.now() / 1000);
    if (second !== this.#dateSecond) {
      this.#dateSecond = second;
      this.#date = new Date(second * 1000).toUTCString();
    }
    return this.#date;
  }

  listen(port: number, host: string): Promise<number> {
    const server = this.#server;
    return new Promise((resolve, reject) => {
      // Later ones (no file descriptor for a connection) concern one connection, and are over with it.
      server.on("error", (error) =>
        reject(new InputError(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error })),
      );
      server.listen(port, host, 1024, () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  }

  drain(): void {
    this.isClosing = true;
  }

  async close(graceMs: number): Promise<void> {
    this.isClosing = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) if (connection.isIdle) connection.closeSoon();
    const deadline = this.#clock.setTimer(graceMs, () => {
      for (const connection of this.#connections) connection.destroy();
    });
    await closed;
    deadline.cancel();
    this.#sweep?.cancel();
  }

  release(connection: Http1Connection): void {
    this.#connections.delete(connection);
  }

  #accept(socket: Socket): void {
    const connection = new Http1Connection(this, socket);
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
    this.#sweep ??= this.#clock.setTimer(SWEEP_MS, () => this.#onSweep());
  }

  #onSweep(): void {
    const now = this.nowMs();
    for (const connection of this.#connections) if (connection.deadlineMs <= now) connection.onDeadline();
    this.#sweep = this.#connections.size === 0 ? undefined : this.#clock.setTimer(SWEEP_MS, () => this.#onSweep());
  }
}
