import type { Job, Pod } from "../../../kernel/kinds/index.js";
import { judgeFailure } from "./failure-policy.js";
import { parseIndexes } from "./indexes.js";
import { endedAtMs, hasFailed, isTracked, remainingBackoffMs, type SortedPods, validIndexOf } from "./job-pods.js";

const countAnnotation = "batch.kubernetes.io/job-index-failure-count";
const ignoredAnnotation = "batch.kubernetes.io/job-index-ignored-failure-count";

/** Whether each index has its own limit of failures. */
export function hasLimitPerIndex(job: Job): boolean {
  return job.spec.backoffLimitPerIndex !== undefined;
}

function noted(pod: Pod, annotation: string): number {
  const count = Number(pod.metadata.annotations?.[annotation] ?? 0);
  return Number.isInteger(count) && count >= 0 ? count : 0;
}

/** All failures of the index before this pod. */
function failuresBefore(pod: Pod): number {
  return noted(pod, countAnnotation) + noted(pod, ignoredAnnotation);
}

function failsIndex(job: Job, pod: Pod): boolean {
  if (!hasFailed(pod, job)) return false;
  const { action } = judgeFailure(job, pod);
  if (action === "FailIndex") return true;
  return action !== "Ignore" && noted(pod, countAnnotation) >= (job.spec.backoffLimitPerIndex ?? 0);
}

/** Indexes that are given up: noted before, or by pods that are still to be counted. Empty without a limit per index. */
export function failedIndexes(job: Job, pods: readonly Pod[]): ReadonlySet<number> {
  if (!hasLimitPerIndex(job)) return new Set();
  const failed = parseIndexes(job.status?.failedIndexes, job.spec.completions);
  for (const pod of pods) {
    const index = validIndexOf(job, pod);
    if (index !== undefined && isTracked(pod) && failsIndex(job, pod)) failed.add(index);
  }
  return failed;
}

/**
 * Failed pods, by index, that wait for their replacement before they are counted and let go: it inherits their count of
 * failures, which is noted nowhere else.
 */
export function heldPods(
  job: Job,
  pods: SortedPods,
  settled: { readonly completed: ReadonlySet<number>; readonly failed: ReadonlySet<number> },
): ReadonlyMap<number, Pod> {
  const held = new Map<number, Pod>();
  if (!hasLimitPerIndex(job)) return held;
  const running = new Set(pods.active.map((pod) => validIndexOf(job, pod)));
  for (const pod of pods.all) {
    const index = validIndexOf(job, pod);
    if (index === undefined || !isTracked(pod) || !hasFailed(pod, job)) continue;
    if (settled.completed.has(index) || settled.failed.has(index) || running.has(index)) continue;
    const other = held.get(index);
    const isLater =
      other === undefined || (failuresBefore(other) <= failuresBefore(pod) && endedAtMs(pod) >= endedAtMs(other));
    if (isLater) held.set(index, pod);
  }
  return held;
}

/** How long the index of a failed pod waits for its next attempt. */
export function untilRetryMs(failed: Pod | undefined, nowMs: number): number {
  return failed === undefined ? 0 : remainingBackoffMs(failuresBefore(failed) + 1, endedAtMs(failed), nowMs);
}

/** What the replacement of a failed pod is told of its index's past. */
export function failureAnnotations(job: Job, failed: Pod | undefined): Record<string, string> {
  if (!hasLimitPerIndex(job)) return {};
  const isIgnored = failed !== undefined && judgeFailure(job, failed).action === "Ignore";
  const counted = failed === undefined ? 0 : noted(failed, countAnnotation) + (isIgnored ? 0 : 1);
  const ignored = failed === undefined ? 0 : noted(failed, ignoredAnnotation) + (isIgnored ? 1 : 0);
  return { [countAnnotation]: String(counted), ...(ignored > 0 ? { [ignoredAnnotation]: String(ignored) } : {}) };
}
