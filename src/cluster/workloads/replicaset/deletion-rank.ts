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

/** Logarithmic, as upstream: pods of about the same age are equal, so that not the newest is hit each time. */
const ageBucket = (sinceMs: number, nowMs: number): number =>
  Math.floor(Math.log2(Math.max(1, (nowMs - sinceMs) / 1000)));

/** Orders pods by who is given up first: unassigned, not started, not ready, cheap, crowded on one node, young. */
export function rankForDeletion(pods: readonly Pod[], nowMs: number): readonly Pod[] {
  const onNode = new Map<string, number>();
  for (const pod of pods) {
    const node = pod.spec.nodeName ?? "";
    onNode.set(node, (onNode.get(node) ?? 0) + 1);
  }
  const crowd = (pod: Pod): number => onNode.get(pod.spec.nodeName ?? "") ?? 0;
  const createdMs = (pod: Pod): number => Date.parse(pod.metadata.creationTimestamp);
  const keys: readonly ((pod: Pod) => number)[] = [
    (pod) => (pod.spec.nodeName === undefined ? 0 : 1),
    (pod) => phaseRank[pod.status?.phase ?? "Pending"] ?? 0,
    (pod) => (isReady(pod) ? 1 : 0),
    deletionCost,
    (pod) => -crowd(pod),
    (pod) => (isReady(pod) ? ageBucket(readySinceMs(pod) ?? nowMs, nowMs) : 0),
    (pod) => -restarts(pod),
    (pod) => ageBucket(createdMs(pod), nowMs),
  ];
  return pods.toSorted((a, b) => {
    for (const key of keys) {
      const difference = key(a) - key(b);
      if (difference !== 0) return difference;
    }
    return a.metadata.uid < b.metadata.uid ? -1 : 1;
  });
}
