import type { ResourceBinding } from "../bindings/kinds.js";
import type { Cluster } from "../kinds.js";
import { BINDING, lostClustersOf } from "../policies/marks.js";
import { settlesInMs } from "./stability.js";

/** What a fail-back is decided by. */
export interface FailBackFacts {
  /** A Cluster by its name. */
  readonly cluster: (name: string) => Cluster | undefined;
  /** Whether the object would go to that cluster if it were placed anew. */
  readonly wouldGoTo: (name: string) => boolean;
  readonly nowMs: number;
}

/** What becomes of the note where an object was before its clusters failed. */
export interface FailBackPlan {
  /** Clusters that stay noted. */
  readonly kept: readonly string[];
  /** Clusters that are trusted again. */
  readonly trusted: readonly string[];
  /** Those of them that get their share of a divided object again: it has to be placed anew. */
  readonly due: readonly string[];
  /** When to look again at the latest; undefined: when something changes. */
  readonly againMs: number | undefined;
}

/** Gives clusters that failed and have been well for long enough back what was sent away from them. */
export function planFailBack(binding: ResourceBinding, facts: FailBackFacts): FailBackPlan {
  const kept: string[] = [];
  const trusted: string[] = [];
  const waits: number[] = [];
  const leaving = new Set((binding.spec.gracefulEvictionTasks ?? []).map(({ fromCluster }) => fromCluster));
  for (const name of lostClustersOf(binding.metadata.annotations)) {
    // Its way out ends first, and with that it is looked at again.
    if (leaving.has(name)) {
      kept.push(name);
      continue;
    }
    const cluster = facts.cluster(name);
    const inMs = cluster === undefined ? 0 : settlesInMs(cluster, facts.nowMs);
    if (inMs === 0) trusted.push(name);
    else kept.push(name);
    if (inMs !== undefined && inMs > 0) waits.push(inMs);
  }
  const { placement, replicas = 0, clusters = [] } = binding.spec;
  const isDivided = placement?.replicaScheduling?.replicaSchedulingType === "Divided" && replicas > 0;
  const due = isDivided
    ? trusted.filter((name) => !clusters.some((target) => target.name === name) && facts.wouldGoTo(name))
    : [];
  return { kept, trusted, due, againMs: waits.length === 0 ? undefined : Math.min(...waits) };
}

/** The annotation that notes these clusters; `null`: none. */
export function lostNote(clusters: Iterable<string>): { readonly [BINDING.lost]: string | null } {
  const names = [...new Set(clusters)].sort();
  return { [BINDING.lost]: names.length === 0 ? null : names.join(",") };
}
