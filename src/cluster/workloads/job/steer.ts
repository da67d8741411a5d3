import type { ReconcileContext } from "../../../kernel/control/index.js";
import type { Job, Pod } from "../../../kernel/kinds/index.js";
import { rankForDeletion } from "../replicaset/deletion-rank.js";
import { slowStart } from "../shared/batches.js";
import { createOwnedPod } from "../shared/create.js";
import { podFromTemplate } from "../shared/pods.js";
import {
  backoffMs,
  indexAnnotation,
  indexOf,
  isIndexed,
  replacesOnlyFailed,
  type SortedPods,
  trackingFinalizer,
  validIndexOf,
} from "./job-pods.js";
import { failureAnnotations, hasLimitPerIndex, untilRetryMs } from "./per-index.js";
import { successes, type Tally } from "./tally.js";

/** Creations and deletions of one look, as upstream. */
const maxBurst = 500;
/** Longest beginning of a generated name. */
const maxPrefix = 58;

/** What is to be done so that the right number of pods runs. */
export interface Steps {
  /** Pods that are too many. */
  readonly surplus: readonly Pod[];
  /** How many pods to make; of an Indexed Job: for which indexes. */
  readonly missing: number | readonly number[];
  /** When more may be made; `undefined`: nothing waits. */
  readonly afterMs?: number;
}

/** Compares what runs with what should. Either too much is taken away, or what is missing is made, never both at once. */
export function planSteps(job: Job, tally: Tally, pods: SortedPods, nowMs: number): Steps {
  const { active } = pods;
  const wanted = job.spec.suspend === true ? 0 : wantedActive(job, tally, active.length);
  const surplus = surplusOf(job, active, Math.max(0, active.length - wanted), nowMs);
  if (surplus.length > 0 || job.spec.suspend === true) return { surplus: surplus.slice(0, maxBurst), missing: 0 };
  const held = replacesOnlyFailed(job) ? pods.terminating.length : 0;
  const missing = Math.min(wanted - active.length - held, maxBurst);
  if (missing <= 0) return { surplus, missing: 0 };
  if (hasLimitPerIndex(job)) return indexSteps(job, tally, { pods, missing, nowMs });
  const waitMs = backoffMs(pods.all, job, nowMs);
  if (waitMs > 0) return { surplus, missing: 0, afterMs: waitMs };
  return { surplus, missing: isIndexed(job) ? freeIndexes(job, tally, pods, missing) : missing };
}

function wantedActive(job: Job, tally: Tally, active: number): number {
  const { parallelism = 1, completions } = job.spec;
  const done = successes(job, tally);
  if (completions === undefined) return done > 0 ? active : parallelism;
  return Math.max(0, Math.min(completions - done, parallelism));
}

/** Two pods for one index, or pods without an index that there is, are too many whatever their number. */
function surplusOf(job: Job, active: readonly Pod[], atLeast: number, nowMs: number): readonly Pod[] {
  const ranked = rankForDeletion(active, nowMs);
  if (!isIndexed(job)) return ranked.slice(0, atLeast);
  const surplus: Pod[] = [];
  const kept: Pod[] = [];
  const taken = new Set<number>();
  for (const pod of ranked.toReversed()) {
    const index = validIndexOf(job, pod);
    if (index === undefined || taken.has(index)) surplus.push(pod);
    else {
      taken.add(index);
      kept.unshift(pod);
    }
  }
  return [...surplus, ...kept.slice(0, Math.max(0, atLeast - surplus.length))];
}

function indexSteps(
  job: Job,
  tally: Tally,
  { pods, missing, nowMs }: { readonly pods: SortedPods; readonly missing: number; readonly nowMs: number },
): Steps {
  const waits = freeIndexes(job, tally, pods, missing).map((index) => ({
    index,
    waitMs: untilRetryMs(tally.held.get(index), nowMs),
  }));
  const due = waits.filter(({ waitMs }) => waitMs === 0).map(({ index }) => index);
  const later = waits.filter(({ waitMs }) => waitMs > 0).map(({ waitMs }) => waitMs);
  return { surplus: [], missing: due, ...(later.length === 0 ? {} : { afterMs: Math.min(...later) }) };
}

/** Indexes that nobody works on, lowest first. */
function freeIndexes(job: Job, tally: Tally, pods: SortedPods, count: number): readonly number[] {
  const held = replacesOnlyFailed(job) ? [...pods.active, ...pods.terminating] : pods.active;
  const taken = new Set([...tally.completed, ...tally.lost, ...held.map(indexOf)]);
  const free: number[] = [];
  for (let index = 0; index < (job.spec.completions ?? 0) && free.length < count; index += 1)
    if (!taken.has(index)) free.push(index);
  return free;
}

/** Makes the missing pods, a few first. */
export function createPods(
  { job, tally, missing }: { readonly job: Job; readonly tally: Tally; readonly missing: Steps["missing"] },
  context: ReconcileContext<Job>,
  fieldManager: string,
): Promise<{ readonly error?: unknown }> {
  const indexes = typeof missing === "number" ? undefined : missing;
  return slowStart(typeof missing === "number" ? missing : missing.length, (n) => {
    const index = indexes?.[n];
    const draft = podFromTemplate(job.spec.template, job, {
      finalizers: [trackingFinalizer],
      ...(index === undefined ? {} : indexExtras(job, index, tally.held.get(index))),
    });
    return createOwnedPod(job, draft, context, fieldManager);
  });
}

function indexExtras(job: Job, index: number, replaced: Pod | undefined) {
  const { metadata } = job;
  const { template } = job.spec;
  const value = String(index);
  const suffix = `-${value}-`;
  const env = {
    name: "JOB_COMPLETION_INDEX",
    valueFrom: { fieldRef: { fieldPath: `metadata.labels['${indexAnnotation}']` } },
  };
  const withIndex = (container: Pod["spec"]["containers"][number]) =>
    container.env?.some(({ name }) => name === env.name) === true
      ? container
      : { ...container, env: [...(container.env ?? []), env] };
  const { containers = [], initContainers } = template.spec ?? {};
  return {
    generateName: `${metadata.name.slice(0, maxPrefix - suffix.length)}${suffix}`,
    labels: { [indexAnnotation]: value },
    annotations: { [indexAnnotation]: value, ...failureAnnotations(job, replaced) },
    spec: {
      hostname: `${metadata.name}${suffix.slice(0, -1)}`,
      containers: containers.map(withIndex),
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(withIndex) }),
    },
  };
}
