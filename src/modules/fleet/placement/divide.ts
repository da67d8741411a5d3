import { affinityMatches } from "./affinity.js";
import { UNKNOWN_ROOM } from "./capacity.js";
import { fnv1a } from "./hash.js";
import type { ClusterFacts, Demand, ReplicaScheduling, Target } from "./types.js";

/** A cluster that passed the filters. */
export interface Candidate {
  readonly cluster: ClusterFacts;
  readonly score: number;
  readonly room: number;
  /** Of that, what is not given away already. */
  readonly left: number;
}

/** Who gets how many, and by which rule; or why they cannot be divided. */
export type Division =
  | { readonly targets: readonly Target[]; readonly rule: string }
  | { readonly fault: string; readonly rule: string };

/**
 * Webster's method (Sainte-Laguë): each seat goes to the greatest votes/(2·seats+1). Of equal quotients the party with fewer
 * seats is first, then the name, ascending or descending.
 */
export function webster(seats: number, votes: ReadonlyMap<string, number>, isDescending: boolean): Map<string, number> {
  const won = new Map([...votes].filter(([, weight]) => weight > 0).map(([name]) => [name, 0]));
  const names = [...won.keys()].sort();
  if (isDescending) names.reverse();
  for (let seat = 0; seat < seats && names.length > 0; seat++) {
    let best = names[0] ?? "";
    for (const name of names) if (isBefore(name, best, votes, won)) best = name;
    won.set(best, (won.get(best) ?? 0) + 1);
  }
  return won;
}

function isBefore(
  name: string,
  best: string,
  votes: ReadonlyMap<string, number>,
  won: ReadonlyMap<string, number>,
): boolean {
  const [seats, bestSeats] = [won.get(name) ?? 0, won.get(best) ?? 0];
  const difference = (votes.get(name) ?? 0) * (2 * bestSeats + 1) - (votes.get(best) ?? 0) * (2 * seats + 1);
  return difference > 0 || (difference === 0 && seats < bestSeats);
}

/** Divides the replicas of a demand over the candidates, in their order. */
export function divide(
  demand: Demand,
  candidates: readonly Candidate[],
  scheduling: ReplicaScheduling | undefined,
): Division {
  const { replicas } = demand;
  const { replicaSchedulingType = "Duplicated", replicaDivisionPreference, weightPreference } = scheduling ?? {};
  if (replicas === undefined || replicas === 0)
    return {
      targets: candidates.map(({ cluster }) => ({
        name: cluster.name,
        replicas: replicas === undefined ? undefined : 0,
      })),
      rule:
        demand.set === undefined
          ? replicas === undefined
            ? "all that fit: the kind has no replicas"
            : "all that fit: no replicas are wanted"
          : `whole: ${demand.set.pods} pods of ${demand.set.parts.length} components are not divided`,
    };
  if (replicaSchedulingType === "Duplicated")
    return { targets: candidates.map(({ cluster }) => ({ name: cluster.name, replicas })), rule: "Duplicated" };
  if (replicaDivisionPreference === "Aggregated") return byRoom(demand, replicas, candidates, true);
  if (weightPreference?.dynamicWeight === "AvailableReplicas") return byRoom(demand, replicas, candidates, false);
  return byStaticWeights(demand, replicas, candidates, weightPreference?.staticWeightList ?? []);
}

function byStaticWeights(
  demand: Demand,
  replicas: number,
  candidates: readonly Candidate[],
  list: NonNullable<NonNullable<ReplicaScheduling["weightPreference"]>["staticWeightList"]>,
): Division {
  const weights = new Map<string, number>();
  for (const { cluster } of candidates) {
    const own = list.filter(({ targetCluster }) => affinityMatches(targetCluster, cluster)).map(({ weight }) => weight);
    weights.set(cluster.name, Math.max(0, ...own));
  }
  const nobody = [...weights.values()].every((weight) => weight === 0);
  if (nobody) for (const name of weights.keys()) weights.set(name, 1);
  const won = webster(replicas, weights, isOdd(demand));
  return {
    targets: inOrder(candidates, won),
    rule: nobody ? "static weights: no rule matches, all weigh the same" : `static weights ${sayWeights(weights)}`,
  };
}

