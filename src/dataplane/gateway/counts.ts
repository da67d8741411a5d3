import type { Counts } from "../../kernel/gates/index.js";
import { LATENCY_BOUNDS_MS } from "./latency.js";

/** What the gateway counted of a backend, or of a shadow. */
export interface CountedByGateway {
  readonly name: string;
  readonly byClass: Readonly<Record<string, number>>;
  readonly requests: number;
  readonly failures: number;
  readonly latency?: Readonly<Record<string, number>>;
}

/** The same as gates read it. */
export function countsByGateway({ byClass, requests, failures, latency = {} }: CountedByGateway): Counts {
  const bad = (byClass["5xx"] ?? 0) + (byClass["other"] ?? 0);
  let count = 0;
  // A gateway of another version may have other classes.
  const bounds = [...new Set([...LATENCY_BOUNDS_MS, ...Object.keys(latency).map(Number)])].sort((a, b) => a - b);
  const within = bounds.map((boundMs) => {
    count += latency[String(boundMs)] ?? 0;
    return { boundMs, count };
  });
  // An attempt that got no answer is the backend's, also where another answered in its place.
  return { requests: requests + failures, good: requests - bad, within };
}
