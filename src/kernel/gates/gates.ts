/** What is asked of counts, or of one number. */
export interface Gate {
  readonly name: string;
  /** Of counted requests: answers below 500 of all, 0 to 1; milliseconds. Absent: the number is a query's. */
  readonly metric?: "SuccessRate" | "P99" | "P50" | undefined;
  /** What is less has failed. */
  readonly min?: number | undefined;
  /** What is more has failed. */
  readonly max?: number | undefined;
  /** Requests that must have been seen before the value counts; default 1. */
  readonly minRequests?: number | undefined;
}

/** What a gate says of what was seen in a place. */
export interface Verdict {
  readonly name: string;
  readonly cluster: string;
  /** Waiting: not enough was seen. */
  readonly verdict: "Passed" | "Failed" | "Waiting";
  readonly value?: number;
  /** For people. */
  readonly message: string;
}

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
export function judgeCounts(gate: Gate, cluster: string, counts: Counts): Verdict {
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
export function judge(gate: Gate, cluster: string, values: readonly number[], unit: string): Verdict {
  const { name, min, max } = gate;
  const isBad = (value: number): boolean => (min !== undefined && value < min) || (max !== undefined && value > max);
  const bad = values.find(isBad);
  // What is divided by nothing is no number yet.
  const worst = bad ?? (values.some(Number.isNaN) ? undefined : values[0]);
  if (worst === undefined) {
    const message = values.length === 0 ? "no value was seen" : "the value is no number (NaN)";
    return { name, cluster, verdict: "Waiting", message };
  }
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

/** What was counted when a watch began. */
export interface Baseline {
  readonly mark: string;
  readonly counts: Map<string, Counts>;
  /** Places that were read once: what is seen there first was not there before. */
  readonly read: Set<string>;
}

/** A watch that begins. Another mark is another watch. */
export const baselineOf = (mark: string): Baseline => ({ mark, counts: new Map(), read: new Set() });

/** What was counted since the watch began; `place` is where one of several sources is. */
export function sinceFirst({ counts, read }: Baseline, place: string, source: string, now: Counts): Counts {
  const id = `${place} ${source}`;
  const before = counts.get(id) ?? (read.has(place) ? NO_COUNTS : now);
  // A source that began anew counts from nothing.
  counts.set(id, now.requests < before.requests ? NO_COUNTS : before);
  return since(now, before);
}
