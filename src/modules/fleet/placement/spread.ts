import type { Candidate } from "./divide.js";
import { type Ranked, ranked } from "./rank.js";
import { chooseGroups, type Group, worthOf } from "./spread-groups.js";
import type { ClusterFacts, Demand, Placement, SpreadConstraint } from "./types.js";

/** The clusters that keep to the constraints, best first, or why there are none. */
export function selectSpread(
  candidates: readonly Candidate[],
  { spreadConstraints: constraints = [], replicaScheduling }: Placement,
  demand: Demand,
): { readonly selected: readonly Candidate[] } | { readonly fault: string } {
  const order = ranked(candidates, demand);
  const byCluster = constraints.find(isByCluster);
  const groupings = constraints.filter((constraint) => !isByCluster(constraint));
  const least = byCluster?.minGroups ?? 1;
  const most = limitOf(byCluster) ?? order.length;
  if (byCluster !== undefined && groupings.length === 0 && order.length < least)
    return { fault: "the number of feasible clusters is less than spreadConstraint.MinGroups" };
  const isDivided = replicaScheduling?.replicaSchedulingType === "Divided";
  const { replicaDivisionPreference: preference, weightPreference } = replicaScheduling ?? {};
  const isByRoom = isDivided && (preference === "Aggregated" || weightPreference?.dynamicWeight !== undefined);
  const replicas = demand.replicas ?? 0;
  if (groupings.length === 0) {
    const chosen = order.slice(0, most);
    const count = chosen.length;
    const enough = isByRoom && byCluster !== undefined ? withRoom(chosen, order.slice(most), replicas) : chosen;
    return enough === undefined
      ? { fault: `no enough resource when selecting ${count} clusters` }
      : { selected: enough.map(({ candidate }) => candidate) };
  }
  let pool = order;
  for (const constraint of groupings) {
    const chosen = inBestGroups(pool, constraint, { least, most, replicas, isDivided });
    if ("fault" in chosen) return chosen;
    pool = chosen.pool;
  }
  const selected = coverGroups(pool, groupings, most);
  const broken = groupings.find((constraint) => groupsOf(selected, constraint).size < (constraint.minGroups ?? 1));
  if (broken !== undefined)
    return { fault: `no ${most} clusters cover ${broken.minGroups ?? 1} groups by ${keyOf(broken)}` };
  return selected.length < least
    ? { fault: "the number of clusters is less than the cluster spreadConstraint.MinGroups" }
    : { selected: selected.map(({ candidate }) => candidate) };
}

const isByCluster = ({ spreadByField, spreadByLabel }: SpreadConstraint): boolean =>
  spreadByLabel === undefined && (spreadByField === undefined || spreadByField === "cluster");

/** How many groups at most; `undefined`: any number. */
const limitOf = (constraint: SpreadConstraint | undefined): number | undefined =>
  constraint?.maxGroups === 0 ? undefined : constraint?.maxGroups;

const keyOf = ({ spreadByField, spreadByLabel }: SpreadConstraint): string =>
  spreadByLabel === undefined ? (spreadByField ?? "cluster") : `label ${spreadByLabel}`;

/** The chosen ones, the least of them given up, from the last on, for those with more room, until all replicas have room. */
function withRoom(chosen: readonly Ranked[], others: readonly Ranked[], replicas: number): Ranked[] | undefined {
  const [taken, rest] = [[...chosen], [...others]];
  const isEnough = (): boolean => taken.reduce((sum, { available }) => sum + available, 0) >= replicas;
  for (let at = taken.length - 1; at >= 0 && !isEnough(); at -= 1) {
    const current = taken[at];
    if (current === undefined) break;
    const most = Math.max(0, ...rest.map(({ available }) => available));
    const index = rest.findIndex(({ available }) => available === most);
    const better = rest[index];
    if (better === undefined || better.available <= current.available) continue;
    taken[at] = better;
    rest[index] = current;
  }
  return isEnough() ? taken : undefined;
}

/** The groups that a cluster is in; a cluster with several zones is in each. None: it cannot be counted. */
function groupNames(cluster: ClusterFacts, { spreadByField, spreadByLabel }: SpreadConstraint): readonly string[] {
  if (spreadByLabel !== undefined) {
    const value = cluster.labels[spreadByLabel];
    return value === undefined ? [] : [value];
  }
  if (spreadByField === "zone") return cluster.zones;
  const value = spreadByField === "provider" ? cluster.provider : cluster.region;
  return value === "" ? [] : [value];
}

function groupsOf(pool: readonly Ranked[], constraint: SpreadConstraint): Map<string, Ranked[]> {
  const groups = new Map<string, Ranked[]>();
  for (const one of pool)
    for (const name of groupNames(one.candidate.cluster, constraint)) {
      const members = groups.get(name);
      if (members === undefined) groups.set(name, [one]);
      else members.push(one);
    }
  return groups;
}

function inBestGroups(
  pool: readonly Ranked[],
  constraint: SpreadConstraint,
  wanted: { readonly least: number; readonly most: number; readonly replicas: number; readonly isDivided: boolean },
): { readonly pool: Ranked[] } | { readonly fault: string } {
  const { replicas, isDivided } = wanted;
  const found = groupsOf(pool, constraint);
  const minGroups = constraint.minGroups ?? 1;
  if (found.size < minGroups)
    return { fault: `the number of feasible ${keyOf(constraint)} is less than spreadConstraint.MinGroups` };
  const asked = { replicas, isDivided, minGroups, minClusters: wanted.least };
  const groups = [...found].map(([name, members]): Group => ({ name, members, worth: worthOf(members, asked) }));
  const most = Math.max(minGroups, Math.min(limitOf(constraint) ?? groups.length, wanted.most));
  const chosen = chooseGroups(groups, { least: minGroups, most, clusters: wanted.least });
  if (chosen === undefined)
    return { fault: "the number of clusters is less than the cluster spreadConstraint.MinGroups" };
  const members = new Set(chosen.flatMap((group) => group.members));
  return { pool: pool.filter((one) => members.has(one)) };
}

/** The best clusters, one of each group first, so that no chosen group is left without. */
function coverGroups(pool: readonly Ranked[], groupings: readonly SpreadConstraint[], most: number): Ranked[] {
  const taken = new Set<Ranked>();
  for (const constraint of groupings) {
    for (const group of groupsOf(pool, constraint).values()) {
      const [first] = group;
      if (first !== undefined && taken.size < most && !group.some((one) => taken.has(one))) taken.add(first);
    }
  }
  for (const one of pool) if (taken.size < most) taken.add(one);
  return pool.filter((one) => taken.has(one));
}
