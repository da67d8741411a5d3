import {
  isDeleting,
  type LabelSelector,
  labelSelectorMatches,
  type Node,
  type Pod,
} from "../../../kernel/kinds/index.js";
import { matchesNodeAffinity, untolerated } from "./node-filters.js";
import {
  type AffinityTerm,
  domainOf,
  finalObstacle,
  type NodeView,
  narrowed,
  type Obstacle,
  type Snapshot,
  termMatches,
} from "./snapshot.js";

/** How the pods of one node differ from the snapshot's. */
export interface Change {
  readonly added: readonly Pod[];
  readonly removed: readonly Pod[];
}

const unchanged: Change = { added: [], removed: [] };

/** What it takes to get from a view's pods to these. */
export function changeOf(view: NodeView, pods: readonly Pod[]): Change {
  if (pods === view.pods) return unchanged;
  const [before, now] = [new Set(view.pods), new Set(pods)];
  return { added: pods.filter((pod) => !before.has(pod)), removed: view.pods.filter((pod) => !now.has(pod)) };
}

/** Why a pod cannot run on a node because of other pods; `undefined` when it can. The change is the node's own. */
export type TopologyCheck = (view: NodeView, change: Change) => Obstacle | undefined;

const passing = (reason: string): Obstacle => ({ reasons: [reason], isFinal: false });

/** A spread constraint as the wire has it. */
export type Constraint = NonNullable<Pod["spec"]["topologySpreadConstraints"]>[number];

/** The selector of a spread constraint, with what it takes from the pod itself. */
export function spreadSelector(constraint: Constraint, pod: Pod): LabelSelector | undefined {
  const keys = constraint.matchLabelKeys ? { match: constraint.matchLabelKeys } : {};
  return narrowed(constraint.labelSelector, pod, keys);
}

/** How many of the pods a spread constraint counts. A selector that selects everything counts nothing, as upstream. */
export function spreadCount(selector: LabelSelector | undefined, pod: Pod, pods: readonly Pod[]): number {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) return 0;
  return pods.filter(
    (other) =>
      !isDeleting(other) &&
      other.metadata.namespace === pod.metadata.namespace &&
      labelSelectorMatches(selector, other.metadata.labels),
  ).length;
}

/** Whether a node counts for a spread constraint, by the pod's node affinity and by the node's taints. */
export function isIncluded(constraint: Constraint, pod: Pod, node: Node): boolean {
  const { nodeAffinityPolicy, nodeTaintsPolicy } = constraint;
  return (
    (nodeAffinityPolicy === "Ignore" || matchesNodeAffinity(pod, node)) &&
    (nodeTaintsPolicy !== "Honor" || untolerated(pod, node, ["NoSchedule", "NoExecute"]) === undefined)
  );
}

function spreadCheck(pod: Pod, constraint: Constraint, keys: readonly string[], snapshot: Snapshot): TopologyCheck {
  const { topologyKey, maxSkew, minDomains = 1 } = constraint;
  const selector = spreadSelector(constraint, pod);
  const counts = (other: Pod): boolean =>
    other.metadata.namespace === pod.metadata.namespace && labelSelectorMatches(selector, other.metadata.labels);
  const isEligible = (node: Node): boolean =>
    // A node that lacks the label of any constraint counts for none.
    keys.every((key) => domainOf(node, key) !== undefined) && isIncluded(constraint, pod, node);
  const domains = new Map<string, number>();
  for (const { node, pods } of snapshot.nodes) {
    const domain = domainOf(node, topologyKey);
    if (domain === undefined || !isEligible(node)) continue;
    domains.set(domain, (domains.get(domain) ?? 0) + spreadCount(selector, pod, pods));
  }
  const own = labelSelectorMatches(selector, pod.metadata.labels) ? 1 : 0;
  return ({ node }, { added, removed }) => {
    const domain = domainOf(node, topologyKey);
    if (domain === undefined)
      return finalObstacle("node(s) didn't match pod topology spread constraints (missing required label)");
    const delta = added.filter(counts).length - removed.filter(counts).length;
    const numbers =
      delta === 0 || !isEligible(node) ? domains : new Map(domains).set(domain, (domains.get(domain) ?? 0) + delta);
    const least = numbers.size < minDomains ? 0 : Math.min(...numbers.values());
    const skew = (numbers.get(domain) ?? 0) + own - least;
    return skew > maxSkew ? passing("node(s) didn't match pod topology spread constraints") : undefined;
  };
}

/** Counts by topology key and domain. */
type Tally = Map<string, number>;

function add(tally: Tally, node: Node, keys: readonly string[], amount: number): void {
  for (const key of keys) {
    const domain = domainOf(node, key);
    if (domain === undefined) continue;
    const entry = `${key}=${domain}`;
    const count = (tally.get(entry) ?? 0) + amount;
    if (count === 0) tally.delete(entry);
    else tally.set(entry, count);
  }
}

