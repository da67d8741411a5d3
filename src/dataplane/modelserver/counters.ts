/** What is counted of a model. */
import type { BatchRun } from "./batcher.js";

/** Bounds of all histograms of times, in seconds. */
export const BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Times by their size. */
export class Histogram {
  /** How many were at most the bound and more than the one before, by bound. */
  readonly counts = new Float64Array(BUCKETS_S.length);
  /** Seconds. */
  sum = 0;
  total = 0;

  observe(seconds: number): void {
    this.sum += seconds;
    this.total++;
    // Most are small: the first bounds are tried first.
    let index = 0;
    while (index < BUCKETS_S.length && seconds > (BUCKETS_S[index] ?? 0)) index++;
    if (index < BUCKETS_S.length) this.counts[index] = (this.counts[index] ?? 0) + 1;
  }
}

/** What is counted of one version of a model. Times are in milliseconds. */
export class ModelCounters {
  readonly model: string;
  readonly version: string;
  failed = 0;
  failedMs = 0;
  runs = 0;
  rows = 0;
  /** Milliseconds of runs, those of shared runs once for each request. */
  sharedRunMs = 0;
  /** Milliseconds since the epoch of the last answer; 0: none yet. */
  lastMs = 0;
  /** The whole of a request: from its last byte to its answer. */
  readonly latency = new Histogram();
  readonly reading = new Histogram();
  readonly predicting = new Histogram();
  readonly writing = new Histogram();
  readonly explaining = new Histogram();
  /** Runs by their number of rows. */
  readonly batches = new Map<number, { count: number; ms: number }>();
  /** Tokens that text requests brought and were given. */
  promptTokens = 0;
  completionTokens = 0;

  constructor(model: string, version: string) {
    this.model = model;
    this.version = version;
  }

  /** An inference was answered; `nowMs` since the epoch. */
  answered(readMs: number, runMs: number, writeMs: number, nowMs: number): void {
    this.lastMs = nowMs;
    this.reading.observe(readMs / 1000);
    this.predicting.observe(runMs / 1000);
    this.writing.observe(writeMs / 1000);
    this.latency.observe((readMs + runMs + writeMs) / 1000);
  }

  refused(ms: number): void {
    this.failed++;
    this.failedMs += ms;
  }

  ran({ rows, requests, ms }: Pick<BatchRun, "rows" | "requests" | "ms">): void {
    this.runs++;
    this.sharedRunMs += ms * requests;
    this.rows += rows;
    const key = this.batches.has(rows) || this.batches.size < MAX_BATCH_SIZES ? rows : 0;
    const batch = this.batches.get(key);
    if (batch === undefined) this.batches.set(key, { count: 1, ms });
    else {
      batch.count++;
      batch.ms += ms;
    }
  }
}

/** Different numbers of rows that are told apart. */
const MAX_BATCH_SIZES = 512;

/** Values at the moment of asking. */
export type Gauges = Readonly<Record<string, { help: string; value: number }>>;
