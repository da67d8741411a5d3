import { isDeleting, type Node, type Pod } from "../../../kernel/kinds/index.js";
import { nodeObstacles } from "./node-filters.js";
import type { NodeView, Snapshot } from "./snapshot.js";
import { topologyChecks } from "./topology-filters.js";

/** What making room takes: a node, and who must go there. */
export interface Preemption {
  readonly node: string;
  /** Empty: those who go already are enough, waiting will do. */
  readonly victims: readonly Pod[];
}

/** A pod's priority; 0 unless its class says more. */
export function priorityOf(pod: Pod): number {
  return pod.spec.priority ?? 0;
}

/** Whether the pod could run on a node if its pods were these. */
function fitsAmong(pod: Pod, view: NodeView, pods: readonly Pod[], snapshot: Snapshot): boolean {
  const changed: NodeView = { node: view.node, pods };
  if (nodeObstacles(pod, changed).length > 0) return false;
  const nodes = snapshot.nodes.map((other) => (other === view ? changed : other));
  return topologyChecks(pod, { ...snapshot, nodes })(changed) === undefined;
}

/** Fewest and least important pods of a node that must go; `undefined`: not even all lesser ones would help. */
function victimsOn(pod: Pod, view: NodeView, snapshot: Snapshot): readonly Pod[] | undefined {
  const isLesser = (other: Pod): boolean => priorityOf(other) < priorityOf(pod);
  const leaving = view.pods.filter((other) => isLesser(other) && isDeleting(other));
  const lesser = view.pods.filter((other) => isLesser(other) && !isDeleting(other));
  let staying = view.pods.filter((other) => !leaving.includes(other) && !lesser.includes(other));
  if (!fitsAmong(pod, view, staying, snapshot)) return undefined;
  const victims: Pod[] = [];
  // The important and the old are spared first.
  for (const other of lesser.toSorted(
    (a, b) => priorityOf(b) - priorityOf(a) || (a.metadata.creationTimestamp < b.metadata.creationTimestamp ? -1 : 1),
  )) {
    if (fitsAmong(pod, view, [...staying, other], snapshot)) staying = [...staying, other];
    else victims.push(other);
  }
  return victims;
}

/**
 * Finds the node where a pod that fits nowhere can be given room at the least cost: no victims, then the least important
 * ones, then the fewest. Pods with `preemptionPolicy: Never`, and those of the lowest priority, displace nobody.
 */
export function findPreemption(
  pod: Pod,
  snapshot: Snapshot,
  isPossible: (node: Node) => boolean,
): Preemption | undefined {
  if (pod.spec.preemptionPolicy === "Never") return undefined;
  const options = snapshot.nodes.flatMap((view) => {
    if (!isPossible(view.node) || !view.pods.some((other) => priorityOf(other) < priorityOf(pod))) return [];
    const victims = victimsOn(pod, view, snapshot);
    return victims === undefined ? [] : [{ node: view.node.metadata.name, victims }];
  });
  const highest = ({ victims }: Preemption): number => Math.max(Number.NEGATIVE_INFINITY, ...victims.map(priorityOf));
  return options.toSorted(
    (a, b) => highest(a) - highest(b) || a.victims.length - b.victims.length || (a.node < b.node ? -1 : 1),
  )[0];
}
