import type { Condition } from "../../../kernel/kinds/index.js";
import type { Cluster, ClusterSpec } from "../kinds.js";
import { affinityMatches } from "../placement/index.js";
import type { ClusterFacts } from "../placement/types.js";
import type { ClusterTaintPolicy, ClusterTaintPolicySpec } from "../policies/kinds.js";

export type ClusterTaint = NonNullable<ClusterSpec["taints"]>[number];
type Match = NonNullable<ClusterTaintPolicySpec["addOnConditions"]>[number];

const NOT_READY = "cluster.karmada.io/not-ready";
const UNREACHABLE = "cluster.karmada.io/unreachable";

/**
 * The taints that a cluster should have: what its Ready condition says of new workloads, and what policies say of its conditions, the older
 * policy first. `now` is RFC 3339.
 */
export function taintsFor(
  cluster: Cluster,
  facts: ClusterFacts,
  policies: readonly ClusterTaintPolicy[],
  now: string,
): ClusterTaint[] {
  const conditions = cluster.status?.conditions ?? [];
  let taints = byReadiness(cluster.spec?.taints ?? [], conditions.find(({ type }) => type === "Ready")?.status);
  const inOrder = policies.toSorted((a, b) => (ageOf(a) < ageOf(b) ? -1 : 1));
  for (const { spec } of inOrder) {
    if (spec.targetClusters !== undefined && !affinityMatches(spec.targetClusters, facts)) continue;
    if (holds(conditions, spec.addOnConditions)) {
      const known = taints;
      const added = spec.taints
        .filter((taint) => !known.some((other) => isSame(other, taint)))
        .map(({ key, value, effect }) => ({ key, effect, ...(value === undefined ? {} : { value }), timeAdded: now }));
      taints = [...taints, ...added];
    }
    if (holds(conditions, spec.removeOnConditions))
      taints = taints.filter((taint) => !spec.taints.some((other) => isSame(taint, other)));
  }
  return taints;
}

function byReadiness(taints: readonly ClusterTaint[], ready: string | undefined): ClusterTaint[] {
  const wanted = ready === "True" ? undefined : ready === "Unknown" ? UNREACHABLE : NOT_READY;
  const kept = taints.filter(
    ({ key, effect }) => effect !== "NoSchedule" || (key !== NOT_READY && key !== UNREACHABLE) || key === wanted,
  );
  const isThere = kept.some(({ key, effect }) => key === wanted && effect === "NoSchedule");
  return wanted === undefined || isThere ? kept : [...kept, { key: wanted, effect: "NoSchedule" }];
}

/** All of them must hold; without any, nothing does. */
function holds(conditions: readonly Condition[], matches: readonly Match[] | undefined): boolean {
  if (matches === undefined || matches.length === 0) return false;
  return matches.every(({ conditionType, operator, statusValues }) => {
    const status = conditions.find(({ type }) => type === conditionType)?.status;
    return status !== undefined && statusValues.includes(status) === (operator === "In");
  });
}

function isSame(
  a: Pick<ClusterTaint, "key" | "effect">,
  b: { readonly key: string; readonly effect: string },
): boolean {
  return a.key === b.key && a.effect === b.effect;
}

function ageOf({ metadata }: ClusterTaintPolicy): string {
  return `${metadata.creationTimestamp ?? ""}/${metadata.name}`;
}
