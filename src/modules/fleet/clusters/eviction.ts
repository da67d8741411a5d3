import { findCondition } from "../../../kernel/kinds/index.js";
import type { BindingSpec, ResourceBinding } from "../bindings/kinds.js";
import type { Cluster } from "../kinds.js";
import { tolerates } from "../placement/index.js";
import { awayMs, isAway } from "./stability.js";
import { type PreservedState, preservedState, stateOf } from "./state-preservation.js";
import type { ClusterTaint } from "./taints.js";

export type EvictionTask = NonNullable<BindingSpec["gracefulEvictionTasks"]>[number];
type Target = NonNullable<BindingSpec["clusters"]>[number];

/** How long an object stays at most where it is evicted from, unless its task says otherwise. */
const GRACE_SECONDS = 600;
/** How long others that fail at the same time may go unnoticed: only then it is known how many are away. */
const DETECTION_MS = 8000;
/** How soon it is looked again whether clusters are still taken to be well. */
const BRAKE_LOOK_MS = 5000;
/** How soon it is looked again whether there is a place by now. */
const HELD_LOOK_MS = 10_000;

/** What an eviction is decided by. */
export interface EvictionFacts {
  /** A Cluster by its name. */
  readonly cluster: (name: string) => Cluster | undefined;
  /** Whether the whole object has a place without those clusters. */
  readonly isFeasible: (leaving: ReadonlySet<string>) => boolean;
  /** Why nothing is sent away from clusters that are away; undefined: it is. */
  readonly brake: () => string | undefined;
  readonly nowMs: number;
}

/** What becomes of a binding. */
export interface EvictionPlan {
  readonly clusters: readonly Target[];
  readonly tasks: readonly EvictionTask[];
  readonly isChanged: boolean;
  /** When to look again at the latest; undefined: when something changes. */
  readonly againMs: number | undefined;
  /** Clusters from which it was sent away now, those that it has left for good, and those that it stays in after all. */
  readonly evicted: readonly string[];
  readonly finished: readonly string[];
  readonly restored: readonly string[];
  /** Clusters that it stays in although it is not tolerated there, each with why. */
  readonly held: readonly { readonly cluster: string; readonly why: string }[];
}

const NOWHERE = "there is no other cluster that it could go to";

/**
 * Sends an object away from clusters whose NoExecute taints it does not tolerate, and ends evictions whose replacement is healthy or whose time is
 * over. It is never removed from its last place without a replacement, and nothing is moved while most clusters are away. An object whose
 * place wants it again before it found another stays there.
 */
export function planEviction(binding: ResourceBinding, facts: EvictionFacts): EvictionPlan {
  const { spec } = binding;
  const waits: number[] = [];
  const { leaving, held } = leavingOf(spec, facts, waits);
  const purgeMode = spec.failover?.cluster?.purgeMode ?? "Gracefully";
  if (leaving.size > 0 && !facts.isFeasible(leaving)) {
    held.push(...[...leaving].map((cluster) => ({ cluster, why: NOWHERE })));
    // Gracefully it is on its way, and stays until there is a place.
    if (purgeMode === "Directly") {
      leaving.clear();
      waits.push(HELD_LOOK_MS);
    }
  }
  // Only of what is removed at once the state is the last.
  const rules = purgeMode === "Directly" ? (spec.failover?.cluster?.statePreservation?.rules ?? []) : [];
  const states = new Map([...leaving].map((name) => [name, preservedState(binding, name, rules)] as const));
  for (const [cluster, state] of states) {
    if (!("fault" in state)) continue;
    held.push({ cluster, why: state.fault });
    leaving.delete(cluster);
  }
  const ongoing = progressOf(binding, facts, waits);
  const stamp = timestamp(facts.nowMs);
  const known = new Set(ongoing.kept.map(({ fromCluster }) => fromCluster));
  const added = (spec.clusters ?? [])
    .filter(({ name }) => leaving.has(name) && !known.has(name))
    .map(({ name, replicas }): EvictionTask => {
      const count = replicas === undefined || replicas === 0 ? {} : { replicas };
      return {
        fromCluster: name,
        purgeMode,
        ...count,
        reason: "TaintUntolerated",
        producer: "TaintManager",
        ...stateOf(binding, labelsIn(states.get(name))),
        creationTimestamp: stamp,
      };
    });
  if (added.length > 0) waits.push(GRACE_SECONDS * 1000);
  const { finished, restored } = ongoing;
  return {
    clusters: [...(spec.clusters ?? []).filter(({ name }) => !leaving.has(name)), ...restored],
    tasks: [...ongoing.kept, ...added],
    isChanged: leaving.size > 0 || finished.length > 0 || restored.length > 0 || ongoing.isStamped,
    againMs: waits.length === 0 ? undefined : Math.min(...waits),
    evicted: [...leaving],
    finished,
    restored: restored.map(({ name }) => name),
    held,
  };
}

