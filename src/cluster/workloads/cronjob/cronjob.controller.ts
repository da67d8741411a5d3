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
  controllerOf,
  isConditionTrue,
  isDeleting,
  type Job,
  JobKind,
  ownerReferenceTo,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { isNamespaceTerminating } from "../shared/create.js";
import { ownedBy } from "../shared/pods.js";
import { dueSince, isTimeZone, parseSchedule, type Schedule, zonedTime } from "./schedule.js";

const fieldManager = "cronjob-controller";
const scheduledAnnotation = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/** More missed times than this are worth a warning. */
const manyMissed = 100;

type Context = ReconcileContext<CronJob>;
type Status = NonNullable<CronJob["status"]>;
type Active = NonNullable<Status["active"]>[number];

/** Makes Jobs by the calendar. */
export function cronJobController(): ControllerSpec<CronJob> {
  return {
    name: fieldManager,
    kind: CronJobKind,
    owns: [JobKind],
    async reconcile(_key, cron, context) {
      return cron === undefined ? undefined : reconcileCron(cron, context);
    },
  };
}

const endOf = (job: Job): "Complete" | "Failed" | undefined =>
  (["Complete", "Failed"] as const).find((type) => isConditionTrue(job.status?.conditions, type));

async function reconcileCron(cron: CronJob, context: Context): Promise<ReconcileResult | undefined> {
  const jobs = (): readonly Job[] => ownedBy(context.cluster.informers.informer(JobKind), cron.metadata.uid);
  const nowMs = context.clock.now();
  await forgetOld(cron, jobs(), context);
  let standing = await lookAtJobs(cron, jobs(), context);
  const schedule = readSchedule(cron, context);
  if (schedule !== undefined && cron.spec.suspend !== true && !isDeleting(cron))
    standing = await startDue({ cron, schedule, standing }, context);
  await report(cron, jobs(), standing, context);
  const next = schedule === undefined || cron.spec.suspend === true ? undefined : schedule.next(nowMs);
  return next === undefined ? undefined : { requeueAfterMs: next - nowMs };
}

/** What the status is to say of Jobs under way. */
interface Standing {
  readonly active: readonly Active[];
  readonly lastScheduleTime: string | undefined;
}

/** Drops from the list of running Jobs those that ended or are gone, and tells of them and of Jobs that nobody expected. */
async function lookAtJobs(cron: CronJob, jobs: readonly Job[], context: Context): Promise<Standing> {
  const listed = cron.status?.active ?? [];
  const known = new Map(jobs.map((job) => [job.metadata.uid, job]));
  const active: Active[] = [];
  for (const entry of listed) {
    const job = known.get(entry.uid ?? "");
    const end = job === undefined ? undefined : endOf(job);
    const name = entry.name ?? "";
    if (end !== undefined)
      context.events.record(cron, "Normal", "SawCompletedJob", `Saw completed job: ${name}, condition: ${end}`);
    else if (job !== undefined || (await isThere(entry, context))) active.push(entry);
    else context.events.record(cron, "Normal", "MissingJob", `Active job went missing: ${name}`);
  }
  for (const job of jobs) {
    const isExpected = listed.some(({ uid }) => uid === job.metadata.uid) || endOf(job) !== undefined;
    // One of its own that the status does not show yet is found again by its name.
    if (isExpected || job.metadata.annotations?.[scheduledAnnotation] !== undefined) continue;
    const message = `Saw a job that the controller did not create or forgot: ${job.metadata.name}`;
    context.events.record(cron, "Warning", "UnexpectedJob", message);
  }
  return { active, lastScheduleTime: cron.status?.lastScheduleTime };
}

/** The informer may be behind; the server is not. */
async function isThere({ name = "", namespace = "", uid }: Active, { cluster }: Context): Promise<boolean> {
  const live = await cluster.client.resource(JobKind).find(name, { namespace });
  return live !== undefined && live.metadata.uid === uid;
}

function readSchedule(cron: CronJob, context: Context): Schedule | undefined {
  const { timeZone, schedule } = cron.spec;
  if (timeZone !== undefined && !isTimeZone(timeZone)) {
    const message = `invalid timeZone: "${timeZone}": unknown time zone ${timeZone}`;
    context.events.record(cron, "Warning", "UnknownTimeZone", message);
    return undefined;
  }
  try {
    const parsed = parseSchedule(schedule, timeZone);
    if (parsed.next(context.clock.now()) !== undefined) return parsed;
    const why = "time difference between two schedules is less than 1 second";
    context.events.record(cron, "Warning", "InvalidSchedule", `invalid schedule: ${schedule} : ${why}`);
    return undefined;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const message = `unparseable schedule: "${schedule}" : ${messageOf(error)}`;
    context.events.record(cron, "Warning", "UnparseableSchedule", message);
    return undefined;
  }
}

interface Turn {
  readonly cron: CronJob;
  readonly schedule: Schedule;
  readonly standing: Standing;
}

