const initialMs = 10_000;
const maxMs = 300_000;
/** A container that was well for this long starts anew. */
const forgetMs = 2 * maxMs;

/** kubelet's crash back-off: the first restart is at once, then 10 s after the end, doubling to 5 min. */
export class BackOff {
  #delayMs = 0;
  #updatedMs = 0;

  get delayMs(): number {
    return this.#delayMs;
  }

  /** Milliseconds still to wait after an end at `endedMs`. */
  remainingMs(endedMs: number, nowMs: number): number {
    if (this.#delayMs > 0 && endedMs - this.#updatedMs > forgetMs) this.#delayMs = 0;
    return this.#delayMs === 0 ? 0 : Math.max(0, endedMs + this.#delayMs - nowMs);
  }

  /** Another attempt is made. */
  next(nowMs: number): void {
    this.#delayMs = this.#delayMs === 0 ? initialMs : Math.min(maxMs, this.#delayMs * 2);
    this.#updatedMs = nowMs;
  }
}
