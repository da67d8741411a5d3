import type { ClusterCapacity, ClusterFacts, Demand } from "./types.js";

/** Where a cluster told nothing of its room. */
export const UNKNOWN_ROOM = Number.MAX_SAFE_INTEGER;

/**
 * How many replicas a cluster has room for, by what it told of itself: free pods, and by grade of nodes (or, without grades, in
 * sum) the requests of a replica. A node counts as the least that its grade promises.
 */
export function roomFor(cluster: ClusterFacts, requests: Demand["requests"]): number {
  const { capacity } = cluster;
  if (capacity === undefined) return UNKNOWN_ROOM;
  const pods = Number((capacity.free.get("pods") ?? 0n) / 1000n);
  const asked = [...requests].filter(([, milli]) => milli > 0n);
  if (asked.length === 0) return pods;
  return Math.min(pods, capacity.grades.length > 0 ? roomByGrades(capacity, asked) : roomInSum(capacity, asked));
}

/** The same, less what is given away already; of the object `exceptUid` itself nothing is. */
export function roomLeft(cluster: ClusterFacts, requests: Demand["requests"], exceptUid: string): number {
  const room = roomFor(cluster, requests);
  const { capacity, promised } = cluster;
  if (capacity === undefined || promised === undefined || promised.isEmpty) return room;
  const taken = promised.taken(requests, exceptUid);
  const pods = Number((capacity.free.get("pods") ?? 0n) / 1000n);
  return Math.max(0, Math.min(pods - taken.pods, room - taken.replicas));
}

function roomInSum({ free }: ClusterCapacity, asked: readonly (readonly [string, bigint])[]): number {
  return Math.min(...asked.map(([name, milli]) => Number((free.get(name) ?? 0n) / milli)));
}

function roomByGrades(capacity: ClusterCapacity, asked: readonly (readonly [string, bigint])[]): number {
  const known = asked.filter(([name]) => capacity.grades.some(({ leastFree }) => leastFree.has(name)));
  const others = asked.filter(([name]) => !known.some(([each]) => each === name));
  let room = 0;
  for (const { leastFree, nodes } of capacity.grades) {
    if (nodes === 0) continue;
    room += nodes * Math.min(...known.map(([name, milli]) => Number((leastFree.get(name) ?? 0n) / milli)));
  }
  // Resources that grades say nothing of (accelerators) are known in sum only.
  if (known.length === 0) return roomInSum(capacity, others);
  return others.length === 0 ? room : Math.min(room, roomInSum(capacity, others));
}
