import type { LabelSelector, Node, Pod } from "../../../kernel/kinds/index.js";
import { nodeTermMatches, tolerates } from "./node-filters.js";
import { allocatable, podRequests, scoredRequests, sumAmounts } from "./requests.js";
import { type AffinityTerm, domainOf, type NodeView, type Snapshot, termMatches } from "./snapshot.js";
import { type Constraint, isIncluded, spreadCount, spreadSelector } from "./topology-filters.js";

/** How good a node is for a pod, and why, in words. */
export interface Score {
  readonly total: number;
  readonly reason: string;
}

/** What nodes are scored on. */
export interface ScoreQuery {
  readonly pod: Pod;
  /** Nodes that can all take the pod. */
  readonly candidates: readonly NodeView[];
  readonly snapshot: Snapshot;
  /** What services and owners say whose pods should be apart where the pod says nothing of it. */
  readonly siblings?: LabelSelector;
}

interface Scorer {
  readonly name: string;
  readonly weight: number;
  /** Points of each candidate, whole numbers from 0 to 100; empty when there is nothing to say. */
  readonly points: (query: ScoreQuery) => readonly number[];
}

const best = 100;

/** As much of 100 as a number is of the largest one. */
function ofLargest(numbers: readonly number[]): readonly number[] {
  const most = Math.max(0, ...numbers);
  return most === 0 ? numbers.map(() => 0) : numbers.map((number) => Math.trunc((best * number) / most));
}

/** Thousandths of cores, whole bytes. */
function wholeAmounts(amounts: ReadonlyMap<string, bigint>): readonly number[] {
  const roundedUp = (nanos: bigint, unit: bigint): number => Number((nanos + unit - 1n) / unit);
  return [roundedUp(amounts.get("cpu") ?? 0n, 1_000_000n), roundedUp(amounts.get("memory") ?? 0n, 1_000_000_000n)];
}

function leastAllocated({ pod, candidates }: ScoreQuery): readonly number[] {
  return candidates.map(({ node, pods }) => {
    const used = wholeAmounts(sumAmounts([...pods, pod].map(scoredRequests)));
    const free = wholeAmounts(allocatable(node)).flatMap((capacity, index) => {
      const left = Math.max(0, capacity - (used[index] ?? 0));
      return capacity === 0 ? [] : [Math.trunc((left * best) / capacity)];
    });
    return free.length === 0 ? 0 : Math.trunc(free.reduce((sum, points) => sum + points, 0) / free.length);
  });
}

function balanced({ pod, candidates }: ScoreQuery): readonly number[] {
  if (wholeAmounts(podRequests(pod)).every((amount) => amount === 0)) return [];
  return candidates.map(({ node, pods }) => {
    const used = wholeAmounts(sumAmounts([...pods, pod].map(podRequests)));
    const fractions = wholeAmounts(allocatable(node)).flatMap((capacity, index) =>
      capacity === 0 ? [] : [Math.min(1, (used[index] ?? 0) / capacity)],
    );
    const [cpu, memory] = fractions;
    const deviation = cpu === undefined || memory === undefined ? 0 : Math.abs((cpu - memory) / 2);
    return Math.trunc((1 - deviation) * best);
  });
}

function preferredNodes({ pod, candidates }: ScoreQuery): readonly number[] {
  const terms = pod.spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return ofLargest(
    candidates.map(({ node }) =>
      terms.reduce((sum, { weight, preference }) => sum + (nodeTermMatches(preference, node) ? weight : 0), 0),
    ),
  );
}

function softTaints({ pod, candidates }: ScoreQuery): readonly number[] {
  const tolerations = (pod.spec.tolerations ?? []).filter(({ effect = "" }) =>
    ["", "PreferNoSchedule"].includes(effect),
  );
  const numbers = candidates.map(
    ({ node }) =>
      (node.spec.taints ?? []).filter(
        (taint) =>
          taint.effect === "PreferNoSchedule" && !tolerations.some((toleration) => tolerates(toleration, taint)),
      ).length,
  );
  return numbers.every((number) => number === 0) ? [] : ofLargest(numbers).map((points) => best - points);
}

interface Weighted {
  readonly weight: number;
  readonly term: AffinityTerm;
}

function preferencesOf(pod: Pod): readonly Weighted[] {
  const { podAffinity, podAntiAffinity } = pod.spec.affinity ?? {};
  const near = podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const far = podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return [
    ...near.map(({ weight, podAffinityTerm: term }) => ({ weight, term })),
    ...far.map(({ weight, podAffinityTerm: term }) => ({ weight: -weight, term })),
  ];
}

/** Whom the pod wants to be near to and far from, and who wants that of it. */
function company({ pod, candidates, snapshot }: ScoreQuery): readonly number[] {
  const scores = new Map<string, Map<string, number>>();
  const count = (node: Node, { term, weight }: Weighted): void => {
    const domain = domainOf(node, term.topologyKey);
    if (domain === undefined) return;
    const domains = scores.get(term.topologyKey) ?? new Map<string, number>();
    scores.set(term.topologyKey, domains.set(domain, (domains.get(domain) ?? 0) + weight));
  };
  const own = preferencesOf(pod);
  for (const { node, pods } of snapshot.nodes)
    for (const other of pods) {
      for (const one of own) if (termMatches(one.term, pod, other, snapshot)) count(node, one);
      const required = other.spec.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
      const theirs = [...required.map((term) => ({ weight: 1, term })), ...preferencesOf(other)];
      for (const one of theirs) if (termMatches(one.term, other, pod, snapshot)) count(node, one);
    }
  if (scores.size === 0) return [];
  const numbers = candidates.map(({ node }) =>
    [...scores].reduce((sum, [key, domains]) => sum + (domains.get(domainOf(node, key) ?? "\u0000") ?? 0), 0),
  );
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return numbers.map((number) => (most === least ? 0 : Math.trunc(best * ((number - least) / (most - least)))));
}

