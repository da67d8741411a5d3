import type { Candidate } from "./divide.js";
import type { ClusterFacts, SpreadConstraint } from "./types.js";

/** Best first: score, then room, then name. */
export function ranked(candidates: readonly Candidate[]): Candidate[] {
  return [...candidates].sort(
    (a, b) => b.score - a.score || b.room - a.room || (a.cluster.name < b.cluster.name ? -1 : 1),
  );
}

/** The clusters that keep to the constraints, or why there are none. With as many groups as are allowed. */
export function selectSpread(
  candidates: readonly Candidate[],
  constraints: readonly SpreadConstraint[],
): { readonly selected: readonly Candidate[] } | { readonly fault: string } {
  const order = ranked(candidates);
  const byCluster = constraints.find(isByCluster);
  const groupings = constraints.filter((constraint) => !isByCluster(constraint));
  const least = byCluster?.minGroups ?? 1;
  const most = byCluster?.maxGroups ?? 0;
  if (byCluster !== undefined && order.length < least)
    return { fault: "the number of feasible clusters is less than spreadConstraint.MinGroups" };
  let pool = order;
  for (const constraint of groupings) {
    const chosen = chooseGroups(pool, constraint, { least, most: most === 0 ? pool.length : most });
    if ("fault" in chosen) return chosen;
    pool = chosen.pool;
  }
  const selected = most === 0 ? pool : coverGroups(pool, groupings, most);
  const broken = groupings.find((constraint) => groupsOf(selected, constraint).size < (constraint.minGroups ?? 1));
  if (broken !== undefined)
    return { fault: `no ${most} clusters cover ${broken.minGroups ?? 1} groups by ${keyOf(broken)}` };
  return selected.length < least
    ? { fault: "the number of clusters is less than the cluster spreadConstraint.MinGroups" }
    : { selected };
}

const isByCluster = ({ spreadByField, spreadByLabel }: SpreadConstraint): boolean =>
  spreadByLabel === undefined && (spreadByField === undefined || spreadByField === "cluster");

const keyOf = ({ spreadByField, spreadByLabel }: SpreadConstraint): string =>
  spreadByLabel === undefined ? (spreadByField ?? "cluster") : `label ${spreadByLabel}`;

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

function groupsOf(candidates: readonly Candidate[], constraint: SpreadConstraint): Map<string, Candidate[]> {
  const groups = new Map<string, Candidate[]>();
  for (const candidate of candidates)
    for (const name of groupNames(candidate.cluster, constraint))
      groups.set(name, [...(groups.get(name) ?? []), candidate]);
  return groups;
}

function chooseGroups(
  pool: readonly Candidate[],
  constraint: SpreadConstraint,
  clusters: { readonly least: number; readonly most: number },
): { readonly pool: Candidate[] } | { readonly fault: string } {
  const groups = groupsOf(pool, constraint);
  const least = constraint.minGroups ?? 1;
  if (groups.size < least)
    return { fault: `the number of feasible ${keyOf(constraint)} is less than spreadConstraint.MinGroups` };
  const allowed = constraint.maxGroups === undefined || constraint.maxGroups === 0 ? groups.size : constraint.maxGroups;
  const best = [...groups].sort(
    ([a, first], [b, second]) => worthOf(second, clusters) - worthOf(first, clusters) || (a < b ? -1 : 1),
  );
  for (let count = Math.min(allowed, groups.size, clusters.most); count >= least; count--) {
    const members = new Set(best.slice(0, count).flatMap(([, each]) => each));
    if (members.size >= clusters.least) return { pool: pool.filter((candidate) => members.has(candidate)) };
  }
  return { fault: "the number of clusters is less than the cluster spreadConstraint.MinGroups" };
}

/** Groups with enough clusters first, then score, then room. */
function worthOf(group: readonly Candidate[], { least }: { readonly least: number }): number {
  const count = Math.min(group.length, least);
  const score = group.reduce((sum, candidate) => sum + candidate.score, 0) / group.length;
  const room = Math.min(
    999_999,
    group.reduce((sum, candidate) => sum + Math.min(candidate.room, 1_000_000), 0),
  );
  return count * 1e9 + score * 1e6 + room;
}

/** The best clusters, one of each group first, so that no chosen group is left without. */
function coverGroups(pool: readonly Candidate[], groupings: readonly SpreadConstraint[], most: number): Candidate[] {
  const taken = new Set<Candidate>();
  for (const constraint of groupings) {
    for (const group of groupsOf(pool, constraint).values()) {
      const [first] = group;
      if (first !== undefined && taken.size < most && !group.some((candidate) => taken.has(candidate)))
        taken.add(first);
    }
  }
  for (const candidate of pool) if (taken.size < most) taken.add(candidate);
  return pool.filter((candidate) => taken.has(candidate));
}
