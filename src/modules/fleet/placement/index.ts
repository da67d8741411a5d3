/**
 * Where objects go: clusters and a placement in, targets with replicas and how they came about out. Pure: no time, no chance, no
 * input or output, so that a decision can be repeated, explained and tried on a copy. May use: kinds.
 */

export { affinityMatches, tolerates } from "./affinity.js";
export { place } from "./place.js";
export type * from "./types.js";