function labelsIn(state: PreservedState | undefined): Readonly<Record<string, string>> {
  return state !== undefined && "labels" in state ? state.labels : {};
}

/** Clusters that do not want the object any more, and of those the ones where nothing is done about it for now. */
function leavingOf(
  spec: BindingSpec,
  { cluster: clusterOf, brake: brakeOf, nowMs }: EvictionFacts,
  waits: number[],
): { readonly leaving: Set<string>; readonly held: { cluster: string; why: string }[] } {
  const leaving = new Set<string>();
  const held: { cluster: string; why: string }[] = [];
  for (const { name } of spec.clusters ?? []) {
    const cluster = clusterOf(name);
    const inMs = evictsInMs(cluster?.spec?.taints ?? [], spec, nowMs);
    if (inMs === undefined) continue;
    if (inMs > 0) {
      waits.push(inMs);
      continue;
    }
    if (cluster === undefined || !isAway(cluster)) {
      leaving.add(name);
      continue;
    }
    const undetectedMs = DETECTION_MS - awayMs(cluster, nowMs);
    const brake = undetectedMs > 0 ? undefined : brakeOf();
    if (undetectedMs > 0) waits.push(undetectedMs);
    else if (brake !== undefined) {
      held.push({ cluster: name, why: brake });
      waits.push(BRAKE_LOOK_MS);
    } else leaving.add(name);
  }
  return { leaving, held };
}

/** What becomes of the evictions that were begun. */
function progressOf(
  binding: ResourceBinding,
  { cluster: clusterOf, nowMs }: EvictionFacts,
  waits: number[],
): {
  readonly kept: EvictionTask[];
  readonly finished: string[];
  readonly restored: Target[];
  readonly isStamped: boolean;
} {
  const { spec } = binding;
  const kept: EvictionTask[] = [];
  const finished: string[] = [];
  const restored: Target[] = [];
  for (const task of spec.gracefulEvictionTasks ?? []) {
    const cluster = clusterOf(task.fromCluster);
    const isWanted = cluster !== undefined && evictsInMs(cluster.spec?.taints ?? [], spec, nowMs) === undefined;
    if (task.producer === "TaintManager" && isWanted && !isAway(cluster) && !hasWholePlace(binding)) {
      restored.push({ name: task.fromCluster, ...(task.replicas === undefined ? {} : { replicas: task.replicas }) });
      continue;
    }
    const left = leftMs(task, binding, nowMs);
    if (left !== undefined && left > 0) waits.push(left);
    if (left === 0) finished.push(task.fromCluster);
    else kept.push({ ...task, creationTimestamp: task.creationTimestamp ?? timestamp(nowMs) });
  }
  const isStamped = (spec.gracefulEvictionTasks ?? []).some(({ creationTimestamp }) => creationTimestamp === undefined);
  return { kept, finished, restored, isStamped };
}

/** Whether all of the object has a place, as the scheduler sees it. */
function hasWholePlace({ spec, status }: ResourceBinding): boolean {
  const { clusters = [], replicas = 0, placement } = spec;
  if (clusters.length === 0 || findCondition(status?.conditions, "Scheduled")?.status === "False") return false;
  const isDivided = placement?.replicaScheduling?.replicaSchedulingType === "Divided";
  return !isDivided || clusters.reduce((sum, target) => sum + (target.replicas ?? 0), 0) >= replicas;
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
function leftMs(task: EvictionTask, binding: ResourceBinding, nowMs: number): number | undefined {
  if (task.suppressDeletion !== undefined) return task.suppressDeletion ? undefined : 0;
  if (task.creationTimestamp === undefined) return (task.gracePeriodSeconds ?? GRACE_SECONDS) * 1000;
  const { spec, status, metadata } = binding;
  const clusters = spec.clusters ?? [];
  // Without a place to go, time alone removes nothing.
  if (!hasWholePlace(binding)) return undefined;
  const isReplaced =
    status?.schedulerObservedGeneration === metadata.generation &&
    clusters.every(({ name }) =>
      status?.aggregatedStatus?.some((item) => item.clusterName === name && item.health === "Healthy"),
    );
  if (isReplaced) return 0;
  return Math.max(0, Date.parse(task.creationTimestamp) + (task.gracePeriodSeconds ?? GRACE_SECONDS) * 1000 - nowMs);
}

function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
