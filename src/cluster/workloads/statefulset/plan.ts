import { isDeleting, type Pod, type StatefulSet } from "../../../kernel/kinds/index.js";
import { resolveIntOrPercent } from "../shared/intstr.js";
import { isAvailable, isReady, isTerminal } from "../shared/pods.js";
import { revisionLabel } from "../shared/revisions.js";
import { ordinals } from "./identity.js";

/** The next thing to do, or to wait for. */
export type Step =
  | { readonly type: "create"; readonly ordinal: number; readonly revision: string }
  | { readonly type: "delete"; readonly pod: Pod; readonly reason: string };

/** What a plan is made from. */
export interface Situation {
  readonly set: StatefulSet;
  /** Pods by ordinal, within the wanted range and beyond it. */
  readonly pods: ReadonlyMap<number, Pod>;
  readonly currentRevision: string;
  readonly updateRevision: string;
  readonly nowMs: number;
}

const isRunning = (pod: Pod): boolean => pod.status?.phase === "Running" && isReady(pod);

function isHealthy({ set, nowMs }: Situation, pod: Pod | undefined): boolean {
  return (
    pod !== undefined && !isDeleting(pod) && isRunning(pod) && isAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs)
  );
}

/** Pods below the partition, or not yet reached by a roll-out, come back as they were. */
function revisionFor({ set, currentRevision, updateRevision }: Situation, ordinal: number): string {
  const { type, rollingUpdate } = set.spec.updateStrategy ?? {};
  if (type === "OnDelete") return updateRevision;
  const { first } = ordinals(set);
  const kept = rollingUpdate === undefined ? (set.status?.currentReplicas ?? 0) : (rollingUpdate.partition ?? 0);
  return ordinal < first + kept ? currentRevision : updateRevision;
}

/**
 * What to do now. In order (`OrderedReady`) there is at most one step, and none while a pod before it is not healthy;
 * `Parallel` creates and removes all at once. Updates go from the highest ordinal down, one at a time.
 */
export function planSteps(situation: Situation): readonly Step[] {
  const { set, pods } = situation;
  const isOrdered = set.spec.podManagementPolicy !== "Parallel";
  const { first, end } = ordinals(set);
  const steps: Step[] = [];
  for (let ordinal = first; ordinal < end; ordinal += 1) {
    const pod = pods.get(ordinal);
    if (pod === undefined) steps.push({ type: "create", ordinal, revision: revisionFor(situation, ordinal) });
    else if (isTerminal(pod) && !isDeleting(pod)) steps.push({ type: "delete", pod, reason: "ended" });
    if (isOrdered && (steps.length > 0 || !isHealthy(situation, pod))) return steps;
  }
  const condemned = condemnedSteps(situation, isOrdered);
  if (condemned === undefined) return steps;
  steps.push(...condemned);
  if (isOrdered && steps.length > 0) return steps;
  return [...steps, ...updateSteps(situation)];
}

/** Pods beyond the range, highest first; `undefined` when one must be waited for. */
function condemnedSteps(situation: Situation, isOrdered: boolean): readonly Step[] | undefined {
  const beyond = condemnedPods(situation.set, situation.pods);
  const steps: Step[] = [];
  const lowestUnhealthy = beyond.findLast((pod) => !isHealthy(situation, pod));
  for (const pod of beyond) {
    if (isOrdered && (isDeleting(pod) || (!isHealthy(situation, pod) && pod !== lowestUnhealthy))) return undefined;
    if (isDeleting(pod)) continue;
    steps.push({ type: "delete", pod, reason: "scaled down" });
    if (isOrdered) break;
  }
  return steps;
}

/** Pods beyond the wanted range, highest first. */
export function condemnedPods(set: StatefulSet, pods: ReadonlyMap<number, Pod>): readonly Pod[] {
  const { first, end } = ordinals(set);
  return [...pods]
    .filter(([ordinal]) => ordinal < first || ordinal >= end)
    .toSorted(([a], [b]) => b - a)
    .map(([, pod]) => pod);
}

/** From the highest ordinal down to the partition, as many at once as may be unavailable. */
function updateSteps(situation: Situation): readonly Step[] {
  const { set, pods, updateRevision } = situation;
  if (set.spec.updateStrategy?.type === "OnDelete") return [];
  const { first, end } = ordinals(set);
  const { partition = 0, maxUnavailable } = set.spec.updateStrategy?.rollingUpdate ?? {};
  const isOld = (pod: Pod | undefined): pod is Pod =>
    pod !== undefined && pod.metadata.labels?.[revisionLabel] !== updateRevision && !isDeleting(pod);
  const replace = (pod: Pod): Step => ({ type: "delete", pod, reason: "updated" });
  const limit = maxUnavailable === undefined ? 1 : Math.max(1, resolveIntOrPercent(maxUnavailable, end - first, "up"));
  const targets = Array.from({ length: Math.max(0, end - first - partition) }, (_, index) => pods.get(end - 1 - index));
  if (limit === 1) {
    const next = targets.find((pod) => isOld(pod) || !isHealthy(situation, pod));
    return isOld(next) ? [replace(next)] : [];
  }
  const all = Array.from({ length: end - first }, (_, index) => pods.get(first + index));
  const unavailable = all.filter((pod) => !isHealthy(situation, pod)).length;
  return targets
    .filter(isOld)
    .slice(0, Math.max(0, limit - unavailable))
    .map(replace);
}
