import { abortReason, onAbort } from "../clock/index.js";
import { ArgosyError } from "../errors/index.js";
import { ClientConnection, type OutgoingRequest } from "./connection.js";
import { type StreamedAnswer, StreamReceiver } from "./stream.js";
import type { ClientTarget } from "./target.js";
import { type WholeAnswer, WholeReceiver } from "./whole.js";

/** How something is sent. */
export interface ExchangeOptions {
  /** Ends the exchange with its reason, and its connection. */
  readonly signal?: AbortSignal | undefined;
  /** A kept connection may be closed just when it is used; then the same is sent on another one. */
  readonly isRepeatable?: boolean;
}

/** How an answer is waited for as a whole. */
export interface SendOptions extends ExchangeOptions {
  /** Most of the body that is wanted, bytes. */
  readonly limit: number;
}

/** Connections to one server, kept for the next exchange: the one that was used last first. */
export class ClientPool {
  readonly #target: ClientTarget;
  readonly #maxIdle: number;
  readonly #idle: ClientConnection[] = [];
  readonly #all = new Set<ClientConnection>();
  #closed: Error | undefined;

  constructor(target: ClientTarget, maxIdle = Number.POSITIVE_INFINITY) {
    this.#target = target;
    this.#maxIdle = maxIdle;
  }

  /** One for the next exchange. */
  #take(): ClientConnection {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle === undefined) return this.#open();
      if (idle.canBeUsed) return idle;
    }
  }

  /** One whose exchange is over: it is kept, or ended where that cannot be. */
  #give(connection: ClientConnection): void {
    if (connection.canBeUsed && this.#closed === undefined && this.#idle.length < this.#maxIdle)
      this.#idle.push(connection);
    else connection.destroy();
  }

  /** An exchange whose answer is wanted whole. Rejects with what the connection failed with, or why the signal was aborted. */
  send(request: OutgoingRequest, options: SendOptions): Promise<WholeAnswer> {
    const { signal } = options;
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (signal?.aborted === true) return Promise.reject(abortReason(signal));
    return new Promise((resolve, reject) => this.#send(request, options, { resolve, reject }));
  }

  #send(
    request: OutgoingRequest,
    options: SendOptions,
    done: { resolve: (answer: WholeAnswer) => void; reject: (error: Error) => void },
  ): void {
    const { limit, signal, isRepeatable = false } = options;
    const connection = this.#take();
    const unlink = signal === undefined ? undefined : onAbort(signal, () => connection.destroy(abortReason(signal)));
    const outcome = {
      onAnswer: (answer: WholeAnswer) => {
        unlink?.();
        this.#give(connection);
        done.resolve(answer);
      },
      onFailure: (error: Error) => {
        unlink?.();
        if (isRepeatable && connection.isStale && !this.#isOver(signal)) this.#send(request, options, done);
        else done.reject(error);
      },
    };
    connection.exchange(request, new WholeReceiver(connection, limit, outcome));
  }

  /** An exchange whose answer is read as it comes; the signal ends that too. Rejects as `send` does. */
  async stream(request: OutgoingRequest, options: ExchangeOptions = {}): Promise<StreamedAnswer> {
    const { signal, isRepeatable = false } = options;
    if (this.#closed !== undefined) throw this.#closed;
    if (signal?.aborted === true) throw abortReason(signal);
    const connection = this.#take();
    const unlink = signal === undefined ? undefined : onAbort(signal, () => connection.destroy(abortReason(signal)));
    const receiver = new StreamReceiver(connection, () => {
      unlink?.();
      this.#give(connection);
    });
    try {
      return await receiver.exchange(request);
    } catch (error) {
      if (!isRepeatable || !connection.isStale || this.#isOver(signal)) throw error;
      return this.stream(request, options);
    }
  }

  #isOver(signal: AbortSignal | undefined): boolean {
    return signal?.aborted === true || this.#closed !== undefined;
  }

  #open(): ClientConnection {
    const connection = new ClientConnection(this.#target, () => {
      this.#all.delete(connection);
      const place = this.#idle.indexOf(connection);
      if (place >= 0) this.#idle.splice(place, 1);
    });
    this.#all.add(connection);
    return connection;
  }

  /** No more exchanges; those that are under way end as they would have. */
  retire(): void {
    this.#closed ??= new ArgosyError("Closed", "the client is closed");
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  /** No more exchanges; those that are under way fail with `reason`. */
  destroy(reason: Error = new ArgosyError("Closed", "the client is closed")): void {
    this.#closed ??= reason;
    for (const connection of [...this.#all]) connection.destroy(reason);
  }
}
