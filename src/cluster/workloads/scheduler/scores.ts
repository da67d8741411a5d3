import { controllerOf, type Pod } from "../../../kernel/kinds/index.js";
import { nodeTermMatches, taintsOf, tolerates } from "./node-filters.js";
import { allocatable, scoredRequests, sumAmounts } from "./requests.js";
import { countByDomain, domainOf, type NodeView, type Snapshot, termMatches } from "./snapshot.js";
import { spreadMatches } from "./topology-filters.js";

/** How good a node is for a pod, and why, in words. */
export interface Score {
  readonly total: number;
  readonly reason: string;
}

interface Scorer {
  readonly name: string;
  readonly weight: number;
  /** Any numbers, more is better; scaled to 0…100 over the nodes unless `isScaled`. */
  readonly rate: (view: NodeView) => number;
  readonly isScaled?: boolean;
}

const best = 100;

function usage(pod: Pod, { node, pods }: NodeView): readonly number[] {
  const has = allocatable(node);
  const used = sumAmounts([...pods, pod].map(scoredRequests));
  return ["cpu", "memory"].map((name) => {
    const capacity = Number(has.get(name) ?? 0n);
    return capacity === 0 ? 1 : Math.min(1, Number(used.get(name) ?? 0n) / capacity);
  });
}

function leastAllocated(pod: Pod, view: NodeView): number {
  const fractions = usage(pod, view);
  return (best * fractions.reduce((sum, fraction) => sum + (1 - fraction), 0)) / fractions.length;
}

function balanced(pod: Pod, view: NodeView): number {
  const [cpu = 0, memory = 0] = usage(pod, view);
  return best * (1 - Math.abs(cpu - memory) / 2);
}

function preferredNode(pod: Pod, { node }: NodeView): number {
  const terms = pod.spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.reduce((sum, { weight, preference }) => sum + (nodeTermMatches(preference, node) ? weight : 0), 0);
}

function softTaints(pod: Pod, { node }: NodeView): number {
  const tolerations = pod.spec.tolerations ?? [];
  return -taintsOf(node).filter(
    (taint) => taint.effect === "PreferNoSchedule" && !tolerations.some((toleration) => tolerates(toleration, taint)),
  ).length;
}

function company(pod: Pod, snapshot: Snapshot): (view: NodeView) => number {
  const { podAffinity, podAntiAffinity } = pod.spec.affinity ?? {};
  const terms = [
    ...(podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []),
    ...(podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ weight, podAffinityTerm }) => ({
      weight: -weight,
      podAffinityTerm,
    })),
  ].map(({ weight, podAffinityTerm: term }) => ({
    weight,
    key: term.topologyKey,
    counts: countByDomain(snapshot.nodes, term.topologyKey, (other) => termMatches(term, pod, other, snapshot)),
  }));
  return ({ node }) =>
    terms.reduce((sum, { weight, key, counts }) => sum + weight * (counts.get(domainOf(node, key) ?? "") ?? 0), 0);
}

/** Soft spread constraints, or, without any, pods of the same owner apart from each other. */
function spread(pod: Pod, snapshot: Snapshot): (view: NodeView) => number {
  const soft = (pod.spec.topologySpreadConstraints ?? []).filter(
    (constraint) => constraint.whenUnsatisfiable === "ScheduleAnyway",
  );
  const counted = soft.map((constraint) => ({
    key: constraint.topologyKey,
    counts: countByDomain(snapshot.nodes, constraint.topologyKey, spreadMatches(constraint, pod)),
  }));
  if (counted.length > 0)
    return ({ node }) =>
      -counted.reduce((sum, { key, counts }) => sum + (counts.get(domainOf(node, key) ?? "") ?? 0), 0);
  const owner = controllerOf(pod)?.uid;
  return ({ pods }) => (owner === undefined ? 0 : -pods.filter((other) => controllerOf(other)?.uid === owner).length);
}

function scorersFor(pod: Pod, snapshot: Snapshot): readonly Scorer[] {
  return [
    { name: "free resources", weight: 1, rate: (view) => leastAllocated(pod, view), isScaled: true },
    { name: "balance", weight: 1, rate: (view) => balanced(pod, view), isScaled: true },
    { name: "soft taints", weight: 3, rate: (view) => softTaints(pod, view) },
    { name: "preferred nodes", weight: 2, rate: (view) => preferredNode(pod, view) },
    { name: "company", weight: 2, rate: company(pod, snapshot) },
    { name: "spread", weight: 2, rate: spread(pod, snapshot) },
  ];
}

/** Scores nodes that can all take the pod. */
export function scoreNodes(pod: Pod, candidates: readonly NodeView[], snapshot: Snapshot): readonly Score[] {
  const columns = scorersFor(pod, snapshot).map((scorer) => {
    const rates = candidates.map(scorer.rate);
    const least = Math.min(...rates);
    const most = Math.max(...rates);
    // Where all nodes are alike the scorer has nothing to say.
    const scaled =
      scorer.isScaled === true
        ? rates
        : rates.map((rate) => (most === least ? 0 : (best * (rate - least)) / (most - least)));
    return { scorer, points: scaled.map((points) => Math.round(points) * scorer.weight) };
  });
  return candidates.map((_view, index) => {
    const parts = columns
      .map(({ scorer, points }) => ({ name: scorer.name, points: points[index] ?? 0 }))
      .filter(({ points }) => points !== 0);
    return {
      total: parts.reduce((sum, { points }) => sum + points, 0),
      reason:
        parts.length === 0
          ? "nothing speaks for or against it"
          : parts.map(({ name, points }) => `${name} ${points}`).join(", "),
    };
  });
}
