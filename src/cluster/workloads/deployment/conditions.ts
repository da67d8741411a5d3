import {
  type Deployment,
  type DeploymentStatus,
  findCondition,
  type ReplicaSet,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { total } from "./annotations.js";
import { allSets, fenceposts, type Rollout, wanted } from "./rollout.js";

type DeploymentCondition = NonNullable<DeploymentStatus["conditions"]>[number];

/** What a condition is to say. */
export interface Said {
  readonly type: "Available" | "Progressing" | "ReplicaFailure";
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

/** Sets a condition. The same status and reason again changes nothing, unless `renew` asks for a new update time. */
export function withSaid(
  conditions: readonly DeploymentCondition[],
  said: Said,
  nowMs: number,
  renew = false,
): DeploymentCondition[] {
  const before = findCondition(conditions, said.type);
  if (before?.status === said.status && before.reason === said.reason && !renew) return [...conditions];
  const now = timeOf(nowMs);
  const lastTransitionTime = before?.status === said.status ? (before.lastTransitionTime ?? now) : now;
  const others = conditions.filter((condition) => condition.type !== said.type);
  return [...others, { ...said, lastUpdateTime: now, lastTransitionTime }];
}

/** Counts over all sets, and Available. */
export function countStatus(rollout: Rollout, nowMs: number): DeploymentStatus {
  const { deployment, current } = rollout;
  const sets = allSets(rollout);
  const replicas = total(sets, (set) => set.status?.replicas ?? 0);
  const available = total(sets, (set) => set.status?.availableReplicas ?? 0);
  const numbers = {
    replicas,
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: total(sets, (set) => set.status?.readyReplicas ?? 0),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, total(sets, (set) => set.spec.replicas ?? 1) - available),
  };
  const isEnough = available >= wanted(deployment) - fenceposts(deployment).unavailable;
  const conditions = withSaid(
    deployment.status?.conditions ?? [],
    {
      type: "Available",
      status: isEnough ? "True" : "False",
      reason: isEnough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
      message: isEnough ? "Deployment has minimum availability." : "Deployment does not have minimum availability.",
    },
    nowMs,
  );
  return {
    // Zeros are left out, as Go leaves them out.
    ...Object.fromEntries(Object.entries(numbers).filter(([, count]) => count > 0)),
    ...(deployment.metadata.generation === undefined ? {} : { observedGeneration: deployment.metadata.generation }),
    ...(deployment.status?.collisionCount === undefined ? {} : { collisionCount: deployment.status.collisionCount }),
    conditions,
  };
}

/** Whether every wanted pod is of the present template, available, and no other is left. */
export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const { updatedReplicas = 0, replicas = 0, availableReplicas = 0 } = status;
  return [updatedReplicas, replicas, availableReplicas].every((count) => count === wanted(deployment));
}

function hasProgressed(before: DeploymentStatus, now: DeploymentStatus): boolean {
  const old = (status: DeploymentStatus): number => (status.replicas ?? 0) - (status.updatedReplicas ?? 0);
  return (
    (now.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    old(now) < old(before) ||
    (now.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (now.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  );
}

/** When the roll-out counts as stuck, in milliseconds; `undefined`: never, or not while it is complete or said to be. */
export function deadlineMs(deployment: Deployment, conditions: readonly DeploymentCondition[]): number | undefined {
  const seconds = deployment.spec.progressDeadlineSeconds;
  // Upstream's largest int32 stands for "no deadline".
  if (seconds === undefined || seconds === 2_147_483_647) return undefined;
  const progressing = findCondition(conditions, "Progressing");
  if (progressing?.lastUpdateTime === undefined) return undefined;
  if (progressing.reason === "NewReplicaSetAvailable" || progressing.reason === "ProgressDeadlineExceeded")
    return undefined;
  return Date.parse(progressing.lastUpdateTime) + seconds * 1000;
}

/** The status of a roll-out under way: counts, Available, Progressing, ReplicaFailure. */
export function rolloutStatus(rollout: Rollout, nowMs: number): DeploymentStatus {
  const { deployment } = rollout;
  const status = countStatus(rollout, nowMs);
  const conditions = progress(rollout, status, nowMs);
  const failure = allSets(rollout)
    .toReversed()
    .map((set: ReplicaSet) => findCondition(set.status?.conditions, "ReplicaFailure"))
    .find((condition) => condition !== undefined);
  const others = conditions.filter((condition) => condition.type !== "ReplicaFailure");
  if (failure === undefined) return { ...status, conditions: others };
  const kept = findCondition(conditions, "ReplicaFailure");
  const said: Said = {
    type: "ReplicaFailure",
    status: "True",
    reason: failure.reason ?? "",
    message: failure.message ?? "",
  };
  return { ...status, conditions: withSaid(kept === undefined ? others : [...others, kept], said, nowMs) };

  function progress(of: Rollout, now: DeploymentStatus, atMs: number): DeploymentCondition[] {
    const before = now.conditions ?? [];
    const name =
      of.current === undefined
        ? `Deployment "${deployment.metadata.name}"`
        : `ReplicaSet "${of.current.metadata.name}"`;
    const reason = findCondition(before, "Progressing")?.reason;
    const isDone = now.replicas === now.updatedReplicas && reason === "NewReplicaSetAvailable";
    if (deployment.spec.progressDeadlineSeconds === undefined || (isDone && !isComplete(deployment, now)))
      return before;
    const say = (status: "True" | "False", because: string, message: string, renew = false): DeploymentCondition[] =>
      withSaid(before, { type: "Progressing", status, reason: because, message: `${name} ${message}` }, atMs, renew);
    if (isComplete(deployment, now)) return say("True", "NewReplicaSetAvailable", "has successfully progressed.");
    if (hasProgressed(deployment.status ?? {}, now)) return say("True", "ReplicaSetUpdated", "is progressing.", true);
    const limitMs = deadlineMs(deployment, before);
    if (limitMs !== undefined && atMs > limitMs)
      return say("False", "ProgressDeadlineExceeded", "has timed out progressing.");
    return before;
  }
}
