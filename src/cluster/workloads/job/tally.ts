import type { Job, JobStatus, Pod } from "../../../kernel/kinds/index.js";
import { judgeFailure } from "./failure-policy.js";
import { formatIndexes, parseIndexes } from "./indexes.js";
import { hasFailed, hasSucceeded, indexOf, isIndexed, isTracked } from "./job-pods.js";

/** How many pods ended how, safe against any interruption: see `countEnded`. */
export interface Tally {
  readonly succeeded: number;
  readonly failed: number;
  /** Of Indexed Jobs. */
  readonly completed: ReadonlySet<number>;
  /** Uids that are counted in no number yet and whose pods may still have their finalizer. */
  readonly uncounted: { readonly succeeded: readonly string[]; readonly failed: readonly string[] };
}

/**
 * Takes newly ended pods into the status. A pod's uid goes into `uncountedTerminatedPods` first; only after that is stored
 * does the pod lose its finalizer, and only after that does its uid become a number. So whatever instruction the program
 * dies at, no pod is counted twice or never.
 */
export function countEnded(job: Job, pods: readonly Pod[]): Tally {
  const { succeeded: counted = 0, failed: lost = 0, ...status } = job.status ?? {};
  const tracked = new Map(pods.filter(isTracked).map((pod) => [pod.metadata.uid, pod]));
  const before: Tally["uncounted"] = { succeeded: [], failed: [], ...status.uncountedTerminatedPods };
  const isFreed = (uid: string): boolean => !tracked.has(uid);
  const known = new Set([...before.succeeded, ...before.failed]);
  const completed = parseIndexes(isIndexed(job) ? status.completedIndexes : undefined);
  const succeeded = before.succeeded.filter((uid) => !isFreed(uid));
  const failed = before.failed.filter((uid) => !isFreed(uid));
  for (const [uid, pod] of tracked) {
    if (known.has(uid)) continue;
    if (hasSucceeded(pod)) {
      const index = indexOf(pod) ?? Number.POSITIVE_INFINITY;
      // A set of indexes counts the same one only once, so these need no detour.
      if (!isIndexed(job)) succeeded.push(uid);
      else if (index < (job.spec.completions ?? 0)) completed.add(index);
    } else if (hasFailed(pod, job) && !isIgnored(job, pod)) failed.push(uid);
  }
  return {
    succeeded: isIndexed(job) ? completed.size : counted + before.succeeded.filter(isFreed).length,
    failed: lost + before.failed.filter(isFreed).length,
    completed,
    uncounted: { succeeded, failed },
  };
}

/** Whether the Job's podFailurePolicy overlooks this failure. */
export function isIgnored(job: Job, pod: Pod): boolean {
  return hasFailed(pod, job) && judgeFailure(job, pod).action === "Ignore";
}

/** All successes, counted or on the way. */
export function successes(job: Job, tally: Tally): number {
  return isIndexed(job) ? tally.completed.size : tally.succeeded + tally.uncounted.succeeded.length;
}

/** All failures, counted or on the way. */
export function failures(tally: Tally): number {
  return tally.failed + tally.uncounted.failed.length;
}

/** The tally as status fields; zeros are left out, as Go leaves them out. */
export function tallyStatus(
  job: Job,
  tally: Tally,
): Pick<JobStatus, "succeeded" | "failed" | "completedIndexes" | "uncountedTerminatedPods"> {
  const { succeeded, failed } = tally.uncounted;
  return {
    ...(tally.succeeded > 0 ? { succeeded: tally.succeeded } : {}),
    ...(tally.failed > 0 ? { failed: tally.failed } : {}),
    ...(isIndexed(job) && tally.completed.size > 0 ? { completedIndexes: formatIndexes(tally.completed) } : {}),
    uncountedTerminatedPods: {
      ...(succeeded.length > 0 ? { succeeded: [...succeeded] } : {}),
      ...(failed.length > 0 ? { failed: [...failed] } : {}),
    },
  };
}
