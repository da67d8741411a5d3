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
  if (capacity.grades.length === 0) return Math.min(pods, roomInSum(capacity, requests));
  const asked = [...requests].filter(([, milli]) => milli > 0n);
  return asked.length === 0 ? pods : Math.min(pods, roomByGrades(capacity, asked));
}

/** The same, less what is given away already; of the object `exceptUid` itself nothing is. `room` is what it has room for. */
export function roomLeft(
  cluster: ClusterFacts,
  requests: Demand["requests"],
  exceptUid: string,
  room = roomFor(cluster, requests),
): number {
  const { capacity, promised } = cluster;
  if (capacity === undefined || promised === undefined || promised.isEmpty) return room;
  const taken = promised.taken(requests, exceptUid);
  const pods = Number((capacity.free.get("pods") ?? 0n) / 1000n);
  return Math.max(0, Math.min(pods - taken.pods, room - taken.replicas));
}

/** `Infinity` where nothing is asked for. */
function roomInSum({ free }: ClusterCapacity, asked: Iterable<readonly [string, bigint]>): number {
  let room = Number.POSITIVE_INFINITY;
  for (const [name, milli] of asked) {
    if (milli > 0n) room = Math.min(room, Number((free.get(name) ?? 0n) / milli));
  }
  return room;
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
