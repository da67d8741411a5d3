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

  /** What is late when its time is over: `idle` the next piece of a request or an answer; `isWhole`: no attempt is left to be made. */
  lateness(how: {
    readonly isAnswered: boolean;
    readonly isSent: boolean;
    readonly isConnected: boolean | undefined;
  }): { readonly kind: "timeout" | "idle" | "connect"; readonly isWhole?: true; readonly message: string } {
    const { requestMs, idleMs, connectMs, responseMs } = this.#timeouts;
    if (this.isLate && !how.isAnswered)
      return {
        kind: "timeout",
        isWhole: true,
        message: `not answered within the ${requestMs} ms that a request may take`,
      };
    if (how.isAnswered || (!how.isSent && how.isConnected === true))
      return { kind: "idle", message: `no more of the request body came within ${idleMs} ms` };
    if (how.isConnected === false) return { kind: "connect", message: `no connection within ${connectMs} ms` };
    return { kind: "timeout", message: `no answer within ${responseMs} ms` };
  }

  /** How long it may rest. */
  get idleMs(): number {
    return this.isStream ? this.#timeouts.streamIdleMs : this.#timeouts.idleMs;
  }
}
