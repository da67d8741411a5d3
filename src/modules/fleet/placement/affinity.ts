import { labelSelectorMatches } from "../../../kernel/kinds/index.js";
import type { ClusterAffinity, ClusterFacts, ClusterTaint, ClusterToleration } from "./types.js";

type Matcher = (cluster: ClusterFacts) => boolean;

/** Affinities as they are asked about: of many clusters each. */
const matchers = new WeakMap<ClusterAffinity, Matcher>();

/** Whether an affinity means this cluster. */
export function affinityMatches(affinity: ClusterAffinity | undefined, cluster: ClusterFacts): boolean {
  if (affinity === undefined) return true;
  let matches = matchers.get(affinity);
  if (matches === undefined) {
    matches = matcherOf(affinity);
    matchers.set(affinity, matches);
  }
  return matches(cluster);
}

function matcherOf({ exclude = [], labelSelector, fieldSelector, clusterNames = [] }: ClusterAffinity): Matcher {
  const excluded = new Set(exclude);
  const named = new Set(clusterNames);
  const labels = Object.entries(labelSelector?.matchLabels ?? {});
  const expressions = { matchExpressions: labelSelector?.matchExpressions ?? [] };
  const terms = fieldSelector?.matchExpressions ?? [];
  return (cluster) => {
    if (excluded.has(cluster.name)) return false;
    for (const [name, value] of labels) if (cluster.labels[name] !== value) return false;
    if (expressions.matchExpressions.length > 0 && !labelSelectorMatches(expressions, cluster.labels)) return false;
    for (const term of terms) if (!fieldMatches(term, cluster)) return false;
    return named.size === 0 || named.has(cluster.name);
  };
}

function fieldMatches(
  { key, operator, values = [] }: { key: string; operator: string; values?: readonly string[] },
  cluster: ClusterFacts,
): boolean {
  const own = key === "provider" ? [cluster.provider] : key === "region" ? [cluster.region] : cluster.zones;
  const isIn = own.some((value) => value !== "" && values.includes(value));
  switch (operator) {
    case "In":
      // All zones of a cluster must be meant: a replica may land in any of them.
      return key === "zone" ? own.length > 0 && own.every((value) => values.includes(value)) : isIn;
    case "NotIn":
      return !isIn;
    case "Exists":
      return own.some((value) => value !== "");
    case "DoesNotExist":
      return own.every((value) => value === "");
    default:
      return false;
  }
}

/** The first taint that keeps newcomers out and is not tolerated. */
export function untoleratedTaint(
  cluster: ClusterFacts,
  tolerations: readonly ClusterToleration[],
): ClusterTaint | undefined {
  return cluster.taints.find(
    (taint) =>
      (taint.effect === "NoSchedule" || taint.effect === "NoExecute") &&
      !tolerations.some((toleration) => tolerates(toleration, taint)),
  );
}

/** As for pods and nodes. */
export function tolerates(toleration: ClusterToleration, taint: ClusterTaint): boolean {
  const { key = "", operator = "Equal", value = "", effect = "" } = toleration;
  if (effect !== "" && effect !== taint.effect) return false;
  if (key !== "" && key !== taint.key) return false;
  if (operator === "Exists") return true;
  return operator === "Equal" && key !== "" && value === (taint.value ?? "");
}
