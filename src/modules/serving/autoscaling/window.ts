/** What was observed over the last while, in buckets of a second. */

const BUCKET_MS = 1000;
/** Averages are cut off after this many digits, so that they do not jitter. */
const PRECISION = 1e6;
/** Share of the weights that lie inside the window, under weighted-exponential. */
const WEIGHT_INSIDE = 0.9999;
const MIN_COEFFICIENT = 0.2;
/** How finely a scale-down delay is counted. */
export const TICK_MS = 2000;

/** `linear`: every second counts alike; `weighted-exponential`: the younger the more. */
export type Averaging = "linear" | "weighted-exponential";

/** How much of its weight a bucket leaves to those before it, subtracted from 1. */
export function smoothingCoefficient(buckets: number): number {
  return Math.max(1 - (1 - WEIGHT_INSIDE) ** (1 / buckets), MIN_COEFFICIENT);
}

/** Length of the panic window: a percentage of the stable one, rounded to seconds, at least one. */
export function panicWindowMs(stableMs: number, percent: number): number {
  return Math.max(BUCKET_MS, Math.round((stableMs * percent) / 100 / BUCKET_MS) * BUCKET_MS);
}

/** How many of `pods` are to be asked so that their mean is within 10 % at 95 % confidence; up to three are all asked. */
export function sampleSize(pods: number): number {
  return pods <= 3 ? Math.max(0, pods) : Math.ceil((pods * 15.3664) / (pods + 14.3664));
}

/**
 * Values by second. The average is over that part of the window which has passed since the first value, so that a young
 * window is not diluted; seconds without a value between others count as 0; after a whole window without any it is young again.
 */
export class LoadWindow {
  readonly #length: number;
  readonly #averaging: Averaging;
  readonly #values = new Map<number, number>();
  #first = 0;
  #last = Number.NEGATIVE_INFINITY;

  constructor(windowMs: number, averaging: Averaging = "linear") {
    this.#length = Math.ceil(windowMs / BUCKET_MS);
    this.#averaging = averaging;
  }

  /** Adds to the bucket of a time. What is older than the window is left out. */
  record(atMs: number, value: number): void {
    const second = Math.floor(atMs / BUCKET_MS);
    if (second <= this.#last - this.#length) return;
    if (second - this.#last >= this.#length) {
      this.#values.clear();
      this.#first = second;
    }
    // What comes late may be the first there is.
    if (second < this.#first) this.#first = second;
    this.#values.set(second, (this.#values.get(second) ?? 0) + value);
    if (second <= this.#last) return;
    this.#last = second;
    for (const known of this.#values.keys()) if (known <= second - this.#length) this.#values.delete(known);
  }

  /** The same values in a window of another length. */
  resized(windowMs: number, averaging: Averaging): LoadWindow {
    const other = new LoadWindow(windowMs, averaging);
    for (const [second, value] of [...this.#values].sort(([a], [b]) => a - b)) other.record(second * BUCKET_MS, value);
    return other;
  }

  /** Nothing was recorded for longer than the window. */
  isEmpty(nowMs: number): boolean {
    return Math.floor(nowMs / BUCKET_MS) - this.#last > this.#length;
  }

  /** 0 where there is nothing. */
  average(nowMs: number): number {
    const age = Math.max(0, Math.floor(nowMs / BUCKET_MS) - this.#last);
    if (this.isEmpty(nowMs)) return 0;
    return this.#averaging === "linear" ? this.#mean(age) : this.#weighted(age);
  }

  #mean(age: number): number {
    if (age >= this.#length) return 0;
    const oldest = this.#last + age - this.#length;
    let total = 0;
    for (const [second, value] of this.#values) if (second > oldest) total += value;
    const buckets = Math.min(this.#last - this.#first + 1, this.#length - age);
    return Math.floor((total / buckets) * PRECISION) / PRECISION;
  }

  #weighted(age: number): number {
    const coefficient = smoothingCoefficient(this.#length);
    let weight = coefficient * (1 - coefficient) ** age;
    let total = 0;
    for (let step = 0; step < this.#length - age; step++) {
      total += (this.#values.get(this.#last - step) ?? 0) * weight;
      weight *= 1 - coefficient;
    }
    return total;
  }
}

/** One of the highest values of a delay window. */
export interface Peak {
  /** Number of the tick. */
  readonly slot: number;
  readonly value: number;
}

/** Records a value and returns what may still become the largest of the last `delayMs`; the first of them is it now. */
export function withPeak(peaks: readonly Peak[], nowMs: number, value: number, delayMs: number): readonly Peak[] {
  const slot = Math.floor(nowMs / TICK_MS);
  const slots = Math.ceil(delayMs / TICK_MS);
  const kept = peaks.filter((peak) => peak.slot > slot - slots && peak.value > value);
  return [...kept, { slot, value }];
}
