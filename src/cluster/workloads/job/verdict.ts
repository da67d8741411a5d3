import type { Job, Pod } from "../../../kernel/kinds/index.js";
import { judgeFailure } from "./failure-policy.js";
import { hasFailed, type SortedPods } from "./job-pods.js";
import { failures, successes, type Tally } from "./tally.js";

/** Why a Job is over. */
export interface Verdict {
  readonly isSuccess: boolean;
  readonly reason: string;
  readonly message: string;
}

const fail = (reason: string, message: string): Verdict => ({ isSuccess: false, reason, message });

function restartsOf(pod: Pod): number {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  return statuses.reduce((sum, status) => sum + status.restartCount, 0);
}

/** With restartPolicy OnFailure the retries happen inside the pods. */
function isPastRestarts(job: Job, active: readonly Pod[]): boolean {
  if (job.spec.template.spec?.restartPolicy !== "OnFailure") return false;
  const limit = job.spec.backoffLimit ?? 6;
  const restarts = active
    .filter((pod) => pod.status?.phase === "Running" || pod.status?.phase === "Pending")
    .reduce((sum, pod) => sum + restartsOf(pod), 0);
  return limit === 0 ? restarts > 0 : restarts >= limit;
}

/** Milliseconds until `activeDeadlineSeconds` is over; `undefined` when there is none or the Job does not run. */
export function untilDeadlineMs(job: Job, startTime: string | undefined, nowMs: number): number | undefined {
  const { activeDeadlineSeconds, suspend } = job.spec;
  if (activeDeadlineSeconds === undefined || startTime === undefined || suspend === true) return undefined;
  return Date.parse(startTime) + activeDeadlineSeconds * 1000 - nowMs;
}

/** Whether the Job is over now, and how. Failure by policy goes before limits, limits before success. */
export function judge(job: Job, pods: SortedPods, tally: Tally, remainingMs: number | undefined): Verdict | undefined {
  const policy = pods.all
    .filter((pod) => hasFailed(pod, job))
    .map((pod) => judgeFailure(job, pod))
    .find(({ action }) => action === "FailJob");
  if (policy !== undefined) return fail("PodFailurePolicy", policy.message);
  if (failures(tally) > (job.spec.backoffLimit ?? 6) || isPastRestarts(job, pods.active)) {
    return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
  }
  if (remainingMs !== undefined && remainingMs <= 0)
    return fail("DeadlineExceeded", "Job was active longer than specified deadline");
  const done = successes(job, tally);
  const { completions } = job.spec;
  const isDone =
    completions === undefined ? done > 0 && pods.active.length === 0 : done >= completions && pods.active.length === 0;
  const isEnough = completions !== undefined && done >= completions;
  if (!isDone && !isEnough) return undefined;
  return { isSuccess: true, reason: "CompletionsReached", message: "Reached expected number of succeeded pods" };
}

/** What of the Job's spec we cannot make true; such a Job is not started. */
export function unsupportedFields(job: Job): readonly string[] {
  const { successPolicy, backoffLimitPerIndex, maxFailedIndexes, podFailurePolicy } = job.spec;
  return [
    ...(successPolicy === undefined ? [] : ["spec.successPolicy"]),
    ...(backoffLimitPerIndex === undefined ? [] : ["spec.backoffLimitPerIndex"]),
    ...(maxFailedIndexes === undefined ? [] : ["spec.maxFailedIndexes"]),
    ...(podFailurePolicy?.rules.some((rule) => rule.action === "FailIndex") === true
      ? ["spec.podFailurePolicy.rules[].action=FailIndex"]
      : []),
  ];
}
