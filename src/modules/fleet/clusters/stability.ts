import { findCondition, isDeleting } from "../../../kernel/kinds/index.js";
import type { Cluster } from "../kinds.js";

/** Annotation of a Cluster: when it failed lately, RFC 3339 by comma, the oldest first. */
export const FAILED_AT = "argosy.dev/failed-at";
/** Annotation of a Cluster: how long it must have been Ready after a failure until it is given back what it lost: `90s`, `5m`, `2h` or `never`. */
export const FAIL_BACK_AFTER = "argosy.dev/fail-back-after";

const FAIL_BACK_MS = 300_000;
const HOUR_MS = 3_600_000;
const MAX_FAILURES = 8;
/** One that has just joined was never well, so it did not fail. */
const JOINING_MS = 10_000;
/** With more than this share of all clusters away, the fault is taken to be the hub's own. */
const BRAKE_SHARE = 0.5;

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: HOUR_MS };

/** Whether a cluster is known not to be Ready. */
export function isAway(cluster: Cluster): boolean {
  const ready = findCondition(cluster.status?.conditions, "Ready")?.status;
  return ready !== undefined && ready !== "True";
}

/** For how long a cluster has not been Ready. */
export function awayMs(cluster: Cluster, nowMs: number): number {
  const ready = findCondition(cluster.status?.conditions, "Ready");
  return ready === undefined ? 0 : Math.max(0, nowMs - Date.parse(ready.lastTransitionTime));
}

/** The annotation that notes a cluster's present failure; `undefined`: there is none, or it is noted. */
export function failureNote(cluster: Cluster): string | undefined {
  const ready = findCondition(cluster.status?.conditions, "Ready");
  if (ready === undefined || ready.status === "True" || isDeleting(cluster)) return undefined;
  const { lastTransitionTime } = ready;
  const atMs = Date.parse(lastTransitionTime);
  const known = failuresOf(cluster);
  if (known.includes(lastTransitionTime) || Number.isNaN(atMs)) return undefined;
  if (atMs - Date.parse(cluster.metadata.creationTimestamp) < JOINING_MS) return undefined;
  const recent = known.filter((time) => atMs - Date.parse(time) < HOUR_MS);
  return [...recent, lastTransitionTime].slice(-MAX_FAILURES).join(",");
}

function failuresOf({ metadata }: Cluster): string[] {
  return (metadata.annotations?.[FAILED_AT] ?? "").split(",").filter((time) => !Number.isNaN(Date.parse(time)));
}

/**
 * When a cluster that failed is to be trusted again: 0 now, `undefined` not by itself. It has to be Ready for five minutes (or as its annotation says), twice
 * as long for each further failure within an hour, an hour at most.
 */
export function settlesInMs(cluster: Cluster, nowMs: number): number | undefined {
  const ready = findCondition(cluster.status?.conditions, "Ready");
  const base = waitOf(cluster);
  if (ready?.status !== "True" || base === undefined) return undefined;
  const recent = failuresOf(cluster).filter((time) => nowMs - Date.parse(time) < HOUR_MS).length;
  const wait = Math.max(base, Math.min(HOUR_MS, base * 2 ** Math.max(0, recent - 1)));
  return Math.max(0, Date.parse(ready.lastTransitionTime) + wait - nowMs);
}

function waitOf({ metadata }: Cluster): number | undefined {
  const text = metadata.annotations?.[FAIL_BACK_AFTER];
  if (text === "never") return undefined;
  const [, amount, unit = ""] = /^(\d{1,6})([smh])$/.exec(text ?? "") ?? [];
  return amount === undefined ? FAIL_BACK_MS : Number(amount) * (UNIT_MS[unit] ?? 0);
}

/** By the list, which nobody changes: it is asked about for every cluster that is away. */
const brakes = new WeakMap<readonly Cluster[], { readonly why: string | undefined }>();

/** Why nothing is sent away from clusters that do not answer; `undefined`: nothing speaks against it. */
export function brakeOn(clusters: readonly Cluster[]): string | undefined {
  const known = brakes.get(clusters);
  if (known !== undefined) return known.why;
  const why = brakeNow(clusters);
  brakes.set(clusters, { why });
  return why;
}

function brakeNow(clusters: readonly Cluster[]): string | undefined {
  const joined = clusters.filter((cluster) => !isDeleting(cluster));
  const away = joined.filter(isAway).length;
  if (away < 2 || away / joined.length <= BRAKE_SHARE) return undefined;
  return `${away} of ${joined.length} clusters are not ready: the fault may be the hub's own, so nothing is moved away from them`;
}
