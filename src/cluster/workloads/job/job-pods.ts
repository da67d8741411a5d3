import { findCondition, isDeleting, type Job, type Pod } from "../../../kernel/kinds/index.js";
import { isActive, isTerminal } from "../shared/pods.js";

/** Keeps a Job's pods until they are counted. */
export const trackingFinalizer = "batch.kubernetes.io/job-tracking";
/** Which completion a pod works on. */
export const indexAnnotation = "batch.kubernetes.io/job-completion-index";

/** Whether the pod still waits to be counted. */
export function isTracked(pod: Pod): boolean {
  return pod.metadata.finalizers?.includes(trackingFinalizer) === true;
}

/** Whether completions are told apart by index. */
export function isIndexed(job: Job): boolean {
  return job.spec.completionMode === "Indexed";
}

/** The completion index of a pod. */
export function indexOf(pod: Pod): number | undefined {
  const index = Number(pod.metadata.annotations?.[indexAnnotation] ?? Number.NaN);
  return Number.isInteger(index) && index >= 0 ? index : undefined;
}

/** The index of a pod of an Indexed Job that has such an index; `undefined` for all others. */
export function validIndexOf(job: Job, pod: Pod): number | undefined {
  const index = isIndexed(job) ? indexOf(pod) : undefined;
  return index === undefined || index >= (job.spec.completions ?? 0) ? undefined : index;
}

/** Whether the pod counts: in an Indexed Job only those with an index that there is. */
export function counts(job: Job, pod: Pod): boolean {
  return !isIndexed(job) || validIndexOf(job, pod) !== undefined;
}

/** Whether the pod did its work. */
export function hasSucceeded(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded";
}

/** Whether replacements wait until a pod has fully ended. */
export function replacesOnlyFailed(job: Job): boolean {
  return job.spec.podReplacementPolicy === "Failed" || job.spec.podFailurePolicy !== undefined;
}

/** Whether the pod is lost: failed, or being deleted before it could succeed (unless the Job waits for its end). */
export function hasFailed(pod: Pod, job: Job): boolean {
  if (pod.status?.phase === "Failed") return true;
  return isDeleting(pod) && !hasSucceeded(pod) && !replacesOnlyFailed(job);
}

/** Pods by what they mean for the Job. */
export interface SortedPods {
  readonly active: readonly Pod[];
  /** Being deleted, not ended yet. */
  readonly terminating: readonly Pod[];
  readonly all: readonly Pod[];
}

/** Sorts a Job's pods. */
export function sortPods(pods: readonly Pod[]): SortedPods {
  return {
    all: pods,
    active: pods.filter(isActive),
    terminating: pods.filter((pod) => isDeleting(pod) && !isTerminal(pod)),
  };
}

/** When the pod ended, as near as it tells: by its containers, its readiness, its deletion. */
export function endedAtMs(pod: Pod): number {
  const sidecars = (pod.spec.initContainers ?? []).filter((container) => container.restartPolicy === "Always");
  const names = new Set(sidecars.map(({ name }) => name));
  const statuses = [
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.initContainerStatuses ?? []).filter(({ name }) => names.has(name)),
  ];
  const ends = statuses.map(({ state }) => Date.parse(state?.terminated?.finishedAt ?? ""));
  if (ends.length > 0 && !ends.some(Number.isNaN)) return Math.max(...ends);
  const ready = findCondition(pod.status?.conditions, "Ready");
  if (ready?.status === "False" && ready.lastTransitionTime !== undefined) return Date.parse(ready.lastTransitionTime);
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, creationTimestamp } = pod.metadata;
  if (deletionTimestamp !== undefined) return Date.parse(deletionTimestamp) - deletionGracePeriodSeconds * 1000;
  return Date.parse(creationTimestamp);
}

const firstBackoffMs = 10_000;
const maxBackoffMs = 600_000;

/** How long it takes until what failed so often may be tried again: 10 s, doubled for each failure, at most 10 minutes. */
export function remainingBackoffMs(failures: number, lastFailureMs: number, nowMs: number): number {
  if (failures === 0) return 0;
  const waitMs = Math.min(firstBackoffMs * 2 ** Math.min(failures - 1, 20), maxBackoffMs);
  return Math.max(0, lastFailureMs + waitMs - nowMs);
}

/** How long to wait before a failed pod is replaced, by the failures since the last success. */
export function backoffMs(pods: readonly Pod[], job: Job, nowMs: number): number {
  const lastSuccessMs = Math.max(0, ...pods.filter(hasSucceeded).map(endedAtMs));
  // Those that the Job itself deletes have lost their finalizer before.
  const isOwnDoing = (pod: Pod): boolean => isDeleting(pod) && !isTracked(pod);
  const failures = pods
    .filter((pod) => hasFailed(pod, job) && !isOwnDoing(pod))
    .map(endedAtMs)
    .filter((ms) => ms > lastSuccessMs);
  return remainingBackoffMs(failures.length, Math.max(0, ...failures), nowMs);
}
