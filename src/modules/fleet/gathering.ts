import type { Clock, Timer } from "../../kernel/clock/index.js";

/** How long a request waits for others at most, in milliseconds. */
const WINDOW_MS = 40;
/** From so many requests in a window on (100 a second) they wait for each other. */
const MANY = 4;
/** So many never wait any longer. */
const TOGETHER = 16;

/**
 * Lets requests to one server through: at once while they are few, together when they are many. A server that wakes up, reads, writes to its disk
 * and tells its watchers for each request alone spends twice the CPU time on it that it does when sixteen come at a time.
 */
export class Gathering {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #timer: Timer | undefined;
  #beganMs = Number.NEGATIVE_INFINITY;
  #count = 0;
  #isBusy = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** When a request may go: resolves within 40 ms; `undefined`: now. */
  pass(): Promise<void> | undefined {
    const nowMs = this.#clock.monotonicMs();
    const sinceMs = nowMs - this.#beganMs;
    if (sinceMs >= WINDOW_MS) {
      this.#isBusy = sinceMs < 2 * WINDOW_MS && this.#count >= MANY;
      this.#beganMs = nowMs;
      this.#count = 0;
    }
    this.#count += 1;
    if (!this.#isBusy) return undefined;
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length >= TOGETHER) this.#release();
      else this.#timer ??= this.#clock.setTimer(this.#beganMs + WINDOW_MS - nowMs, () => this.#release());
    });
  }

  #release(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const go of this.#waiting.splice(0)) go();
  }
}
