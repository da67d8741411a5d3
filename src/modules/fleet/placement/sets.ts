import { UNKNOWN_ROOM } from "./capacity.js";
import type { ClusterCapacity, ClusterFacts, WorkloadSet } from "./types.js";

type Amounts = ReadonlyMap<string, bigint>;
interface NodeGroup {
  readonly free: Amounts;
  count: number;
}

/**
 * How many whole sets a cluster has room for: by free pods and by what is free in sum; none where, by grades of nodes, not even one fits node by
 * node.
 */
export function setsFor({ capacity }: ClusterFacts, set: WorkloadSet): number {
  if (capacity === undefined) return UNKNOWN_ROOM;
  if (set.pods === 0) return UNKNOWN_ROOM;
  const bounds = [...set.requests]
    .filter(([, milli]) => milli > 0n)
    .map(([name, milli]) => Number((capacity.free.get(name) ?? 0n) / milli));
  const pods = Math.floor(Number((capacity.free.get("pods") ?? 0n) / 1000n) / set.pods);
  return capacity.grades.length > 0 && !fitsNodes(capacity, set) ? 0 : Math.min(pods, ...bounds);
}

/** The same, less what is given away already. */
export function setsLeft(cluster: ClusterFacts, set: WorkloadSet, exceptUid: string): number {
  const room = setsFor(cluster, set);
  const { promised } = cluster;
  if (cluster.capacity === undefined || promised === undefined || promised.isEmpty) return room;
  return Math.max(0, room - promised.taken(set.requests, exceptUid).replicas);
}

/** Whether one set fits, the largest pods first, each where it leaves least. A node counts as the least that its grade promises. */
function fitsNodes({ grades }: ClusterCapacity, { parts }: WorkloadSet): boolean {
  const known = new Set(grades.flatMap(({ leastFree }) => [...leastFree.keys()]));
  let groups: NodeGroup[] = grades.map(({ leastFree, nodes }) => ({ free: leastFree, count: nodes }));
  const sizeOf = (requests: Amounts): bigint => [...requests.values()].reduce((sum, milli) => sum + milli, 0n);
  for (const { replicas, requests } of parts.toSorted((a, b) => (sizeOf(a.requests) < sizeOf(b.requests) ? 1 : -1))) {
    const asked = [...requests].filter(([name, milli]) => milli > 0n && known.has(name));
    if (asked.length === 0) continue;
    for (let left = replicas; left > 0; ) {
      const fitting = groups.filter(
        ({ free, count }) => count > 0 && asked.every(([name, milli]) => (free.get(name) ?? 0n) >= milli),
      );
      const [best] = fitting.sort((a, b) => (sizeOf(a.free) < sizeOf(b.free) ? -1 : 1));
      if (best === undefined) return false;
      // As many as go into one of these nodes, in as many of them as are needed.
      const each = Math.min(...asked.map(([name, milli]) => Number((best.free.get(name) ?? 0n) / milli)));
      const nodes = left < each ? 1 : Math.min(best.count, Math.floor(left / each));
      const taken = BigInt(Math.min(left, each));
      const rest = new Map(best.free);
      for (const [name, milli] of asked) rest.set(name, (rest.get(name) ?? 0n) - milli * taken);
      best.count -= nodes;
      groups = [...groups.filter(({ count }) => count > 0), { free: rest, count: nodes }];
      left -= nodes * Number(taken);
    }
  }
  return true;
}
