import type { Clock, Timer } from "../../../kernel/clock/index.js";
import type { Key } from "../../../kernel/control/index.js";

/** How many bindings are looked at again in a second because clusters changed, and how many at once. */
const PER_SECOND = 500;
const AT_ONCE = 1000;
const TICK_MS = 50;
/** A placement looks at every cluster: of more than these, so much fewer are made. */
const USUAL_CLUSTERS = 200;

interface Waiting {
  readonly key: Key;
  readonly priority: number;
}

/**
 * Bindings that are looked at again because clusters changed: within a budget, so that a label on many clusters or figures that come every second do not
 * keep new objects waiting. Who is more important goes first; who waits already is not noted twice.
 */
export class Reevaluation {
  readonly #clock: Clock;
  readonly #enqueue: (key: Key) => void;
  readonly #clusters: () => number;
  readonly #waiting = new Map<string, Waiting>();
  #isSorted = true;
  #credit = AT_ONCE;
  #creditedMs: number;
  #timer: Timer | undefined;

  /** `clusters` tells how many there are. */
  constructor(clock: Clock, enqueue: (key: Key) => void, clusters: () => number = () => 0) {
    this.#clusters = clusters;
    this.#clock = clock;
    this.#enqueue = enqueue;
    this.#creditedMs = clock.monotonicMs();
  }

  /** Wants these looked at. */
  add(bindings: readonly Waiting[]): void {
    for (const each of bindings) {
      const text = `${each.key.namespace}/${each.key.name}`;
      if (!this.#waiting.has(text)) this.#waiting.set(text, each);
    }
    this.#isSorted = false;
    this.#drain();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waiting.clear();
  }

  #drain(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#credit = Math.min(AT_ONCE, this.#credit + ((nowMs - this.#creditedMs) / 1000) * PER_SECOND);
    this.#creditedMs = nowMs;
    if (!this.#isSorted) {
      const inOrder = [...this.#waiting].sort(([, a], [, b]) => b.priority - a.priority);
      this.#waiting.clear();
      for (const [text, each] of inOrder) this.#waiting.set(text, each);
      this.#isSorted = true;
    }
    const cost = Math.max(1, this.#clusters() / USUAL_CLUSTERS);
    for (const [text, { key }] of this.#waiting) {
      if (this.#credit < cost) break;
      this.#credit -= cost;
      this.#waiting.delete(text);
      this.#enqueue(key);
    }
    if (this.#waiting.size > 0)
      this.#timer ??= this.#clock.setTimer(TICK_MS, () => {
        this.#timer = undefined;
        this.#drain();
      });
  }
}
