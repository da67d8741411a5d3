import type { Job, Pod } from "../../../kernel/kinds/index.js";
import { judgeFailure } from "./failure-policy.js";
import { parseIndexes } from "./indexes.js";
import { hasFailed, isIndexed, type SortedPods } from "./job-pods.js";
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
function isPastRestarts(job: Job, pods: readonly Pod[]): boolean {
  if (job.spec.template.spec?.restartPolicy !== "OnFailure") return false;
  const limit = job.spec.backoffLimit ?? 6;
  const restarts = pods
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

/** A verdict once written stands, whatever the pods do while they end. */
export function earlierVerdict(job: Job): Verdict | undefined {
  const said = ["SuccessCriteriaMet", "FailureTarget"]
    .map((type) => job.status?.conditions?.find((one) => one.type === type && one.status === "True"))
    .find((condition) => condition !== undefined);
  return (
    said && { isSuccess: said.type === "SuccessCriteriaMet", reason: said.reason ?? "", message: said.message ?? "" }
  );
}

/** Whether the Job is over now, and how. Failure by policy goes before limits, limits before indexes, these before success. */
export function judge(job: Job, pods: SortedPods, tally: Tally, remainingMs: number | undefined): Verdict | undefined {
  const policy = pods.all
    .filter((pod) => hasFailed(pod, job))
    .map((pod) => judgeFailure(job, pod))
    .find(({ action }) => action === "FailJob");
  if (policy !== undefined) return fail("PodFailurePolicy", policy.message);
  if (failures(job, tally) > (job.spec.backoffLimit ?? 6) || isPastRestarts(job, pods.all)) {
    return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
  }
  if (remainingMs !== undefined && remainingMs <= 0)
    return fail("DeadlineExceeded", "Job was active longer than specified deadline");
  return judgeIndexes(job, tally) ?? judgeCompletions(job, pods, tally);
}

function judgeIndexes(job: Job, { lost, completed }: Tally): Verdict | undefined {
  if (!isIndexed(job)) return undefined;
  const { maxFailedIndexes, completions = 0, successPolicy } = job.spec;
  if (maxFailedIndexes !== undefined && lost.size > maxFailedIndexes)
    return fail("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
  if (lost.size > 0 && lost.size + completed.size >= completions)
    return fail("FailedIndexes", "Job has failed indexes");
  if (completed.size === 0) return undefined;
  const rule = (successPolicy?.rules ?? []).findIndex(({ succeededIndexes, succeededCount }) => {
    if (succeededIndexes === undefined) return succeededCount !== undefined && completed.size >= succeededCount;
    const wanted = [...parseIndexes(succeededIndexes, completions)];
    if (wanted.length === 0) return false;
    const done = wanted.filter((index) => completed.has(index)).length;
    return done === wanted.length || (succeededCount !== undefined && done >= succeededCount);
  });
  if (rule < 0) return undefined;
  return { isSuccess: true, reason: "SuccessPolicy", message: `Matched rules at index ${rule}` };
}

function judgeCompletions(job: Job, { active }: SortedPods, tally: Tally): Verdict | undefined {
  const done = successes(job, tally);
  const { completions } = job.spec;
  const isEnough = completions === undefined ? done > 0 && active.length === 0 : done >= completions;
  if (!isEnough) return undefined;
  return { isSuccess: true, reason: "CompletionsReached", message: "Reached expected number of succeeded pods" };
}
