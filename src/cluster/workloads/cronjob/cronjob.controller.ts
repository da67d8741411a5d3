import {
  type ControllerSpec,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
import { InputError, isAlreadyExists, messageOf } from "../../../kernel/errors/index.js";
import {
  type CronJob,
  CronJobKind,
  isConditionTrue,
  isDeleting,
  type Job,
  JobKind,
  ownerReferenceTo,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { ownedBy } from "../shared/pods.js";
import { lastDue, parseSchedule, type Schedule } from "./schedule.js";

const fieldManager = "cronjob-controller";
const scheduledAnnotation = "batch.kubernetes.io/cronjob-scheduled-timestamp";

type Context = ReconcileContext<CronJob>;

/** Makes Jobs by the calendar. */
export function cronJobController(): ControllerSpec<CronJob> {
  return {
    name: fieldManager,
    kind: CronJobKind,
    owns: [JobKind],
    async reconcile(_key, cron, context) {
      return cron === undefined || isDeleting(cron) ? undefined : reconcileCron(cron, context);
    },
  };
}

const isOver = (job: Job): boolean =>
  isConditionTrue(job.status?.conditions, "Complete") || isConditionTrue(job.status?.conditions, "Failed");
const createdMs = (job: Job): number => Date.parse(job.metadata.creationTimestamp);

function readSchedule(cron: CronJob, context: Context): Schedule | undefined {
  try {
    return parseSchedule(cron.spec.schedule, cron.spec.timeZone);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    context.events.record(cron, "Warning", "UnparseableSchedule", messageOf(error));
    return undefined;
  }
}

async function reconcileCron(cron: CronJob, context: Context): Promise<ReconcileResult | undefined> {
  const jobs = (): readonly Job[] => ownedBy(context.cluster.informers.informer(JobKind), cron.metadata.uid);
  await forgetOld(cron, jobs(), context);
  const schedule = readSchedule(cron, context);
  const nowMs = context.clock.now();
  let lastScheduleTime = cron.status?.lastScheduleTime;
  if (schedule !== undefined && cron.spec.suspend !== true) {
    const startedAt = await startDue(cron, schedule, jobs(), context);
    if (startedAt !== undefined) lastScheduleTime = timeOf(startedAt);
  }
  await report(cron, jobs(), lastScheduleTime, context);
  const next = schedule === undefined || cron.spec.suspend === true ? undefined : schedule.next(nowMs);
  return next === undefined ? undefined : { requeueAfterMs: next - nowMs };
}

/** Makes the Job of the last due time that has none. Only the latest counts: what was slept through is not made up for. */
async function startDue(
  cron: CronJob,
  schedule: Schedule,
  jobs: readonly Job[],
  context: Context,
): Promise<number | undefined> {
  const nowMs = context.clock.now();
  const { startingDeadlineSeconds, concurrencyPolicy } = cron.spec;
  const sinceMs = Date.parse(cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp);
  const due = lastDue(schedule, sinceMs, nowMs);
  if (due === undefined) return undefined;
  if (startingDeadlineSeconds !== undefined && nowMs - due > startingDeadlineSeconds * 1000) {
    context.events.record(cron, "Warning", "MissSchedule", `Missed scheduled time to start a job: ${timeOf(due)}`);
    return undefined;
  }
  const active = jobs.filter((job) => !isOver(job));
  if (active.length > 0 && concurrencyPolicy === "Forbid") {
    context.events.record(
      cron,
      "Normal",
      "JobAlreadyActive",
      "Not starting job because prior execution is running and concurrency policy is Forbid",
    );
    return undefined;
  }
  if (concurrencyPolicy === "Replace") for (const job of active) await deleteJob(cron, job, context);
  await createJob(cron, due, context);
  return due;
}

async function createJob(cron: CronJob, dueMs: number, context: Context): Promise<void> {
  const { jobTemplate } = cron.spec;
  // The name follows from the time, so that a Job is made once, whatever happens in between.
  const name = `${cron.metadata.name}-${Math.floor(dueMs / 60_000)}`;
  const draft = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name,
      namespace: cron.metadata.namespace ?? "",
      labels: { ...jobTemplate.metadata?.labels },
      annotations: { ...jobTemplate.metadata?.annotations, [scheduledAnnotation]: timeOf(dueMs) },
      ownerReferences: [ownerReferenceTo(cron)],
    },
    spec: { template: {}, ...jobTemplate.spec },
  };
  try {
    await context.cluster.client.resource(JobKind).create(draft, { fieldManager });
    context.events.record(cron, "Normal", "SuccessfulCreate", `Created job ${name}`);
  } catch (error) {
    if (isAlreadyExists(error)) return;
    context.events.record(cron, "Warning", "FailedCreate", `Error creating job: ${messageOf(error)}`);
    throw error;
  }
}

async function deleteJob(cron: CronJob, job: Job, context: Context): Promise<void> {
  const { name, namespace = "", uid } = job.metadata;
  await context.cluster.client
    .resource(JobKind)
    .delete(name, { namespace, propagationPolicy: "Background", preconditions: { uid } });
  context.events.record(cron, "Normal", "SuccessfulDelete", `Deleted job ${name}`);
}

/** Keeps as many finished Jobs as the history limits say. */
async function forgetOld(cron: CronJob, jobs: readonly Job[], context: Context): Promise<void> {
  const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cron.spec;
  for (const [type, limit] of [
    ["Complete", successfulJobsHistoryLimit],
    ["Failed", failedJobsHistoryLimit],
  ] as const) {
    const over = jobs
      .filter((job) => isConditionTrue(job.status?.conditions, type) && !isDeleting(job))
      .toSorted((a, b) => createdMs(a) - createdMs(b));
    for (const job of over.slice(0, Math.max(0, over.length - limit))) await deleteJob(cron, job, context);
  }
}

async function report(
  cron: CronJob,
  jobs: readonly Job[],
  lastScheduleTime: string | undefined,
  context: Context,
): Promise<void> {
  const active = jobs
    .filter((job) => !isOver(job) && !isDeleting(job))
    .toSorted((a, b) => createdMs(a) - createdMs(b))
    .map(({ metadata }) => ({
      apiVersion: "batch/v1",
      kind: "Job",
      name: metadata.name,
      namespace: metadata.namespace ?? "",
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
    }));
  const ends = jobs.flatMap((job) => (job.status?.completionTime === undefined ? [] : [job.status.completionTime]));
  const lastSuccessfulTime = [
    ...ends,
    ...(cron.status?.lastSuccessfulTime === undefined ? [] : [cron.status.lastSuccessfulTime]),
  ]
    .toSorted((a, b) => (a < b ? -1 : 1))
    .at(-1);
  // The versions of running Jobs change with each of their steps; that alone is no news.
  const known = cron.status?.active ?? [];
  const isSame = known.map(({ uid }) => uid).join() === active.map(({ uid }) => uid).join();
  const status = {
    ...(active.length > 0 ? { active: isSame ? known : active } : {}),
    ...(lastScheduleTime === undefined ? {} : { lastScheduleTime }),
    ...(lastSuccessfulTime === undefined ? {} : { lastSuccessfulTime }),
  };
  await syncStatus(context.cluster.client.resource(CronJobKind), cron, status, fieldManager);
}