/** Makes the Job of the last due time that has none. Only the latest counts: what was slept through is not made up for. */
async function startDue({ cron, schedule, standing }: Turn, context: Context): Promise<Standing> {
  const { active, lastScheduleTime } = standing;
  const due = dueNow(cron, schedule, context);
  const name = `${cron.metadata.name}-${Math.floor((due ?? 0) / 60_000)}`;
  if (due === undefined || timeOf(due) === lastScheduleTime || active.some((entry) => entry.name === name))
    return standing;
  if (active.length > 0 && cron.spec.concurrencyPolicy === "Forbid") {
    context.events.record(
      cron,
      "Normal",
      "JobAlreadyActive",
      "Not starting job because prior execution is running and concurrency policy is Forbid",
    );
    return standing;
  }
  const isReplacing = cron.spec.concurrencyPolicy === "Replace";
  if (isReplacing)
    for (const { name: old = "", uid = "" } of active) await deleteJob(cron, { name: old, uid }, context);
  const job = await createJob(cron, { dueMs: due, name }, context);
  const kept = isReplacing ? [] : active;
  // Somebody else's Job has the name: it stands for this time.
  if (job === undefined) return { active: kept, lastScheduleTime };
  const { uid, resourceVersion, namespace = "" } = job.metadata;
  const entry = { apiVersion: "batch/v1", kind: "Job", name, namespace, uid, resourceVersion };
  return { active: [...kept, entry], lastScheduleTime: timeOf(due) };
}

function dueNow(cron: CronJob, schedule: Schedule, context: Context): number | undefined {
  const nowMs = context.clock.now();
  const { startingDeadlineSeconds } = cron.spec;
  const sinceMs = Date.parse(cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp);
  const deadlineMs = startingDeadlineSeconds === undefined ? sinceMs : nowMs - startingDeadlineSeconds * 1000;
  const due = dueSince(schedule, Math.max(sinceMs, deadlineMs), nowMs);
  if (due !== undefined && due.missed > manyMissed)
    context.events.record(
      cron,
      "Warning",
      "TooManyMissedTimes",
      "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew",
    );
  return due?.last;
}

/** The name follows from the time, so that a Job is made once, whatever happens in between. `undefined`: it is nobody's concern of ours. */
async function createJob(
  cron: CronJob,
  { dueMs, name }: { readonly dueMs: number; readonly name: string },
  context: Context,
): Promise<Job | undefined> {
  const { jobTemplate, timeZone } = cron.spec;
  const namespace = cron.metadata.namespace ?? "";
  const draft = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name,
      namespace,
      ...(jobTemplate.metadata?.labels === undefined ? {} : { labels: jobTemplate.metadata.labels }),
      annotations: { ...jobTemplate.metadata?.annotations, [scheduledAnnotation]: zonedTime(dueMs, timeZone) },
      ownerReferences: [ownerReferenceTo(cron)],
    },
    spec: { template: {}, ...jobTemplate.spec },
  };
  const resource = context.cluster.client.resource(JobKind);
  try {
    const job = await resource.create(draft, { fieldManager });
    context.events.record(cron, "Normal", "SuccessfulCreate", `Created job ${name}`);
    return job;
  } catch (error) {
    if (isNamespaceTerminating(error)) return undefined;
    if (isAlreadyExists(error)) {
      const job = await resource.find(name, { namespace });
      return job !== undefined && controllerOf(job)?.uid === cron.metadata.uid ? job : undefined;
    }
    context.events.record(cron, "Warning", "FailedCreate", `Error creating job: ${messageOf(error)}`);
    throw error;
  }
}

async function deleteJob(
  cron: CronJob,
  { name, uid }: { readonly name: string; readonly uid: string },
  context: Context,
): Promise<void> {
  const namespace = cron.metadata.namespace ?? "";
  try {
    await context.cluster.client
      .resource(JobKind)
      .delete(name, { namespace, propagationPolicy: "Background", preconditions: { uid } });
    context.events.record(cron, "Normal", "SuccessfulDelete", `Deleted job ${name}`);
  } catch (error) {
    context.events.record(cron, "Warning", "FailedDelete", `Deleted job: ${messageOf(error)}`);
    throw error;
  }
}

/** Keeps as many finished Jobs as the history limits say. */
async function forgetOld(cron: CronJob, jobs: readonly Job[], context: Context): Promise<void> {
  const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cron.spec;
  const startOf = ({ status }: Job): number => Date.parse(status?.startTime ?? "9999-01-01T00:00:00Z");
  for (const [type, limit] of [
    ["Complete", successfulJobsHistoryLimit],
    ["Failed", failedJobsHistoryLimit],
  ] as const) {
    const over = jobs
      .filter((job) => endOf(job) === type && !isDeleting(job))
      .toSorted((a, b) => startOf(a) - startOf(b) || (a.metadata.name < b.metadata.name ? -1 : 1));
    for (const { metadata } of over.slice(0, Math.max(0, over.length - limit)))
      await deleteJob(cron, metadata, context);
  }
}

async function report(cron: CronJob, jobs: readonly Job[], standing: Standing, context: Context): Promise<void> {
  const { active, lastScheduleTime } = standing;
  const before = cron.status?.lastSuccessfulTime;
  const ends = jobs
    .filter((job) => endOf(job) === "Complete")
    .flatMap((job) => (job.status?.completionTime === undefined ? [] : [job.status.completionTime]));
  const lastSuccessfulTime = [...ends, ...(before === undefined ? [] : [before])]
    .toSorted((a, b) => (a < b ? -1 : 1))
    .at(-1);
  const status: Status = {
    ...(active.length > 0 ? { active: [...active] } : {}),
    ...(lastScheduleTime === undefined ? {} : { lastScheduleTime }),
    ...(lastSuccessfulTime === undefined ? {} : { lastSuccessfulTime }),
  };
  await syncStatus(context.cluster.client.resource(CronJobKind), cron, status, fieldManager);
}
