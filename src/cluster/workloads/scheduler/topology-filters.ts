import { labelSelectorMatches, type Pod } from "../../../kernel/kinds/index.js";
import { matchesNodeAffinity, untolerated } from "./node-filters.js";
import {
  type AffinityTerm,
  countByDomain,
  domainOf,
  finalObstacle,
  type NodeView,
  narrowed,
  type Obstacle,
  type Snapshot,
  termMatches,
} from "./snapshot.js";

/** Why a pod cannot run on a node because of other pods; `undefined` when it can. */
export type TopologyCheck = (view: NodeView) => Obstacle | undefined;

const passing = (reason: string): Obstacle => ({ reasons: [reason], isFinal: false });

type Constraint = NonNullable<Pod["spec"]["topologySpreadConstraints"]>[number];

/** Whether a spread constraint counts a pod. */
export function spreadMatches(constraint: Constraint, pod: Pod): (other: Pod) => boolean {
  const selector = narrowed(
    constraint.labelSelector,
    pod,
    constraint.matchLabelKeys ? { match: constraint.matchLabelKeys } : {},
  );
  return (other) =>
    other.metadata.namespace === pod.metadata.namespace && labelSelectorMatches(selector, other.metadata.labels);
}

function spreadCheck(pod: Pod, constraint: Constraint, snapshot: Snapshot): TopologyCheck {
  const keys = (pod.spec.topologySpreadConstraints ?? [])
    .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === constraint.whenUnsatisfiable)
    .map((one) => one.topologyKey);
  const { topologyKey, maxSkew, minDomains = 1 } = constraint;
  const eligible = snapshot.nodes.filter(
    ({ node }) =>
      // A node that lacks the label of any constraint counts for none.
      keys.every((key) => domainOf(node, key) !== undefined) &&
      (constraint.nodeAffinityPolicy === "Ignore" || matchesNodeAffinity(pod, node)) &&
      (constraint.nodeTaintsPolicy !== "Honor" || untolerated(pod, node, ["NoSchedule", "NoExecute"]) === undefined),
  );
  const counts = spreadMatches(constraint, pod);
  const domains = countByDomain(eligible, topologyKey, counts);
  const least = domains.size < minDomains ? 0 : Math.min(...domains.values());
  const own = counts(pod) ? 1 : 0;
  return ({ node }) => {
    const domain = domainOf(node, topologyKey);
    if (domain === undefined)
      return finalObstacle("node(s) didn't match pod topology spread constraints (missing required label)");
    const skew = (domains.get(domain) ?? 0) + own - least;
    return skew > maxSkew ? passing("node(s) didn't match pod topology spread constraints") : undefined;
  };
}

function affinityCheck(pod: Pod, terms: readonly AffinityTerm[], snapshot: Snapshot): TopologyCheck {
  const domains = terms.map((term) =>
    countByDomain(snapshot.nodes, term.topologyKey, (other) => termMatches(term, pod, other, snapshot)),
  );
  const isAlone = domains.every((counts) => [...counts.values()].every((count) => count === 0));
  // The first of a group that wants to be together has nobody to join.
  const isFirst = isAlone && terms.every((term) => termMatches(term, pod, pod, snapshot));
  return ({ node }) => {
    const isMet = terms.every((term, index) => {
      const domain = domainOf(node, term.topologyKey);
      return domain !== undefined && (isFirst || (domains[index]?.get(domain) ?? 0) > 0);
    });
    return isMet ? undefined : finalObstacle("node(s) didn't match pod affinity rules");
  };
}

function antiAffinityCheck(pod: Pod, terms: readonly AffinityTerm[], snapshot: Snapshot): TopologyCheck {
  const domains = terms.map((term) =>
    countByDomain(snapshot.nodes, term.topologyKey, (other) => termMatches(term, pod, other, snapshot)),
  );
  return ({ node }) => {
    const isMet = terms.some((term, index) => (domains[index]?.get(domainOf(node, term.topologyKey) ?? "") ?? 0) > 0);
    return isMet ? passing("node(s) didn't match pod anti-affinity rules") : undefined;
  };
}

/** Pods that already run may refuse the newcomer's company. */
function existingAntiAffinityCheck(pod: Pod, snapshot: Snapshot): TopologyCheck {
  const closed = new Set<string>();
  for (const { node, pods } of snapshot.nodes) {
    for (const other of pods) {
      for (const term of other.spec.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
        const domain = domainOf(node, term.topologyKey);
        if (domain !== undefined && termMatches(term, other, pod, snapshot))
          closed.add(`${term.topologyKey}=${domain}`);
      }
    }
  }
  return ({ node }) => {
    const isClosed = [...closed].some((entry) => {
      const cut = entry.indexOf("=");
      return domainOf(node, entry.slice(0, cut)) === entry.slice(cut + 1);
    });
    return isClosed ? passing("node(s) didn't satisfy existing pods anti-affinity rules") : undefined;
  };
}

/** Everything about other pods, computed once for a pod and asked for each node. */
export function topologyChecks(pod: Pod, snapshot: Snapshot): TopologyCheck {
  const { affinity, topologySpreadConstraints = [] } = pod.spec;
  const spread = topologySpreadConstraints.filter((constraint) => constraint.whenUnsatisfiable === "DoNotSchedule");
  const together = affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const apart = affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const checks = [
    ...spread.map((constraint) => spreadCheck(pod, constraint, snapshot)),
    ...(together.length === 0 ? [] : [affinityCheck(pod, together, snapshot)]),
    ...(apart.length === 0 ? [] : [antiAffinityCheck(pod, apart, snapshot)]),
    existingAntiAffinityCheck(pod, snapshot),
  ];
  return (view) => {
    for (const check of checks) {
      const obstacle = check(view);
      if (obstacle !== undefined) return obstacle;
    }
    return undefined;
  };
}
