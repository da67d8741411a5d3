import { type Job, type JobStatus, timeOf } from "../../../kernel/kinds/index.js";
import { isReady } from "../shared/pods.js";
import type { sortPods } from "./job-pods.js";
import { type Tally, tallyStatus } from "./tally.js";
import type { Verdict } from "./verdict.js";

/** What a Job's status is made from. */
export interface Standing {
  readonly job: Job;
  readonly tally: Tally;
  readonly startTime: string | undefined;
  readonly verdict: Verdict | undefined;
}

type Conditions = NonNullable<JobStatus["conditions"]>;

/** The status as of now; `isFinal`: nothing runs any more and everything is counted. */
export function statusOf(
  { job, tally, startTime, verdict }: Standing,
  { active, terminating }: ReturnType<typeof sortPods>,
  { nowMs, isFinal }: { readonly nowMs: number; readonly isFinal: boolean },
): JobStatus {
  const conditions = conditionsOf(job, verdict, { nowMs, isFinal });
  const isComplete = isFinal && verdict?.isSuccess === true;
  return {
    ...(startTime === undefined ? {} : { startTime }),
    ...(active.length > 0 ? { active: active.length } : {}),
    ready: active.filter(isReady).length,
    terminating: terminating.length,
    ...tallyStatus(job, tally),
    ...(isComplete ? { completionTime: timeOf(nowMs) } : {}),
    ...(conditions.length > 0 ? { conditions } : {}),
  };
}

/** Which turn a suspension took since it was last told; `undefined`: none. */
export function suspensionTurn(job: Job): "Suspended" | "Resumed" | undefined {
  const told = job.status?.conditions?.find(({ type }) => type === "Suspended")?.status;
  if (job.spec.suspend === true) return told === "True" ? undefined : "Suspended";
  return told === "True" ? "Resumed" : undefined;
}

function conditionsOf(
  job: Job,
  verdict: Verdict | undefined,
  { nowMs, isFinal }: { readonly nowMs: number; readonly isFinal: boolean },
): Conditions {
  const now = timeOf(nowMs);
  let conditions: Conditions = job.status?.conditions ?? [];
  const say = (type: string, status: "True" | "False", reason: string, message: string): void => {
    const before = conditions.find((condition) => condition.type === type);
    if (before?.status === status && before.reason === reason && before.message === message) return;
    const said = { type, status, reason, message, lastProbeTime: now, lastTransitionTime: now };
    conditions =
      before === undefined
        ? [...conditions, said]
        : conditions.map((condition) => (condition.type === type ? said : condition));
  };
  if (verdict === undefined) {
    const turn = suspensionTurn(job);
    if (turn === "Suspended") say("Suspended", "True", "JobSuspended", "Job suspended");
    else if (turn === "Resumed") say("Suspended", "False", "JobResumed", "Job resumed");
    return conditions;
  }
  say(verdict.isSuccess ? "SuccessCriteriaMet" : "FailureTarget", "True", verdict.reason, verdict.message);
  if (isFinal) say(verdict.isSuccess ? "Complete" : "Failed", "True", verdict.reason, verdict.message);
  return conditions;
}
