import type { Clock, Timer } from "../../../kernel/clock/index.js";

/** How long the server waits for clients, and how much it holds for them meanwhile. */
export interface Patience {
  readonly limitMs: number;
  readonly maxBytes: number;
}

/** Something that the server waits for. */
export interface Wait {
  bytes: number;
  readonly since: number;
  readonly cut: () => void;
}

const lookEveryMs = 5_000;

/**
 * What clients have begun and not finished: bodies that are still coming, answers that are not taken. Whoever takes too long is cut
 * off; when all hold too much together, the oldest goes first, so that slow clients stop nobody else.
 */
export class Waiting {
  readonly #clock: Clock;
  readonly #patience: Patience;
  /** In the order in which they began. */
  readonly #waits = new Set<Wait>();
  #bytes = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock, patience: Patience) {
    this.#clock = clock;
    this.#patience = patience;
  }

  /** `cut` is called at most once, and not after `end`. */
  begin(cut: () => void, bytes = 0): Wait {
    const wait = { bytes, since: this.#clock.monotonicMs(), cut };
    this.#waits.add(wait);
    this.#timer ??= this.#clock.setTimer(lookEveryMs, () => this.#look());
    if (bytes > 0) this.#hold(bytes);
    return wait;
  }

  grow(wait: Wait, bytes: number): void {
    if (!this.#waits.has(wait)) return;
    wait.bytes += bytes;
    this.#hold(bytes);
  }

  end(wait: Wait): void {
    if (this.#waits.delete(wait)) this.#bytes -= wait.bytes;
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waits.clear();
  }

  #hold(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= this.#patience.maxBytes) return;
    for (const wait of this.#waits) {
      if (this.#bytes <= this.#patience.maxBytes) return;
      if (wait.bytes > 0) this.#cut(wait);
    }
  }

  #look(): void {
    this.#timer = undefined;
    const latest = this.#clock.monotonicMs() - this.#patience.limitMs;
    for (const wait of this.#waits) {
      if (wait.since > latest) break;
      this.#cut(wait);
    }
    if (this.#waits.size > 0) this.#timer = this.#clock.setTimer(lookEveryMs, () => this.#look());
  }

  #cut(wait: Wait): void {
    this.end(wait);
    wait.cut();
  }
}
