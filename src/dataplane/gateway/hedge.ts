import type { Timer } from "../../kernel/clock/types.js";
import type { Backend, Choice, Endpoint, Route } from "./balance.js";
import type { GatewayCore } from "./core.js";
import type { UpstreamConnection, UpstreamUser } from "./upstream.js";

/** What becomes of a second attempt. */
interface RivalEvents {
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

/** What a hedge needs of the exchange that it belongs to. */
export interface HedgeHost {
  /** The address that is still waited for; undefined when nothing is. */
  readonly waitsFor: () => Endpoint | undefined;
  readonly send: (upstream: UpstreamConnection, backend: Backend) => void;
  /** The second attempt answers first, with these bytes. As `UpstreamUser.onData`. */
  readonly won: (rival: Rival, buffer: Buffer, length: number) => boolean;
}

/** Waits for the time of a second attempt, and for its end. */
export class Hedge {
  readonly #route: Route;
  readonly #core: GatewayCore;
  readonly #host: HedgeHost;
  readonly #timer: Timer | undefined;
  #rival: Rival | undefined;

  constructor(route: Route, core: GatewayCore, host: HedgeHost) {
    this.#route = route;
    this.#core = core;
    this.#host = host;
    const { hedge } = route.table;
    if (hedge !== undefined) this.#timer = core.clock.setTimer(hedge.afterMs, () => this.#begin(hedge.maxPercent));
  }

  #begin(maxPercent: number): void {
    const route = this.#route;
    const first = this.#host.waitsFor();
    if (first === undefined || ((route.hedged + 1) * 100) / route.begun > maxPercent) return;
    const choice = route.choose([first], this.#core.nowMs);
    if (choice === undefined) return;
    route.hedged++;
    const rival = new Rival(choice, {
      won: (buffer, length) => {
        this.#rival = undefined;
        return this.#host.won(rival, buffer, length);
      },
      lost: (detail) => {
        this.#rival = undefined;
        choice.endpoint.blame(detail, false, this.#core.clock.monotonicMs());
      },
    });
    this.#rival = rival;
    rival.start(this.#core.nowMs, (upstream) => this.#host.send(upstream, choice.backend));
  }

  /** The second attempt, if one is running: from now on the caller's. */
  take(): Rival | undefined {
    const rival = this.#rival;
    this.#rival = undefined;
    return rival;
  }

  /** The exchange has its answer, or needs none. */
  end(): void {
    this.#timer?.cancel();
    this.take()?.drop();
  }
}
