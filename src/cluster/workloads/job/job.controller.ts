import {
  type ControllerSpec,
  type ReconcileContext,
  type ReconcileResult,
  removeFinalizer,
  syncStatus,
} from "../../../kernel/control/index.js";
import { isConflict } from "../../../kernel/errors/index.js";
import {
  isConditionTrue,
  isDeleting,
  type Job,
  JobKind,
  type JobStatus,
  type Pod,
  PodKind,
  selectorFrom,
  timeOf,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { rankForDeletion } from "../replicaset/deletion-rank.js";
import { slowStart } from "../shared/batches.js";
import { claimObjects } from "../shared/claim.js";
import { createOwnedPod } from "../shared/create.js";
import { isReady, podFromTemplate } from "../shared/pods.js";
import { orphanWatch } from "../shared/wake.js";
import { parseIndexes } from "./indexes.js";
import {
  backoffMs,
  hasSucceeded,
  indexAnnotation,
  indexOf,
  isIndexed,
  isTracked,
  replacesOnlyFailed,
  type SortedPods,
  sortPods,
  trackingFinalizer,
} from "./job-pods.js";
import { countEnded, isIgnored, successes, type Tally, tallyStatus } from "./tally.js";
import { judge, unsupportedFields, untilDeadlineMs, type Verdict } from "./verdict.js";

const fieldManager = "job-controller";
const ownManager = "kubernetes.io/job-controller";

type Context = ReconcileContext<Job>;

/** Runs a Job's pods to completion. */
export function jobController(): ControllerSpec<Job> {
  return {
    name: fieldManager,
    kind: JobKind,
    owns: [PodKind],
    watches: [orphanWatch(PodKind, JobKind, (job) => job.spec.selector)],
    concurrency: 5,
    async reconcile({ namespace, name }, job, context) {
      if (job === undefined) return releaseOrphans(namespace, name, context);
      if ((job.spec.managedBy ?? ownManager) !== ownManager) return undefined;
      return reconcileJob(job, context);
    },
  };
}

/** Pods of a Job that is gone would wait for ever to be counted. */
async function releaseOrphans(namespace: string, name: string, context: Context): Promise<undefined> {
  const isOurs = (pod: Pod): boolean =>
    isTracked(pod) &&
    pod.metadata.ownerReferences?.some(
      (owner) => owner.controller === true && owner.kind === "Job" && owner.name === name,
    ) === true;
  await freePods(context.cluster.informers.informer(PodKind).list(namespace).filter(isOurs), context);
  return undefined;
}

function podsOf(job: Job, context: Context): Promise<readonly Pod[]> {
  return claimObjects({
    owner: job,
    owners: context.cluster.client.resource(JobKind),
    selector: selectorFrom(job.spec.selector),
    informer: context.cluster.informers.informer(PodKind),
    resource: context.cluster.client.resource(PodKind),
    fieldManager,
  });
}

const isOver = (job: Job): boolean =>
  isConditionTrue(job.status?.conditions, "Complete") || isConditionTrue(job.status?.conditions, "Failed");

async function reconcileJob(job: Job, context: Context): Promise<ReconcileResult | undefined> {
  const nowMs = context.clock.now();
  const pods = await podsOf(job, context);
  if (isOver(job)) {
    await freePods(pods.filter(isTracked), context);
    return expire(job, context);
  }
  const refused = unsupportedFields(job);
  if (refused.length > 0) {
    context.events.record(
      job,
      "Warning",
      "UnsupportedField",
      `Job is not started: ${refused.join(", ")} cannot be carried out here; remove it`,
    );
    return undefined;
  }
  const tally = countEnded(job, pods);
  const sorted = sortPods(pods);
  const startTime = job.spec.suspend === true ? undefined : (job.status?.startTime ?? timeOf(nowMs));
  const remainingMs = untilDeadlineMs(job, startTime, nowMs);
  const verdict = earlierVerdict(job) ?? judge(job, sorted, tally, remainingMs);
  const plan: Plan = { job, tally, startTime, verdict };
  if (verdict !== undefined) return conclude(plan, sorted, context);
  const waitMs = isDeleting(job) ? undefined : await steer(plan, sorted, context);
  const written = await store(plan, context);
  await freeCounted(written, context);
  const waits = [waitMs?.afterMs, remainingMs].filter((ms) => ms !== undefined);
  if (waitMs?.error !== undefined) throw waitMs.error;
  return waits.length === 0 ? undefined : { requeueAfterMs: Math.max(0, Math.min(...waits)) };
}

interface Plan {
  readonly job: Job;
  readonly tally: Tally;
  readonly startTime: string | undefined;
  readonly verdict: Verdict | undefined;
}

/** A verdict once written stands, whatever the pods do while they end. */
function earlierVerdict(job: Job): Verdict | undefined {
  const said = job.status?.conditions?.find(
    ({ type, status }) => status === "True" && (type === "FailureTarget" || type === "SuccessCriteriaMet"),
  );
  return (
    said && { isSuccess: said.type === "SuccessCriteriaMet", reason: said.reason ?? "", message: said.message ?? "" }
  );
}

/** Ends what still runs, and says Complete or Failed when nothing does and everything is counted. */
async function conclude(plan: Plan, { active }: SortedPods, context: Context): Promise<ReconcileResult | undefined> {
  await endPods(plan.job, active, context);
  const written = await store(plan, context);
  await freeCounted(written, context);
  const pods = await podsOf(written, context);
  const tally = countEnded(written, pods);
  const isCounted = tally.uncounted.succeeded.length === 0 && tally.uncounted.failed.length === 0;
  const now = sortPods(pods);
  if (!isCounted || now.active.length > 0 || now.terminating.length > 0) return undefined;
  const over = await store({ ...plan, job: written, tally }, context, true);
  if (plan.verdict?.isSuccess === true) context.events.record(over, "Normal", "Completed", "Job completed");
  else context.events.record(over, "Warning", plan.verdict?.reason ?? "Failed", plan.verdict?.message ?? "");
  return expire(over, context);
}

/** Makes the number of active pods what it should be. Returns when to look again. */
async function steer(
  plan: Plan,
  pods: SortedPods,
  context: Context,
): Promise<{ readonly afterMs?: number; readonly error?: unknown }> {
  const { job, tally } = plan;
  if (job.spec.suspend === true) {
    await endPods(job, pods.active, context);
    return {};
  }
  const { parallelism = 1, completions } = job.spec;
  const left =
    completions === undefined
      ? successes(job, tally) > 0
        ? pods.active.length
        : parallelism
      : completions - successes(job, tally);
  const wanted = Math.max(0, Math.min(parallelism, left));
  if (pods.active.length > wanted) {
    await endPods(
      job,
      rankForDeletion(pods.active, context.clock.now()).slice(0, pods.active.length - wanted),
      context,
    );
    return {};
  }
  const held = replacesOnlyFailed(job) ? pods.terminating.length : 0;
  const missing = wanted - pods.active.length - held;
  if (missing <= 0) return {};
  const waitMs = backoffMs(pods.all, job, context.clock.now());
  if (waitMs > 0) return { afterMs: waitMs };
  const indexes = isIndexed(job) ? freeIndexes(job, tally, pods, missing) : undefined;
  return slowStart(indexes?.length ?? missing, (n) => createPod(job, indexes?.[n], context));
}

function freeIndexes(job: Job, tally: Tally, pods: SortedPods, count: number): readonly number[] {
  const held = replacesOnlyFailed(job) ? [...pods.active, ...pods.terminating] : pods.active;
  const taken = new Set([...tally.completed, ...held.map(indexOf)]);
  const free: number[] = [];
  for (let index = 0; index < (job.spec.completions ?? 0) && free.length < count; index += 1)
    if (!taken.has(index)) free.push(index);
  return free;
}

async function createPod(job: Job, index: number | undefined, context: Context): Promise<void> {
  const { template } = job.spec;
  const value = String(index);
  const env = { name: "JOB_COMPLETION_INDEX", value };
  const withIndex = {
    generateName: `${job.metadata.name}-${value}-`,
    labels: { [indexAnnotation]: value },
    annotations: { [indexAnnotation]: value },
    spec: {
      hostname: `${job.metadata.name}-${value}`,
      containers: (template.spec?.containers ?? []).map((container) => ({
        ...container,
        env: [...(container.env ?? []), env],
      })),
    },
  };
  const draft = podFromTemplate(template, job, {
    finalizers: [trackingFinalizer],
    ...(index === undefined ? {} : withIndex),
  });
  await createOwnedPod(job, draft, context, fieldManager);
}

/** Deletes pods on the Job's own account: they lose their finalizer first, so that they do not count as failures. */
async function endPods(job: Job, pods: readonly Pod[], context: Context): Promise<void> {
  await freePods(pods.filter(isTracked), context);
  const resource = context.cluster.client.resource(PodKind);
  for (const { metadata } of pods) {
    const { name, namespace = "", uid } = metadata;
    await resource.delete(name, { namespace, preconditions: { uid } });
    context.events.record(job, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
  }
}

/** Lets counted pods go. */
async function freeCounted(job: Job, context: Context): Promise<void> {
  const { succeeded = [], failed = [] } = job.status?.uncountedTerminatedPods ?? {};
  const counted = new Set([...succeeded, ...failed]);
  const pods = await podsOf(job, context);
  // Only what the stored status shows: a pod that ended since then is still to be counted.
  const stored = parseIndexes(job.status?.completedIndexes);
  const isStored = (pod: Pod): boolean =>
    isIndexed(job) &&
    hasSucceeded(pod) &&
    (stored.has(indexOf(pod) ?? -1) || (indexOf(pod) ?? Number.POSITIVE_INFINITY) >= (job.spec.completions ?? 0));
  const needsNoCount = (pod: Pod): boolean => isStored(pod) || isIgnored(job, pod);
  await freePods(
    pods.filter((pod) => isTracked(pod) && (counted.has(pod.metadata.uid) || needsNoCount(pod))),
    context,
  );
}

async function freePods(pods: readonly Pod[], context: Context): Promise<void> {
  const resource = context.cluster.client.resource(PodKind);
  for (const pod of pods) {
    try {
      await removeFinalizer(resource, pod, trackingFinalizer, fieldManager);
    } catch (error) {
      // It changed meanwhile; its event brings us back.
      if (!isConflict(error)) throw error;
      const live = await resource.find(pod.metadata.name, { namespace: pod.metadata.namespace ?? "" });
      if (live?.metadata.uid === pod.metadata.uid)
        await removeFinalizer(resource, live, trackingFinalizer, fieldManager);
    }
  }
}

/** Writes the status as of now. */
async function store(plan: Plan, context: Context, isFinal = false): Promise<Job> {
  const { job, tally } = plan;
  const nowMs = context.clock.now();
  const { active, terminating } = sortPods(await podsOf(job, context));
  const ready = active.filter(isReady).length;
  const startTime = plan.startTime === undefined ? {} : { startTime: plan.startTime };
  const isComplete = isFinal && plan.verdict?.isSuccess === true;
  const conditions = conditionsOf(plan, nowMs, isFinal);
  const status: JobStatus = {
    ...startTime,
    ...(active.length > 0 ? { active: active.length } : {}),
    ready,
    terminating: terminating.length,
    ...tallyStatus(job, tally),
    ...(isComplete ? { completionTime: timeOf(nowMs) } : {}),
    ...(conditions.length > 0 ? { conditions } : {}),
  };
  if (job.spec.suspend === true && !isConditionTrue(job.status?.conditions, "Suspended"))
    context.events.record(job, "Normal", "Suspended", "Job suspended");
  return syncStatus(context.cluster.client.resource(JobKind), job, status, fieldManager);
}

function conditionsOf({ job, verdict }: Plan, nowMs: number, isFinal: boolean): NonNullable<JobStatus["conditions"]> {
  const now = timeOf(nowMs);
  let conditions: NonNullable<JobStatus["conditions"]> = job.status?.conditions ?? [];
  const say = (type: string, status: "True" | "False", reason: string, message: string): void => {
    const before = conditions.find((condition) => condition.type === type);
    if (before?.status === status && before.reason === reason) return;
    conditions = withCondition(conditions, { type, status, reason, message, lastProbeTime: now }, nowMs);
  };
  const wasSuspended = isConditionTrue(conditions, "Suspended");
  if (job.spec.suspend === true) say("Suspended", "True", "JobSuspended", "Job suspended");
  else if (wasSuspended) say("Suspended", "False", "JobResumed", "Job resumed");
  if (verdict === undefined) return conditions;
  say(verdict.isSuccess ? "SuccessCriteriaMet" : "FailureTarget", "True", verdict.reason, verdict.message);
  if (isFinal) say(verdict.isSuccess ? "Complete" : "Failed", "True", verdict.reason, verdict.message);
  return conditions;
}

/** Deletes a Job that has been over for `ttlSecondsAfterFinished`. */
async function expire(job: Job, context: Context): Promise<ReconcileResult | undefined> {
  const ttl = job.spec.ttlSecondsAfterFinished;
  if (ttl === undefined || isDeleting(job)) return undefined;
  const end = job.status?.conditions?.find(
    ({ type, status }) => status === "True" && (type === "Complete" || type === "Failed"),
  );
  if (end?.lastTransitionTime === undefined) return undefined;
  const waitMs = Date.parse(end.lastTransitionTime) + ttl * 1000 - context.clock.now();
  if (waitMs > 0) return { requeueAfterMs: waitMs };
  const { name, namespace = "", uid } = job.metadata;
  await context.cluster.client
    .resource(JobKind)
    .delete(name, { namespace, propagationPolicy: "Foreground", preconditions: { uid } });
  return undefined;
}
