import { UNKNOWN_ROOM } from "./capacity.js";
import type { Candidate } from "./divide.js";
import type { Demand } from "./types.js";

/** A candidate, and how many replicas it has or could have. */
export interface Ranked {
  readonly candidate: Candidate;
  readonly available: number;
}

/** Best first: score, then room with what is there already, then name. Of objects without replicas all clusters have as much room. */
export function ranked(candidates: readonly Candidate[], { replicas, set, assigned }: Demand): Ranked[] {
  const held = new Map(assigned.map(({ name, replicas: count }) => [name, count ?? 0]));
  const roomOf = ({ cluster, room }: Candidate): number => {
    if (set === undefined && replicas === undefined) return 0;
    return (room === UNKNOWN_ROOM ? (replicas ?? 0) : room) + (held.get(cluster.name) ?? 0);
  };
  return candidates
    .map((candidate) => ({ candidate, available: roomOf(candidate) }))
    .toSorted(
      (a, b) =>
        b.candidate.score - a.candidate.score ||
        b.available - a.available ||
        (a.candidate.cluster.name < b.candidate.cluster.name ? -1 : 1),
    );
}