/** The topology keys under which a pod counts. */
type Counting = (other: Pod) => readonly string[];

/** Counts of the snapshot, and how they are after a change. */
function tallyOf(snapshot: Snapshot, keysOf: Counting): (view: NodeView, change: Change) => Tally {
  const base: Tally = new Map();
  for (const { node, pods } of snapshot.nodes) for (const other of pods) add(base, node, keysOf(other), 1);
  return ({ node }, { added, removed }) => {
    if (added.length + removed.length === 0) return base;
    const tally = new Map(base);
    for (const other of added) add(tally, node, keysOf(other), 1);
    for (const other of removed) add(tally, node, keysOf(other), -1);
    return tally;
  };
}

const requiredOf = (pod: Pod, kind: "podAffinity" | "podAntiAffinity"): readonly AffinityTerm[] =>
  pod.spec.affinity?.[kind]?.requiredDuringSchedulingIgnoredDuringExecution ?? [];

function affinityCheck(pod: Pod, terms: readonly AffinityTerm[], snapshot: Snapshot): TopologyCheck {
  const keys = terms.map((term) => term.topologyKey);
  // Who is to be near must be what all terms mean.
  const isWanted = (other: Pod): boolean => terms.every((term) => termMatches(term, pod, other, snapshot));
  const tallyAfter = tallyOf(snapshot, (other) => (isWanted(other) ? keys : []));
  const isOwnKind = isWanted(pod);
  return (view, change) => {
    const tally = tallyAfter(view, change);
    const domains = keys.map((key) => ({ key, domain: domainOf(view.node, key) }));
    const isMet =
      domains.every(({ domain }) => domain !== undefined) &&
      (domains.every(({ key, domain }) => (tally.get(`${key}=${domain}`) ?? 0) > 0) ||
        // The first of a group that wants to be together has nobody to join.
        (tally.size === 0 && isOwnKind));
    return isMet ? undefined : finalObstacle("node(s) didn't match pod affinity rules");
  };
}

function antiAffinityCheck(pod: Pod, terms: readonly AffinityTerm[], snapshot: Snapshot): TopologyCheck {
  const keysOf: Counting = (other) =>
    terms.filter((term) => termMatches(term, pod, other, snapshot)).map((term) => term.topologyKey);
  const tallyAfter = tallyOf(snapshot, keysOf);
  return (view, change) => {
    const tally = tallyAfter(view, change);
    const isMet = terms.some(({ topologyKey: key }) => (tally.get(`${key}=${domainOf(view.node, key)}`) ?? 0) > 0);
    return isMet ? passing("node(s) didn't match pod anti-affinity rules") : undefined;
  };
}

/** Pods that already run may refuse the newcomer's company. */
function existingAntiAffinityCheck(pod: Pod, snapshot: Snapshot): TopologyCheck | undefined {
  const keysOf: Counting = (other) =>
    requiredOf(other, "podAntiAffinity")
      .filter((term) => termMatches(term, other, pod, snapshot))
      .map((term) => term.topologyKey);
  const tallyAfter = tallyOf(snapshot, keysOf);
  const isAny = snapshot.nodes.some(({ pods }) => pods.some((other) => keysOf(other).length > 0));
  // Without a rule of its own and without such a neighbour, upstream does not look at those who are still to come either.
  if (!isAny && requiredOf(pod, "podAffinity").length + requiredOf(pod, "podAntiAffinity").length === 0)
    return undefined;
  return (view, change) => {
    const tally = tallyAfter(view, change);
    const isClosed = Object.entries(view.node.metadata.labels ?? {}).some(
      ([key, value]) => (tally.get(`${key}=${value}`) ?? 0) > 0,
    );
    return isClosed ? passing("node(s) didn't satisfy existing pods anti-affinity rules") : undefined;
  };
}

/** Everything about other pods, computed once for a pod and asked for each node. */
export function topologyCheck(pod: Pod, snapshot: Snapshot): TopologyCheck {
  const spread = (pod.spec.topologySpreadConstraints ?? []).filter(
    (constraint) => constraint.whenUnsatisfiable === "DoNotSchedule",
  );
  const keys = spread.map((constraint) => constraint.topologyKey);
  const together = requiredOf(pod, "podAffinity");
  const apart = requiredOf(pod, "podAntiAffinity");
  const existing = existingAntiAffinityCheck(pod, snapshot);
  const checks = [
    ...spread.map((constraint) => spreadCheck(pod, constraint, keys, snapshot)),
    ...(together.length === 0 ? [] : [affinityCheck(pod, together, snapshot)]),
    ...(apart.length === 0 ? [] : [antiAffinityCheck(pod, apart, snapshot)]),
    ...(existing === undefined ? [] : [existing]),
  ];
  return (view, change) => {
    for (const check of checks) {
      const obstacle = check(view, change);
      if (obstacle !== undefined) return obstacle;
    }
    return undefined;
  };
}
