import type { Pod } from "../../../kernel/kinds/index.js";
import { isReady, readySinceMs } from "../shared/pods.js";

const phaseRank: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };

function deletionCost(pod: Pod): number {
  const cost = Number(pod.metadata.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? 0);
  return Number.isFinite(cost) ? cost : 0;
}

function restarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map((container) => container.restartCount));
}

/** Logarithmic, as upstream (in nanoseconds): pods of about the same age are equal, so that not the newest is hit each time. */
const ageBucket = (sinceMs: number, nowMs: number): number =>
  nowMs <= sinceMs ? -1 : Math.floor(Math.log2((nowMs - sinceMs) * 1e6));

/** How many of the pods are on each node. */
export function countByNode(pods: readonly Pod[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const pod of pods) counts.set(pod.spec.nodeName ?? "", (counts.get(pod.spec.nodeName ?? "") ?? 0) + 1);
  return counts;
}

const createdMs = (pod: Pod): number => Date.parse(pod.metadata.creationTimestamp);

/** By age in buckets; within one by uid, and no further question is asked. */
function byAge(since: (pod: Pod) => number, nowMs: number) {
  return (a: Pod, b: Pod): number => {
    if (since(a) === since(b)) return 0;
    const difference = ageBucket(since(a), nowMs) - ageBucket(since(b), nowMs);
    return difference === 0 ? byUid(a, b) : difference;
  };
}

const byUid = (a: Pod, b: Pod): number => (a.metadata.uid < b.metadata.uid ? -1 : 1);

/** Orders pods by who is given up first: unassigned, not started, not ready, cheap, on a crowded node, young. `crowd`: pods of a node that count. */
export function rankForDeletion(
  pods: readonly Pod[],
  nowMs: number,
  crowd: ReadonlyMap<string, number> = new Map(),
): readonly Pod[] {
  const by = (key: (pod: Pod) => number) => (a: Pod, b: Pod) => key(a) - key(b);
  const byReadiness = byAge((pod) => readySinceMs(pod) ?? nowMs, nowMs);
  const comparisons: readonly ((a: Pod, b: Pod) => number)[] = [
    by((pod) => (pod.spec.nodeName === undefined ? 0 : 1)),
    by((pod) => phaseRank[pod.status?.phase ?? "Pending"] ?? 0),
    by((pod) => (isReady(pod) ? 1 : 0)),
    by(deletionCost),
    by((pod) => -(crowd.get(pod.spec.nodeName ?? "") ?? 0)),
    (a, b) => (isReady(a) ? byReadiness(a, b) : 0),
    by((pod) => -restarts(pod)),
    byAge(createdMs, nowMs),
  ];
  return pods.toSorted((a, b) => {
    for (const compare of comparisons) {
      const difference = compare(a, b);
      if (difference !== 0) return difference;
    }
    return byUid(a, b);
  });
}
