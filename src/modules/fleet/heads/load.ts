import type { GatewayState } from "../../../dataplane/gateway/index.js";

type RouteReport = GatewayState["routes"][number];

/** Figures are taken over at least this long where nothing else is said. */
const WINDOW_MS = 10_000;
/** Latencies that differ by less are the same: each new weight is a new table. */
const NOTABLE_SHARE = 0.1;
/** Requests a second at which the built-in gateway has used half of its one processor (bench/gateway.ts: about 20 µs a request). */
const HIGH_RATE = 25_000;

/** Where measuring is set another way. */
export interface LoadSettings {
  /** Milliseconds that figures are taken over, at least. Default 10 s. */
  readonly windowMs?: number;
  /** Requests a second that are many; they are until they are fewer than half of that. Default 25,000. */
  readonly highRate?: number;
}

interface Window {
  readonly atMs: number;
  readonly requests: number;
  readonly backends: ReadonlyMap<string, { readonly requests: number; readonly latencySumMs: number }>;
}

interface Figures {
  readonly rate: number;
  readonly isHigh: boolean;
  readonly latencyMs: ReadonlyMap<string, number>;
}

const NOTHING: Figures = { rate: 0, isHigh: false, latencyMs: new Map() };

/** What the gateway's counters say of each route's load, from one report to a later one. */
export class LoadMeter {
  readonly #windows = new Map<string, Window>();
  readonly #figures = new Map<string, Figures>();
  readonly #windowMs: number;
  readonly #highRate: number;

  constructor({ windowMs = WINDOW_MS, highRate = HIGH_RATE }: LoadSettings = {}) {
    this.#windowMs = windowMs;
    this.#highRate = highRate;
  }

  /** Of a route; zeros until it was seen for a while. */
  of(id: string): Figures {
    return this.#figures.get(id) ?? NOTHING;
  }

  forget(id: string): void {
    this.#windows.delete(id);
    this.#figures.delete(id);
  }

  /** Takes a report in. True when the figures differ notably from those before. */
  note(report: RouteReport, nowMs: number): boolean {
    const before = this.#windows.get(report.id);
    const requests = report.backends.reduce((sum, backend) => sum + backend.requests, 0);
    const isRestarted = before !== undefined && requests < before.requests;
    if (before !== undefined && !isRestarted && nowMs - before.atMs < this.#windowMs) return false;
    this.#windows.set(report.id, {
      atMs: nowMs,
      requests,
      backends: new Map(
        report.backends.map(({ name, requests: count, latencySumMs }) => [name, { requests: count, latencySumMs }]),
      ),
    });
    if (before === undefined || isRestarted) return false;
    const old = this.of(report.id);
    const rate = ((requests - before.requests) * 1000) / (nowMs - before.atMs);
    const isHigh = rate >= (old.isHigh ? this.#highRate / 2 : this.#highRate);
    const latencyMs = latenciesOf(report, before, old.latencyMs);
    const isNew = isHigh !== old.isHigh || isNotable(old.latencyMs, latencyMs);
    this.#figures.set(report.id, { rate, isHigh, latencyMs: isNew ? latencyMs : old.latencyMs });
    return isNew || (rate === 0 && old.rate > 0);
  }
}

/** Mean durations in the window, smoothed with those before; a backend without requests keeps what it had. */
function latenciesOf(
  report: RouteReport,
  before: Window,
  old: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const latencies = new Map(old);
  for (const backend of report.backends) {
    const earlier = before.backends.get(backend.name);
    const count = backend.requests - (earlier?.requests ?? 0);
    if (count <= 0) continue;
    const mean = (backend.latencySumMs - (earlier?.latencySumMs ?? 0)) / count;
    const known = old.get(backend.name);
    latencies.set(backend.name, known === undefined ? mean : (known + mean) / 2);
  }
  return latencies;
}

function isNotable(before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): boolean {
  for (const [name, value] of now) {
    const old = before.get(name);
    if (old === undefined || Math.abs(value - old) > old * NOTABLE_SHARE) return true;
  }
  return false;
}