const hostname = "kubernetes.io/hostname";

/** How pods of the same services or owner are spread where nothing else is said. */
const usualSpread: readonly Pick<Constraint, "maxSkew" | "topologyKey" | "whenUnsatisfiable">[] = [
  { maxSkew: 5, topologyKey: hostname, whenUnsatisfiable: "ScheduleAnyway" },
  { maxSkew: 3, topologyKey: "topology.kubernetes.io/zone", whenUnsatisfiable: "ScheduleAnyway" },
];

function softConstraints({ pod, siblings }: ScoreQuery): readonly Constraint[] {
  const own = pod.spec.topologySpreadConstraints ?? [];
  if (own.length > 0) return own.filter(({ whenUnsatisfiable }) => whenUnsatisfiable === "ScheduleAnyway");
  return siblings === undefined ? [] : usualSpread.map((one) => ({ ...one, labelSelector: siblings }));
}

/** Pods that a constraint counts in the domain of a candidate. */
function counterOf(constraint: Constraint, counted: readonly NodeView[], { pod, candidates }: ScoreQuery) {
  const { topologyKey } = constraint;
  const selector = spreadSelector(constraint, pod);
  if (topologyKey === hostname) return ({ pods }: NodeView): number => spreadCount(selector, pod, pods);
  const domains = new Map<string, number>(candidates.map(({ node }) => [domainOf(node, topologyKey) ?? "", 0]));
  for (const { node, pods } of counted) {
    const domain = domainOf(node, topologyKey) ?? "";
    const before = domains.get(domain);
    if (before !== undefined && isIncluded(constraint, pod, node))
      domains.set(domain, before + spreadCount(selector, pod, pods));
  }
  return ({ node }: NodeView): number => domains.get(domainOf(node, topologyKey) ?? "") ?? 0;
}

function spread(query: ScoreQuery): readonly number[] {
  const { pod, candidates, snapshot } = query;
  const constraints = softConstraints(query);
  if (constraints.length === 0) return [];
  const isOwn = (pod.spec.topologySpreadConstraints ?? []).length > 0;
  const keys = constraints.map(({ topologyKey }) => topologyKey);
  const hasAll = ({ node }: NodeView): boolean => !isOwn || keys.every((key) => domainOf(node, key) !== undefined);
  const scored = candidates.filter(hasAll);
  const parts = constraints.map((constraint) => {
    const key = constraint.topologyKey;
    const size = key === hostname ? scored.length : new Set(scored.map(({ node }) => domainOf(node, key) ?? "")).size;
    const counter = counterOf(constraint, snapshot.nodes.filter(hasAll), { ...query, candidates: scored });
    return { key, maxSkew: constraint.maxSkew, counter, weight: Math.log(size + 2) };
  });
  const rateOf = (view: NodeView): number =>
    parts.reduce((sum, { key, maxSkew, counter, weight }) => {
      if (domainOf(view.node, key) === undefined) return sum;
      return sum + counter(view) * weight + (maxSkew - 1);
    }, 0);
  const rates = new Map(scored.map((view) => [view, Math.round(rateOf(view))]));
  const [least, most] = [Math.min(...rates.values()), Math.max(0, ...rates.values())];
  return candidates.map((view) => {
    const rate = rates.get(view);
    if (rate === undefined) return 0;
    return most === 0 ? best : Math.trunc((best * (most + least - rate)) / most);
  });
}

const mebibyte = 1024 * 1024;
const [fewBytes, manyBytes] = [23 * mebibyte, 1000 * mebibyte];

/** An image as nodes report it. */
function nameOf(image: string): string {
  return image.lastIndexOf(":") <= image.lastIndexOf("/") ? `${image}:latest` : image;
}

/** Images that lie on the node already, worth more where many nodes have them. */
function images({ pod, candidates, snapshot }: ScoreQuery): readonly number[] {
  const holders = new Map<string, number>();
  for (const { node } of snapshot.nodes)
    for (const name of new Set((node.status?.images ?? []).flatMap(({ names = [] }) => names)))
      holders.set(name, (holders.get(name) ?? 0) + 1);
  if (holders.size === 0) return [];
  const containers = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  const wanted = containers.map(({ image = "" }) => nameOf(image));
  return candidates.map(({ node }) => {
    const sum = wanted.reduce((total, name) => {
      const found = node.status?.images?.findLast(({ names = [] }) => names.includes(name));
      const share = (holders.get(name) ?? 0) / snapshot.nodes.length;
      return total + Math.trunc((found?.sizeBytes ?? 0) * share);
    }, 0);
    const most = manyBytes * wanted.length;
    return Math.trunc((best * (Math.min(most, Math.max(fewBytes, sum)) - fewBytes)) / (most - fewBytes));
  });
}

const scorers: readonly Scorer[] = [
  { name: "soft taints", weight: 3, points: softTaints },
  { name: "preferred nodes", weight: 2, points: preferredNodes },
  { name: "free resources", weight: 1, points: leastAllocated },
  { name: "spread", weight: 2, points: spread },
  { name: "company", weight: 2, points: company },
  { name: "balance", weight: 1, points: balanced },
  { name: "images", weight: 1, points: images },
];

/** Scores nodes as upstream's default plugins do. */
export function scoreNodes(query: ScoreQuery): readonly Score[] {
  const columns = scorers.map(({ name, weight, points }) => ({
    name,
    points: points(query).map((one) => one * weight),
  }));
  return query.candidates.map((_view, index) => {
    const parts = columns
      .map(({ name, points }) => ({ name, points: points[index] ?? 0 }))
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
