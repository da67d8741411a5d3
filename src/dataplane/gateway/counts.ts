import type { Counts } from "../../kernel/gates/index.js";
import { LATENCY_BOUNDS_MS } from "./latency.js";

/** What the gateway counted of a backend, or of a shadow. */
export interface CountedByGateway {
  readonly name: string;
  readonly byClass: Readonly<Record<string, number>>;
  readonly requests: number;
  readonly failures: number;
  readonly latency?: readonly number[];
}

/** The same as gates read it. */
export function countsByGateway({ byClass, requests, failures, latency = [] }: CountedByGateway): Counts {
  const bad = (byClass["5xx"] ?? 0) + (byClass["other"] ?? 0);
  const within = LATENCY_BOUNDS_MS.map((boundMs, index) => ({
    boundMs,
    count: latency.slice(0, index + 1).reduce((total, count) => total + count, 0),
  }));
  // An attempt that got no answer is the backend's, also where another answered in its place.
  return { requests: requests + failures, good: requests - bad, within };
}
