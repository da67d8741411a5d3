import type { Job, JobStatus, Pod } from "../../../kernel/kinds/index.js";
import { judgeFailure } from "./failure-policy.js";
import { formatIndexes, parseIndexes } from "./indexes.js";
import { counts, hasFailed, hasSucceeded, isIndexed, isTracked, type SortedPods, validIndexOf } from "./job-pods.js";
import { failedIndexes, hasLimitPerIndex, heldPods } from "./per-index.js";

/** Uids in the status at once, as upstream: it stays small, and one Job does not hold up others. */
const maxUncounted = 500;

/** How many pods ended how, safe against any interruption: see `countEnded`. */
export interface Tally {
  readonly succeeded: number;
  readonly failed: number;
  /** Of Indexed Jobs. */
  readonly completed: ReadonlySet<number>;
  /** Indexes that are given up. */
  readonly lost: ReadonlySet<number>;
  /** Failed pods that are not counted before their replacement is there, by index. */
  readonly held: ReadonlyMap<number, Pod>;
  /** Uids that are counted in no number yet and whose pods may still have their finalizer. */
  readonly uncounted: { readonly succeeded: readonly string[]; readonly failed: readonly string[] };
}

/** How a Job that is over ended; its last pods are counted by that. */
export type End = "success" | "failure" | undefined;

/**
 * Takes newly ended pods into the status. A pod's uid goes into `uncountedTerminatedPods` first; only after that is stored
 * does the pod lose its finalizer, and only after that does its uid become a number. So whatever instruction the program
 * dies at, no pod is counted twice or never. When the Job has failed, what still ran has failed too.
 */
export function countEnded(job: Job, pods: SortedPods, end: End): Tally {
  const { succeeded: counted = 0, failed: lostBefore = 0, ...status } = job.status ?? {};
  const tracked = new Map(pods.all.filter(isTracked).map((pod) => [pod.metadata.uid, pod]));
  const before: Tally["uncounted"] = { succeeded: [], failed: [], ...status.uncountedTerminatedPods };
  const isFreed = (uid: string): boolean => !tracked.has(uid);
  const known = new Set([...before.succeeded, ...before.failed]);
  const completed = completedIndexes(job, pods.all);
  const lost = failedIndexes(job, pods.all);
  const held = end === undefined ? heldPods(job, pods, { completed, failed: lost }) : new Map<number, Pod>();
  const waiting = new Set([...held.values()].map(({ metadata }) => metadata.uid));
  const succeeded = before.succeeded.filter((uid) => !isFreed(uid));
  const failed = before.failed.filter((uid) => !isFreed(uid));
  for (const [uid, pod] of tracked) {
    if (succeeded.length + failed.length >= maxUncounted) break;
    if (known.has(uid) || waiting.has(uid) || !counts(job, pod)) continue;
    // A set of indexes counts the same one only once, so these need no detour.
    if (hasSucceeded(pod)) {
      if (!isIndexed(job)) succeeded.push(uid);
    } else if ((hasFailed(pod, job) || end === "failure") && !isOverlooked(job, pod)) failed.push(uid);
  }
  return {
    succeeded: isIndexed(job) ? completed.size : counted + before.succeeded.filter(isFreed).length,
    failed: lostBefore + before.failed.filter(isFreed).length,
    completed,
    lost,
    held,
    uncounted: { succeeded, failed },
  };
}

function completedIndexes(job: Job, pods: readonly Pod[]): ReadonlySet<number> {
  if (!isIndexed(job)) return new Set();
  const completed = parseIndexes(job.status?.completedIndexes, job.spec.completions);
  for (const pod of pods) {
    const index = validIndexOf(job, pod);
    if (index !== undefined && isTracked(pod) && hasSucceeded(pod)) completed.add(index);
  }
  return completed;
}

/** Whether the Job's podFailurePolicy does not count the end of this pod. */
function isOverlooked(job: Job, pod: Pod): boolean {
  return judgeFailure(job, pod).action === "Ignore";
}

/** Whether the Job's podFailurePolicy overlooks this failure. */
export function isIgnored(job: Job, pod: Pod): boolean {
  return hasFailed(pod, job) && isOverlooked(job, pod);
}

/** All successes, counted or on the way. */
export function successes(job: Job, tally: Tally): number {
  return isIndexed(job) ? tally.completed.size : tally.succeeded + tally.uncounted.succeeded.length;
}

/** All failures, counted or on the way. */
export function failures(job: Job, tally: Tally): number {
  const held = [...tally.held.values()].filter((pod) => !isIgnored(job, pod));
  return tally.failed + tally.uncounted.failed.length + held.length;
}

/** The tally as status fields; zeros are left out, as Go leaves them out. */
export function tallyStatus(
  job: Job,
  tally: Tally,
): Pick<JobStatus, "succeeded" | "failed" | "completedIndexes" | "failedIndexes" | "uncountedTerminatedPods"> {
  const { succeeded, failed } = tally.uncounted;
  return {
    ...(tally.succeeded > 0 ? { succeeded: tally.succeeded } : {}),
    ...(tally.failed > 0 ? { failed: tally.failed } : {}),
    ...(isIndexed(job) && tally.completed.size > 0 ? { completedIndexes: formatIndexes(tally.completed) } : {}),
    ...(hasLimitPerIndex(job) ? { failedIndexes: formatIndexes(tally.lost) } : {}),
    uncountedTerminatedPods: {
      ...(succeeded.length > 0 ? { succeeded: [...succeeded] } : {}),
      ...(failed.length > 0 ? { failed: [...failed] } : {}),
    },
  };
}
