import type { Choice } from "./balance.js";
import type { UpstreamConnection, UpstreamUser } from "./upstream.js";

/** What becomes of a second attempt. */
export interface RivalEvents {
  /** It answers first; the buffer holds the beginning of its answer. As `UpstreamUser.onData`. */
  readonly won: (buffer: Buffer, length: number) => boolean;
  /** It ended without a word. */
  readonly lost: (detail: string) => void;
}

/** A second attempt of a request beside the first one, until one of them answers. */
export class Rival implements UpstreamUser {
  readonly choice: Choice;
  readonly #events: RivalEvents;
  #upstream: UpstreamConnection | undefined;

  constructor(choice: Choice, events: RivalEvents) {
    this.choice = choice;
    this.#events = events;
  }

  /** `send` writes the request. */
  start(nowMs: number, send: (upstream: UpstreamConnection) => void): void {
    const { stats } = this.choice.backend;
    stats.inFlight++;
    stats.hedges++;
    this.#upstream = this.choice.endpoint.pool.acquire(this, nowMs);
    send(this.#upstream);
  }

  /** Its connection, from now on somebody else's. The backend's count of running requests stays as it is. */
  handOver(user: UpstreamUser): UpstreamConnection | undefined {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream !== undefined) upstream.user = user;
    return upstream;
  }

  /** It is no longer wanted. */
  drop(): void {
    const upstream = this.handOver(this);
    if (upstream === undefined) return;
    this.choice.backend.stats.inFlight--;
    upstream.user = undefined;
    upstream.close();
  }

  onConnected(): void {}

  onData(buffer: Buffer, length: number): boolean {
    return this.#events.won(buffer, length);
  }

  onDrain(): void {}

  onEnd(): void {
    this.onClosed(undefined);
  }

  onClosed(error: Error | undefined): void {
    if (this.#upstream === undefined) return;
    const wasKept = this.#upstream.uses > 0;
    this.drop();
    const { stats } = this.choice.backend;
    if (!wasKept) stats.failures++;
    this.#events.lost(error?.message ?? "the backend closed the connection");
  }
}
