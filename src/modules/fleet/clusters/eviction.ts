import type { BindingSpec, ResourceBinding } from "../bindings/kinds.js";
import type { Cluster } from "../kinds.js";
import { tolerates } from "../placement/index.js";
import type { ClusterTaint } from "./taints.js";

export type EvictionTask = NonNullable<BindingSpec["gracefulEvictionTasks"]>[number];
type Target = NonNullable<BindingSpec["clusters"]>[number];

/** How long an object stays at most where it is evicted from, unless its task says otherwise. */
const GRACE_SECONDS = 600;

/** What an eviction is decided by. */
export interface EvictionFacts {
  /** A Cluster by its name. */
  readonly cluster: (name: string) => Cluster | undefined;
  /** Whether the object could go to another cluster than those. */
  readonly hasAlternative: (leaving: ReadonlySet<string>) => boolean;
  readonly nowMs: number;
}

/** What becomes of a binding. */
export interface EvictionPlan {
  readonly clusters: readonly Target[];
  readonly tasks: readonly EvictionTask[];
  readonly isChanged: boolean;
  /** When to look again at the latest; undefined: when something changes. */
  readonly againMs: number | undefined;
  /** Clusters from which it was sent away now, and those that it has left for good. */
  readonly evicted: readonly string[];
  readonly finished: readonly string[];
  /** Clusters that it stays in although it is not tolerated there: it has nowhere to go, and would be removed at once. */
  readonly stranded: readonly string[];
}

/**
 * Sends an object away from clusters whose NoExecute taints it does not tolerate, and ends evictions whose replacement is healthy or whose time is
 * over. It is never removed from its last place without a replacement.
 */
export function planEviction(binding: ResourceBinding, facts: EvictionFacts): EvictionPlan {
  const { spec } = binding;
  const before = { clusters: spec.clusters ?? [], tasks: spec.gracefulEvictionTasks ?? [] };
  const waits: number[] = [];
  const leaving = new Set<string>();
  for (const { name } of before.clusters) {
    const inMs = evictsInMs(facts.cluster(name)?.spec?.taints ?? [], spec, facts.nowMs);
    if (inMs === 0) leaving.add(name);
    else if (inMs !== undefined) waits.push(inMs);
  }
  const purgeMode = spec.failover?.cluster?.purgeMode ?? "Gracefully";
  const staysSomewhere = before.clusters.some(({ name }) => !leaving.has(name));
  const isStranded = purgeMode === "Directly" && leaving.size > 0 && !staysSomewhere && !facts.hasAlternative(leaving);
  const stranded = isStranded ? [...leaving] : [];
  if (isStranded) leaving.clear();
  const clusters = before.clusters.filter(({ name }) => !leaving.has(name));
  const known = new Set(before.tasks.map(({ fromCluster }) => fromCluster));
  const added = before.clusters
    .filter(({ name }) => leaving.has(name) && !known.has(name))
    .map(({ name, replicas }): EvictionTask => {
      const count = replicas === undefined || replicas === 0 ? {} : { replicas };
      return {
        fromCluster: name,
        purgeMode,
        ...count,
        reason: "TaintUntolerated",
        producer: "TaintManager",
        creationTimestamp: timestamp(facts.nowMs),
      };
    });
  const assessed = before.tasks.map((task) => ({ task, left: leftMs(task, binding, facts.nowMs) }));
  const finished = assessed.filter(({ left }) => left === 0).map(({ task }) => task.fromCluster);
  for (const { left } of assessed) if (left !== undefined && left > 0) waits.push(left);
  if (added.length > 0) waits.push(GRACE_SECONDS * 1000);
  const kept = assessed
    .filter(({ left }) => left !== 0)
    .map(({ task }) => ({ ...task, creationTimestamp: task.creationTimestamp ?? timestamp(facts.nowMs) }));
  const isStamped = before.tasks.some(({ creationTimestamp }) => creationTimestamp === undefined);
  return {
    clusters,
    tasks: [...kept, ...added],
    isChanged: leaving.size > 0 || finished.length > 0 || isStamped,
    againMs: waits.length === 0 ? undefined : Math.min(...waits),
    evicted: [...leaving],
    finished,
    stranded,
  };
}

/** When the taints send the object away: 0 now, undefined never. */
function evictsInMs(taints: readonly ClusterTaint[], spec: BindingSpec, nowMs: number): number | undefined {
  const tolerations = spec.placement?.clusterTolerations ?? [];
  let least: number | undefined;
  for (const taint of taints.filter(({ effect }) => effect === "NoExecute")) {
    const fitting = tolerations.filter((toleration) => tolerates(toleration, taint));
    if (fitting.length === 0) return 0;
    const bounds = fitting.flatMap(({ tolerationSeconds }) =>
      tolerationSeconds === undefined ? [] : [tolerationSeconds],
    );
    if (bounds.length === 0) continue;
    const sinceMs = taint.timeAdded === undefined ? nowMs : Date.parse(taint.timeAdded);
    const inMs = Math.max(0, sinceMs + Math.max(0, Math.min(...bounds)) * 1000 - nowMs);
    least = Math.min(least ?? inMs, inMs);
  }
  return least;
}

/** How long an eviction still may take: 0 when it is over, undefined when only somebody's word ends it. */
function leftMs(task: EvictionTask, { spec, status, metadata }: ResourceBinding, nowMs: number): number | undefined {
  if (task.suppressDeletion !== undefined) return task.suppressDeletion ? undefined : 0;
  if (task.creationTimestamp === undefined) return (task.gracePeriodSeconds ?? GRACE_SECONDS) * 1000;
  const clusters = spec.clusters ?? [];
  const isPlaced = clusters.length > 0 && status?.schedulerObservedGeneration === metadata.generation;
  const isReplaced =
    isPlaced &&
    clusters.every(({ name }) =>
      status?.aggregatedStatus?.some((item) => item.clusterName === name && item.health === "Healthy"),
    );
  if (isReplaced) return 0;
  const untilMs = Date.parse(task.creationTimestamp) + (task.gracePeriodSeconds ?? GRACE_SECONDS) * 1000;
  // Without a place to go, time alone removes nothing.
  if (clusters.length === 0) return undefined;
  return Math.max(0, untilMs - nowMs);
}

function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
