/** Upper bounds, in milliseconds, of the classes that durations of requests are counted in: ten a decade, so that a quantile is right within a quarter. */
export const LATENCY_BOUNDS_MS: readonly number[] = [1, 10, 100, 1000]
  .flatMap((decade) => [1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8].map((step) => Math.round(decade * step * 100) / 100))
  .concat(10_000);

/** Those that metrics tell: a series each. */
export const METRIC_BOUNDS_MS: readonly number[] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/** Counts of durations by class; what took longer than the last bound is in none. */
export class LatencyClasses {
  readonly #counts = LATENCY_BOUNDS_MS.map(() => 0);

  add(milliseconds: number): void {
    for (let index = 0; index < LATENCY_BOUNDS_MS.length; index++) {
      if (milliseconds > (LATENCY_BOUNDS_MS[index] ?? 0)) continue;
      this.#counts[index] = (this.#counts[index] ?? 0) + 1;
      return;
    }
  }

  /** How many took at most so long; for a bound of a class. */
  upTo(boundMs: number): number {
    let sum = 0;
    for (const [index, bound] of LATENCY_BOUNDS_MS.entries()) if (bound <= boundMs) sum += this.#counts[index] ?? 0;
    return sum;
  }

  /** Classes that are not empty, by their upper bounds. */
  report(): Record<string, number> {
    const report: Record<string, number> = {};
    for (const [index, count] of this.#counts.entries())
      if (count > 0) report[String(LATENCY_BOUNDS_MS[index])] = count;
    return report;
  }
}