/** Steady: an increment is divided by room, a decrement by what is held. Fresh: everything by room, what is held counted as room. */
function byRoom(demand: Demand, replicas: number, candidates: readonly Candidate[], isAggregated: boolean): Division {
  const name = isAggregated ? "Aggregated" : "dynamic weights";
  const names = new Set(candidates.map(({ cluster }) => cluster.name));
  const held = new Map(
    demand.assigned.filter((target) => names.has(target.name)).map((target) => [target.name, target.replicas ?? 0]),
  );
  const before = [...held.values()].reduce((sum, count) => sum + count, 0);
  const told = (room: number): number => (room === UNKNOWN_ROOM ? replicas : room);
  const rooms = new Map(candidates.map(({ cluster, room }) => [cluster.name, told(room)]));
  const left = new Map(candidates.map((candidate) => [candidate.cluster.name, told(candidate.left)]));
  if (demand.isFresh) {
    for (const known of [rooms, left])
      for (const [cluster, count] of held) known.set(cluster, (known.get(cluster) ?? 0) + count);
    return spreadOver(demand, replicas, rooms, {
      candidates,
      left,
      held: new Map(),
      isAggregated,
      rule: `${name}, computed anew`,
    });
  }
  if (replicas < before) {
    // They are drawn together where they are to be together.
    const weights = isAggregated ? shortestPrefix(replicas, held, new Map()) : held;
    const won = webster(replicas, weights, isOdd(demand));
    return {
      targets: inOrder(candidates, won),
      rule: `${name}: fewer than before, by what each holds ${sayWeights(weights)}`,
    };
  }
  if (replicas === before) return { targets: inOrder(candidates, held), rule: `${name}: as before` };
  return spreadOver(demand, replicas - before, rooms, { candidates, left, held, isAggregated, rule: name });
}

/** By all the room that clusters tell of, unless that would give away what is promised: then by what is left. */
function spreadOver(
  demand: Demand,
  count: number,
  rooms: ReadonlyMap<string, number>,
  how: {
    readonly candidates: readonly Candidate[];
    readonly left: ReadonlyMap<string, number>;
    readonly held: ReadonlyMap<string, number>;
    readonly isAggregated: boolean;
    readonly rule: string;
  },
): Division {
  const total = [...rooms.values()].reduce((sum, room) => sum + room, 0);
  if (total < count)
    return {
      fault: `failed to ${demand.isFresh ? "do fresh scale" : "scale up"}: Clusters available replicas ${total} are not enough to schedule.`,
      rule: how.rule,
    };
  const weights = how.isAggregated ? shortestPrefix(count, rooms, how.held) : rooms;
  const won = webster(count, weights, isOdd(demand));
  const isGivenAway = ([cluster, seats]: [string, number]): boolean => {
    const free = how.left.get(cluster) ?? 0;
    return free < (rooms.get(cluster) ?? 0) && seats > free;
  };
  if ([...won].some(isGivenAway))
    return spreadOver(demand, count, how.left, { ...how, rule: `${how.rule}, without what is promised to others` });
  const sum = new Map(how.held);
  for (const [cluster, seats] of won) sum.set(cluster, (sum.get(cluster) ?? 0) + seats);
  return { targets: inOrder(how.candidates, sum), rule: `${how.rule} ${sayWeights(weights)}` };
}

/** Clusters that hold some already come first, then those with most room; as few as hold the number. */
function shortestPrefix(
  count: number,
  rooms: ReadonlyMap<string, number>,
  held: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const isHolder = (name: string): number => ((held.get(name) ?? 0) > 0 ? 1 : 0);
  const ordered = [...rooms].sort(
    ([a, roomA], [b, roomB]) =>
      isHolder(b) - isHolder(a) || roomB - roomA || (held.get(b) ?? 0) - (held.get(a) ?? 0) || (a < b ? -1 : 1),
  );
  const taken = new Map<string, number>();
  let sum = 0;
  for (const [name, room] of ordered) {
    if (sum >= count) break;
    taken.set(name, room);
    sum += room;
  }
  return taken;
}

const isOdd = (demand: Demand): boolean => fnv1a(demand.uid) % 2 === 1;

/** By name. Clusters without a replica are left out. */
function inOrder(candidates: readonly Candidate[], counts: ReadonlyMap<string, number>): Target[] {
  return candidates
    .map(({ cluster }) => ({ name: cluster.name, replicas: counts.get(cluster.name) ?? 0 }))
    .filter(({ replicas }) => replicas > 0)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

const sayWeights = (weights: ReadonlyMap<string, number>): string =>
  `(${[...weights].map(([name, weight]) => `${name} ${weight}`).join(", ")})`;
