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
  type Pod,
  PodKind,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { claimPods } from "../shared/claim.js";
import { deleteOwnedPod } from "../shared/delete.js";
import { isTerminal } from "../shared/pods.js";
import { orphanWatch } from "../shared/wake.js";
import { parseIndexes } from "./indexes.js";
import {
  counts,
  hasFailed,
  hasSucceeded,
  indexOf,
  isIndexed,
  isTracked,
  type SortedPods,
  sortPods,
  trackingFinalizer,
} from "./job-pods.js";
import { type Standing, statusOf, suspensionTurn } from "./job-status.js";
import { createPods, planSteps } from "./steer.js";
import { countEnded, isIgnored } from "./tally.js";
import { earlierVerdict, judge, untilDeadlineMs } from "./verdict.js";

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
      // Somebody else runs it; its time to live is ours all the same.
      if ((job.spec.managedBy ?? ownManager) !== ownManager) return expire(job, context);
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
  const claim = { owner: job, kind: JobKind, selector: job.spec.selector, finalizer: trackingFinalizer, fieldManager };
  return claimPods(claim, context.cluster);
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
  const sorted = sortPods(pods);
  const startTime = startOf(job, nowMs);
  const remainingMs = untilDeadlineMs(job, startTime, nowMs);
  const early = earlierVerdict(job);
  const tally = countEnded(job, sorted, undefined);
  const verdict = early ?? judge(job, sorted, tally, remainingMs);
  if (verdict !== undefined) {
    const end = verdict.isSuccess ? "success" : "failure";
    return conclude({ job, tally: countEnded(job, sorted, end), startTime, verdict }, sorted, context);
  }
  const standing: Standing = { job, tally, startTime, verdict };
  const steered = isDeleting(job) ? {} : await steer(standing, sorted, context);
  const written = await store(standing, context);
  await freeCounted(standing, written, context);
  if (steered.error !== undefined) throw steered.error;
  const waits = [steered.afterMs, remainingMs].filter((ms) => ms !== undefined);
  return waits.length === 0 ? undefined : { requeueAfterMs: Math.max(0, Math.min(...waits)) };
}

/** The clock of the deadline starts with the Job, and anew when it is resumed. */
function startOf(job: Job, nowMs: number): string | undefined {
  const before = job.status?.startTime;
  if (job.spec.suspend === true) return before;
  return suspensionTurn(job) === "Resumed" ? timeOf(nowMs) : (before ?? timeOf(nowMs));
}

/** Ends what still runs, and says Complete or Failed when nothing does and everything is counted. */
async function conclude(
  standing: Standing,
  { active }: SortedPods,
  context: Context,
): Promise<ReconcileResult | undefined> {
  // They keep their finalizers: how they end is still counted.
  for (const pod of active) await deleteOwnedPod(standing.job, pod, context);
  const written = await store(standing, context);
  await freeCounted(standing, written, context);
  const now = sortPods(await podsOf(written, context));
  const tally = countEnded(written, now, standing.verdict?.isSuccess === true ? "success" : "failure");
  const isCounted = tally.uncounted.succeeded.length === 0 && tally.uncounted.failed.length === 0;
  if (!isCounted || now.active.length > 0 || now.terminating.length > 0) return undefined;
  const over = await store({ ...standing, job: written, tally }, context, true);
  const { isSuccess = false, reason = "Failed", message = "" } = standing.verdict ?? {};
  const { completions } = over.spec;
  if (isSuccess && completions !== undefined && tally.succeeded > completions) {
    const tooMany = "Too many succeeded pods running after completion count reached";
    context.events.record(over, "Warning", "TooManySucceededPods", tooMany);
  }
  if (isSuccess) context.events.record(over, "Normal", "Completed", "Job completed");
  else context.events.record(over, "Warning", reason, message);
  return expire(over, context);
}

/** Makes the number of active pods what it should be. Returns when to look again. */
async function steer(
  { job, tally }: Standing,
  pods: SortedPods,
  context: Context,
): Promise<{ readonly afterMs?: number; readonly error?: unknown }> {
  const { surplus, missing, afterMs } = planSteps(job, tally, pods, context.clock.now());
  // These lose their finalizer first, so that they do not count as failures.
  await freePods(surplus.filter(isTracked), context);
  for (const pod of surplus) await deleteOwnedPod(job, pod, context);
  const { error } = await createPods({ job, tally, missing }, context, fieldManager);
  return { ...(afterMs === undefined ? {} : { afterMs }), ...(error === undefined ? {} : { error }) };
}

/** Lets counted pods go: only those that the stored status shows, for what ended since then is still to be counted. */
async function freeCounted({ verdict }: Standing, job: Job, context: Context): Promise<void> {
  const { succeeded = [], failed = [] } = job.status?.uncountedTerminatedPods ?? {};
  const counted = new Set([...succeeded, ...failed]);
  const stored = parseIndexes(job.status?.completedIndexes);
  const needsNoCount = (pod: Pod): boolean => {
    if (hasSucceeded(pod)) return !counts(job, pod) || (isIndexed(job) && stored.has(indexOf(pod) ?? -1));
    // What is ended because the Job succeeded has not failed.
    if (verdict?.isSuccess === true && !isTerminal(pod)) return true;
    if (hasFailed(pod, job)) return !counts(job, pod) || isIgnored(job, pod);
    return isDeleting(job);
  };
  const held = verdict === undefined ? heldUids(job, await podsOf(job, context)) : new Set<string>();
  const pods = await podsOf(job, context);
  await freePods(
    pods.filter(
      (pod) => isTracked(pod) && !held.has(pod.metadata.uid) && (counted.has(pod.metadata.uid) || needsNoCount(pod)),
    ),
    context,
  );
}

function heldUids(job: Job, pods: readonly Pod[]): ReadonlySet<string> {
  const { held } = countEnded(job, sortPods(pods), undefined);
  return new Set([...held.values()].map(({ metadata }) => metadata.uid));
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

/** Writes the status as of now, and tells of a suspension's turn. */
async function store(standing: Standing, context: Context, isFinal = false): Promise<Job> {
  const { job, verdict } = standing;
  const pods = sortPods(await podsOf(job, context));
  const status = statusOf(standing, pods, { nowMs: context.clock.now(), isFinal });
  const turn = verdict === undefined ? suspensionTurn(job) : undefined;
  const written = await syncStatus(context.cluster.client.resource(JobKind), job, status, fieldManager);
  if (turn !== undefined) context.events.record(job, "Normal", turn, `Job ${turn.toLowerCase()}`);
  return written;
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
