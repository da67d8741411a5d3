import { isDeleting, type Job, type Pod } from "../../../kernel/kinds/index.js";
import { isActive } from "../shared/pods.js";

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
  const isEnded = (pod: Pod): boolean => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
  return {
    all: pods,
    active: pods.filter(isActive),
    terminating: pods.filter((pod) => isDeleting(pod) && !isEnded(pod)),
  };
}

/** When the pod ended, as near as it tells. */
export function endedAtMs(pod: Pod): number {
  const ends = (pod.status?.containerStatuses ?? []).flatMap(({ state }) =>
    state?.terminated?.finishedAt === undefined ? [] : [Date.parse(state.terminated.finishedAt)],
  );
  if (ends.length > 0) return Math.max(...ends);
  return Date.parse(pod.metadata.deletionTimestamp ?? pod.metadata.creationTimestamp);
}

const firstBackoffMs = 10_000;
const maxBackoffMs = 600_000;

/** How long to wait before a failed pod is replaced: 10 s, doubled for each failure since the last success, at most 10 minutes. */
export function backoffMs(pods: readonly Pod[], job: Job, nowMs: number): number {
  const lastSuccessMs = Math.max(0, ...pods.filter(hasSucceeded).map(endedAtMs));
  const failures = pods
    .filter((pod) => hasFailed(pod, job))
    .map(endedAtMs)
    .filter((ms) => ms > lastSuccessMs);
  if (failures.length === 0) return 0;
  const waitMs = Math.min(firstBackoffMs * 2 ** Math.min(failures.length - 1, 20), maxBackoffMs);
  return Math.max(0, Math.max(...failures) + waitMs - nowMs);
}
