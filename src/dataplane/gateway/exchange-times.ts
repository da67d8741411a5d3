import type { GatewayCore } from "./core.js";
import type { RouteTable } from "./table.js";

/** When an exchange must have come further. */
export class ExchangeTimes {
  /** A stream may rest for longer than other answers, and has no end that could be late. */
  isStream = false;
  readonly #core: GatewayCore;
  readonly #timeouts: RouteTable["timeouts"];
  readonly #startedMs: number;

  constructor(core: GatewayCore, timeouts: RouteTable["timeouts"]) {
    this.#core = core;
    this.#timeouts = timeouts;
    this.#startedMs = core.clock.monotonicMs();
  }

  /** Milliseconds since it began. */
  get passedMs(): number {
    return this.#core.clock.monotonicMs() - this.#startedMs;
  }

  /** Monotonic milliseconds at which `afterMs` are over, or the time for the whole request is. */
  dueMs(afterMs: number): number {
    const dueMs = this.#core.nowMs + afterMs;
    const { requestMs } = this.#timeouts;
    return requestMs === 0 || this.isStream ? dueMs : Math.min(dueMs, this.#startedMs + requestMs);
  }

  /** The time for the whole request is over. */
  get isLate(): boolean {
    const { requestMs } = this.#timeouts;
    return requestMs > 0 && !this.isStream && this.#core.nowMs >= this.#startedMs + requestMs;
  }

  /** How long it may rest. */
  get idleMs(): number {
    return this.isStream ? this.#timeouts.streamIdleMs : this.#timeouts.idleMs;
  }
}
