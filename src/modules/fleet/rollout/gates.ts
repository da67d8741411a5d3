import type { GateReport, GateSpec } from "./kind.js";

/** What a source counted since it began. */
export interface Counts {
  readonly requests: number;
  /** Of those, answered below 500. */
  readonly good: number;
  /** Requests that took at most so many milliseconds, by rising bound; the rest took longer. */
  readonly within: readonly { readonly boundMs: number; readonly count: number }[];
}

/** Nothing counted. */
export const NO_COUNTS: Counts = { requests: 0, good: 0, within: [] };

/** What was counted since `before`; a source that began anew meanwhile counts from there. */
export function since(now: Counts, before: Counts | undefined): Counts {
  if (before === undefined || now.requests < before.requests) return now;
  const earlier = new Map(before.within.map(({ boundMs, count }) => [boundMs, count]));
  return {
    requests: now.requests - before.requests,
    good: Math.max(0, now.good - before.good),
    within: now.within.map(({ boundMs, count }) => ({
      boundMs,
      count: Math.max(0, count - (earlier.get(boundMs) ?? 0)),
    })),
  };
}

/** Several sources as one; bounds that not all have are left out. */
export function sum(all: readonly Counts[]): Counts {
  const seen = all.filter(({ requests }) => requests > 0);
  const [first] = seen;
  if (first === undefined) return NO_COUNTS;
  const bounds = first.within
    .map(({ boundMs }) => boundMs)
    .filter((bound) => seen.every(({ within }) => within.some(({ boundMs }) => boundMs === bound)));
  const countOf = ({ within }: Counts, bound: number): number =>
    within.find(({ boundMs }) => boundMs === bound)?.count ?? 0;
  return {
    requests: seen.reduce((total, { requests }) => total + requests, 0),
    good: seen.reduce((total, { good }) => total + good, 0),
    within: bounds.map((boundMs) => ({
      boundMs,
      count: seen.reduce((total, one) => total + countOf(one, boundMs), 0),
    })),
  };
}

/** The quantile (0 to 1) of durations, linear within a bucket as PromQL's histogram_quantile; above the last bound, infinite. */
export function quantileMs({ requests, within }: Counts, quantile: number): number {
  const rank = quantile * requests;
  let [lowerMs, below] = [0, 0];
  for (const { boundMs, count } of within) {
    if (count >= rank) {
      const share = count === below ? 1 : (rank - below) / (count - below);
      return lowerMs + (boundMs - lowerMs) * share;
    }
    [lowerMs, below] = [boundMs, count];
  }
  return Number.POSITIVE_INFINITY;
}

/** What a gate on counted requests says. Pure. */
export function judgeCounts(gate: GateSpec, cluster: string, counts: Counts): GateReport {
  const wanted = gate.minRequests ?? 1;
  const { requests } = counts;
  if (requests < Math.max(wanted, 1)) {
    const message = `${requests} of ${Math.max(wanted, 1)} requests were seen`;
    return { name: gate.name, cluster, verdict: "Waiting", message };
  }
  if (gate.metric === "SuccessRate") return judge(gate, cluster, [counts.good / requests], `of ${requests} requests`);
  const quantile = gate.metric === "P50" ? 0.5 : 0.99;
  return judge(gate, cluster, [quantileMs(counts, quantile)], `ms, of ${requests} requests`);
}

/** What a gate says of values: every one must be within its bounds. Pure. */
export function judge(gate: GateSpec, cluster: string, values: readonly number[], unit: string): GateReport {
  const { name, min, max } = gate;
  const isBad = (value: number): boolean => (min !== undefined && value < min) || (max !== undefined && value > max);
  const bad = values.find(isBad);
  // What is divided by nothing is no number yet.
  const worst = bad ?? (values.some(Number.isNaN) ? undefined : values[0]);
  if (worst === undefined) return { name, cluster, verdict: "Waiting", message: "no value was seen" };
  const bounds = [...(min === undefined ? [] : [`at least ${min}`]), ...(max === undefined ? [] : [`at most ${max}`])];
  const text = `${gate.metric ?? "the query"} is ${shown(worst)}${unit === "" ? "" : ` ${unit}`}; ${bounds.join(" and ")} is asked for`;
  return {
    name,
    cluster,
    verdict: bad === undefined ? "Passed" : "Failed",
    ...(Number.isFinite(worst) ? { value: Math.round(worst * 1e6) / 1e6 } : {}),
    message: text,
  };
}

function shown(value: number): string {
  return Number.isFinite(value)
    ? String(Math.round(value * 1e4) / 1e4)
    : value > 0
      ? "above what is measured"
      : String(value);
}

/** What is wrong with a gate; empty when nothing is. */
export function faultOfGate(gate: Readonly<Partial<Record<keyof GateSpec, unknown>>>): string {
  if (gate.min === undefined && gate.max === undefined) return "has neither min nor max";
  if (gate.source === "Prometheus") {
    if (gate.prometheus === undefined) return "has source Prometheus, but no prometheus.address and prometheus.query";
    return gate.metric === undefined && gate.minRequests === undefined
      ? ""
      : "has source Prometheus: metric and minRequests do not go with it";
  }
  if (gate.prometheus !== undefined) return `has source ${String(gate.source)}: prometheus does not go with it`;
  return gate.metric === undefined ? `has source ${String(gate.source)}, but no metric` : "";
}
