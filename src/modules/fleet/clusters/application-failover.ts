import type { BindingSpec, ResourceBinding } from "../bindings/kinds.js";
import type { EvictionTask } from "./eviction.js";
import { preservedState, stateOf } from "./state-preservation.js";

type Target = NonNullable<BindingSpec["clusters"]>[number];

/** What a failover is decided by. */
export interface FailoverFacts {
  /** Since when the object has been unhealthy in each cluster. */
  readonly unhealthySinceMs: ReadonlyMap<string, number>;
  /** Whether the whole object has a place without those clusters. */
  readonly isFeasible: (leaving: ReadonlySet<string>) => boolean;
  readonly producer: string;
  readonly nowMs: number;
}

/** What becomes of an object that is unhealthy. */
export interface FailoverPlan {
  readonly clusters: readonly Target[];
  readonly tasks: readonly EvictionTask[];
  /** Clusters that it is sent away from now. */
  readonly evicted: readonly string[];
  /** Clusters that it stays in though it is unhealthy there, each with why. */
  readonly held: readonly { readonly cluster: string; readonly why: string }[];
  /** When to look again at the latest; undefined: when something changes. */
  readonly againMs: number | undefined;
}

/** Clusters in which an object is unhealthy. */
export function unhealthyIn({ spec, status }: ResourceBinding): string[] {
  const here = new Set((spec.clusters ?? []).map(({ name }) => name));
  return (status?.aggregatedStatus ?? []).flatMap(({ clusterName, health }) =>
    health === "Unhealthy" && here.has(clusterName) ? [clusterName] : [],
  );
}

/** Sends an object away from clusters in which it has been unhealthy for longer than its policy bears, where there is a place for it. */
export function planFailover(binding: ResourceBinding, facts: FailoverFacts): FailoverPlan {
  const { spec } = binding;
  const behaviour = spec.failover?.application;
  const tasks = spec.gracefulEvictionTasks ?? [];
  const still = { clusters: spec.clusters ?? [], tasks, evicted: [], held: [], againMs: undefined };
  if (behaviour === undefined) return still;
  const boundMs = behaviour.decisionConditions.tolerationSeconds * 1000;
  const waits: number[] = [];
  const leaving = new Set<string>();
  for (const [cluster, sinceMs] of facts.unhealthySinceMs) {
    const leftMs = sinceMs + boundMs - facts.nowMs;
    if (leftMs > 0) waits.push(leftMs);
    else leaving.add(cluster);
  }
  const againMs = waits.length === 0 ? undefined : Math.min(...waits);
  if (leaving.size === 0) return { ...still, againMs };
  const holding = (why: string): FailoverPlan => ({
    ...still,
    held: [...leaving].map((cluster) => ({ cluster, why })),
    againMs: Math.min(LOOK_MS, againMs ?? LOOK_MS),
  });
  if (!facts.isFeasible(leaving)) return holding("there is no other cluster that it could go to");
  const added = tasksFor(binding, leaving, facts);
  if ("fault" in added) return holding(added.fault);
  return {
    clusters: (spec.clusters ?? []).filter(({ name }) => !leaving.has(name)),
    tasks: [...tasks.filter(({ fromCluster }) => !leaving.has(fromCluster)), ...added.tasks],
    evicted: [...leaving],
    held: [],
    againMs,
  };
}

/** The evictions, or why they cannot be begun. */
function tasksFor(
  binding: ResourceBinding,
  leaving: ReadonlySet<string>,
  { producer, nowMs }: FailoverFacts,
): { readonly tasks: readonly EvictionTask[] } | { readonly fault: string } {
  const { clusters = [], failover } = binding.spec;
  const mode = modeOf(failover?.application);
  const isAtOnce = mode.purgeMode === "Directly" || mode.purgeMode === "Immediately";
  // Only then the state is the last.
  const rules = isAtOnce ? (failover?.application?.statePreservation?.rules ?? []) : [];
  const tasks: EvictionTask[] = [];
  for (const { name, replicas } of clusters.filter((target) => leaving.has(target.name))) {
    const state = preservedState(binding, name, rules);
    if ("fault" in state) return state;
    tasks.push({
      fromCluster: name,
      ...mode,
      ...(replicas === undefined || replicas === 0 ? {} : { replicas }),
      reason: "ApplicationFailure",
      producer,
      ...stateOf(binding, state.labels),
      creationTimestamp: `${new Date(nowMs).toISOString().slice(0, 19)}Z`,
    });
  }
  return { tasks };
}

/** How soon it is looked again whether there is a place. */
const LOOK_MS = 30_000;

function modeOf(
  behaviour: NonNullable<BindingSpec["failover"]>["application"],
): Pick<EvictionTask, "purgeMode" | "gracePeriodSeconds" | "suppressDeletion"> {
  const { purgeMode = "Gracefully", gracePeriodSeconds } = behaviour ?? {};
  // Somebody has to say when the old one may go.
  if (purgeMode === "Never") return { purgeMode, suppressDeletion: true };
  const isAtOnce = purgeMode === "Directly" || purgeMode === "Immediately";
  return isAtOnce || gracePeriodSeconds === undefined ? { purgeMode } : { purgeMode, gracePeriodSeconds };
}
