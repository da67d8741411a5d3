import { LatencyClasses } from "./latency.js";
import type { ShadowTable } from "./shadow-table.js";
import type { UpstreamPool } from "./upstream.js";

/** What became of a request and of its copy. */
export interface Compared {
  readonly status: number;
  /** Milliseconds to the answer's last byte. */
  readonly tookMs: number;
}

/** Counters of one shadow of one route since the process began. */
export class ShadowStats {
  /** Copies that were sent. */
  copied = 0;
  /** Requests that were to be copied and were not: too many copies were on their way, the body was too long, or the client went before it was whole. */
  busy = 0;
  tooLarge = 0;
  unfinished = 0;
  /** Copies that were answered. */
  answered = 0;
  /** Copies that were not: no connection, cut off, or too late. */
  failures = 0;
  lastFailure = "";
  latencySumMs = 0;
  readonly byClass = [0, 0, 0, 0, 0, 0];
  readonly latency = new LatencyClasses();
  /** Of copies whose original was answered too: how many, how many with another status, and both sums of milliseconds. */
  compared = 0;
  differing = 0;
  comparedSumMs = 0;
  originalSumMs = 0;

  record({ status, tookMs }: Compared): void {
    this.answered++;
    this.latencySumMs += tookMs;
    const statusClass = status >= 100 && status < 600 ? Math.trunc(status / 100) : 0;
    this.byClass[statusClass] = (this.byClass[statusClass] ?? 0) + 1;
    this.latency.add(tookMs);
  }

  compare(original: Compared, copy: Compared): void {
    this.compared++;
    if (original.status !== copy.status) this.differing++;
    this.comparedSumMs += copy.tookMs;
    this.originalSumMs += original.tookMs;
  }

  fail(detail: string): void {
    this.failures++;
    this.lastFailure = detail;
  }
}

/** Somebody who gets copies of a share of a route's requests. */
export class Shadow {
  readonly table: ShadowTable;
  readonly pools: readonly UpstreamPool[];
  readonly stats: ShadowStats;
  inFlight = 0;
  #credit = 0;
  #turn = 0;

  constructor(table: ShadowTable, pools: readonly UpstreamPool[], stats: ShadowStats) {
    this.table = table;
    this.pools = pools;
    this.stats = stats;
  }

  /** Whether the next request to this backend is copied: of any hundred exactly as many as the share says. */
  takes(backend: string): boolean {
    const { of, percent } = this.table;
    if (this.pools.length === 0 || (of.length > 0 && !of.includes(backend))) return false;
    this.#credit += percent;
    if (this.#credit < 100) return false;
    this.#credit -= 100;
    if (this.inFlight < this.table.maxConcurrent) return true;
    this.stats.busy++;
    return false;
  }

  /** The pools take turns. */
  nextPool(): UpstreamPool | undefined {
    return this.pools[this.#turn++ % this.pools.length];
  }
}
