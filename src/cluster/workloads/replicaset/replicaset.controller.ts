import {
  type ControllerSpec,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import {
  findCondition,
  isDeleting,
  type Pod,
  PodKind,
  type ReplicaSet,
  ReplicaSetKind,
  type ReplicaSetStatus,
  selectorFrom,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { slowStart } from "../shared/batches.js";
import { claimObjects } from "../shared/claim.js";
import { createOwnedPod } from "../shared/create.js";
import { isActive, isAvailable, isReady, nextAvailabilityMs, podFromTemplate } from "../shared/pods.js";
import { orphanWatch } from "../shared/wake.js";
import { rankForDeletion } from "./deletion-rank.js";

const fieldManager = "replicaset-controller";
/** Creations and deletions of one look, as upstream: fairness between sets. */
const maxBurst = 500;

/** Keeps as many pods of a ReplicaSet's template as it asks for. */
export function replicaSetController(): ControllerSpec<ReplicaSet> {
  return {
    name: fieldManager,
    kind: ReplicaSetKind,
    owns: [PodKind],
    watches: [orphanWatch(PodKind, ReplicaSetKind, (set) => set.spec.selector)],
    concurrency: 5,
    async reconcile(_key, set, context) {
      return set === undefined ? undefined : reconcileSet(set, context);
    },
  };
}

async function reconcileSet(
  set: ReplicaSet,
  context: ReconcileContext<ReplicaSet>,
): Promise<ReconcileResult | undefined> {
  const { cluster, clock } = context;
  const pods = cluster.informers.informer(PodKind);
  await pods.synced(context.signal);
  const claim = {
    owner: set,
    owners: cluster.client.resource(ReplicaSetKind),
    selector: selectorFrom(set.spec.selector),
    informer: pods,
    resource: cluster.client.resource(PodKind),
    fieldManager,
  };
  const active = (await claimObjects(claim)).filter(isActive);
  const failure = isDeleting(set) ? undefined : await scale(set, active, context);
  const current = (await claimObjects(claim)).filter(isActive);
  const status = statusOf(set, current, failure, clock.now());
  await syncStatus(claim.owners, set, status, fieldManager);
  if (failure !== undefined) throw failure.error;
  const waitMs = nextAvailabilityMs(current, set.spec.minReadySeconds ?? 0, clock.now());
  return waitMs === undefined ? undefined : { requeueAfterMs: waitMs };
}

interface Failure {
  readonly reason: "FailedCreate" | "FailedDelete";
  readonly error: unknown;
}

async function scale(
  set: ReplicaSet,
  active: readonly Pod[],
  context: ReconcileContext<ReplicaSet>,
): Promise<Failure | undefined> {
  const difference = active.length - (set.spec.replicas ?? 1);
  if (difference === 0) return undefined;
  const count = Math.min(Math.abs(difference), maxBurst);
  if (difference < 0) {
    const { error } = await slowStart(count, () => createPod(set, context));
    return error === undefined ? undefined : { reason: "FailedCreate", error };
  }
  const victims = rankForDeletion(active, context.clock.now()).slice(0, count);
  const results = await Promise.allSettled(victims.map((pod) => deletePod(set, pod, context)));
  const failed = results.find((result) => result.status === "rejected");
  return failed === undefined ? undefined : { reason: "FailedDelete", error: failed.reason };
}

async function createPod(set: ReplicaSet, context: ReconcileContext<ReplicaSet>): Promise<void> {
  const draft = podFromTemplate(set.spec.template ?? {}, set, { generateName: `${set.metadata.name}-` });
  await createOwnedPod(set, draft, context, fieldManager);
}

async function deletePod(set: ReplicaSet, pod: Pod, context: ReconcileContext<ReplicaSet>): Promise<void> {
  const { name, namespace = "", uid } = pod.metadata;
  try {
    await context.cluster.client.resource(PodKind).delete(name, { namespace, preconditions: { uid } });
    context.events.record(set, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
  } catch (error) {
    context.events.record(set, "Warning", "FailedDelete", `Error deleting: ${messageOf(error)}`);
    throw error;
  }
}

function statusOf(
  set: ReplicaSet,
  pods: readonly Pod[],
  failure: Failure | undefined,
  nowMs: number,
): ReplicaSetStatus {
  const templateLabels = Object.entries(set.spec.template?.metadata?.labels ?? {});
  const isFullyLabeled = (pod: Pod): boolean =>
    templateLabels.every(([name, value]) => pod.metadata.labels?.[name] === value);
  const others = (set.status?.conditions ?? []).filter((condition) => condition.type !== "ReplicaFailure");
  const conditions = failure === undefined ? others : [...others, failureCondition(set, failure, nowMs)];
  const minReadySeconds = set.spec.minReadySeconds ?? 0;
  const count = (holds: (pod: Pod) => boolean): number => pods.filter(holds).length;
  const fullyLabeledReplicas = count(isFullyLabeled);
  const readyReplicas = count(isReady);
  const availableReplicas = count((pod) => isAvailable(pod, minReadySeconds, nowMs));
  return {
    replicas: pods.length,
    // Zeros are left out, as Go leaves them out.
    ...(fullyLabeledReplicas > 0 ? { fullyLabeledReplicas } : {}),
    ...(readyReplicas > 0 ? { readyReplicas } : {}),
    ...(availableReplicas > 0 ? { availableReplicas } : {}),
    ...(set.metadata.generation === undefined ? {} : { observedGeneration: set.metadata.generation }),
    ...(conditions.length > 0 ? { conditions } : {}),
  };
}

function failureCondition(set: ReplicaSet, failure: Failure, nowMs: number) {
  const before = findCondition(set.status?.conditions, "ReplicaFailure");
  return {
    type: "ReplicaFailure",
    status: "True",
    reason: failure.reason,
    message: messageOf(failure.error),
    lastTransitionTime: before?.lastTransitionTime ?? timeOf(nowMs),
  };
}
