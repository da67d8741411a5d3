import {
  type ControllerSpec,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import {
  controllerOf,
  findCondition,
  isDeleting,
  type Kind,
  type KubeObject,
  type LabelSelector,
  type Pod,
  PodKind,
  type PodTemplateSpec,
  ReplicaSetKind,
  type ReplicaSetStatus,
  ReplicationControllerKind,
  type Resource,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { slowStart } from "../shared/batches.js";
import { claimPods } from "../shared/claim.js";
import { createOwnedPod } from "../shared/create.js";
import { deleteOwnedPod } from "../shared/delete.js";
import { isActive, isAvailable, isReady, nextAvailabilityMs, ownedBy, podFromTemplate } from "../shared/pods.js";
import { orphanWatch } from "../shared/wake.js";
import { countByNode, rankForDeletion } from "./deletion-rank.js";

/** Creations and deletions of one look, as upstream: fairness between sets. */
const maxBurst = 500;

/** What ReplicaSets and ReplicationControllers have in common, which is all but their selectors. */
type ReplicaOwner = Resource<
  { replicas?: number; minReadySeconds?: number; template?: PodTemplateSpec },
  ReplicaSetStatus
>;

interface Variety<T extends ReplicaOwner> {
  readonly name: string;
  readonly kind: Kind<T>;
  readonly selectorOf: (owner: T) => LabelSelector | undefined;
}

/** Keeps as many pods of a ReplicaSet's template as it asks for. */
export function replicaSetController(): ControllerSpec {
  return replicasController({
    name: "replicaset-controller",
    kind: ReplicaSetKind,
    selectorOf: (set) => set.spec.selector,
  });
}

/** The same for ReplicationControllers, whose selector is a map of labels. */
export function replicationControllerController(): ControllerSpec {
  return replicasController({
    name: "replication-controller",
    kind: ReplicationControllerKind,
    selectorOf: ({ spec }) => ({ matchLabels: { ...spec.selector } }),
  });
}

function replicasController<T extends ReplicaOwner>(variety: Variety<T>): ControllerSpec<T> {
  return {
    name: variety.name,
    kind: variety.kind,
    owns: [PodKind],
    watches: [orphanWatch(PodKind, variety.kind, variety.selectorOf)],
    concurrency: 5,
    async reconcile(_key, owner, context) {
      if (owner === undefined) return undefined;
      const { name, kind } = variety;
      return reconcileSet({ set: owner, kind, name, selector: variety.selectorOf(owner), context });
    },
  };
}

/** One look at one owner. */
interface Look {
  readonly set: ReplicaOwner;
  readonly kind: Kind<ReplicaOwner>;
  readonly name: string;
  readonly selector: LabelSelector | undefined;
  readonly context: Pick<ReconcileContext<KubeObject>, "cluster" | "clock" | "events" | "signal">;
}

async function reconcileSet(look: Look): Promise<ReconcileResult | undefined> {
  const { set, kind, name } = look;
  const { cluster, clock, signal } = look.context;
  await cluster.informers.informer(PodKind).synced(signal);
  const claim = { owner: set, kind, selector: look.selector, fieldManager: name };
  const active = (await claimPods(claim, cluster)).filter(isActive);
  const failure = isDeleting(set) ? undefined : await scale(look, active);
  const current = (await claimPods(claim, cluster)).filter(isActive);
  const status = statusOf(set, current, failure, clock.now());
  await syncStatus(cluster.client.resource(kind), set, status, name);
  if (failure !== undefined) throw failure.error;
  const waitMs = nextAvailabilityMs(current, set.spec.minReadySeconds ?? 0, clock.now());
  return waitMs === undefined ? undefined : { requeueAfterMs: waitMs };
}

interface Failure {
  readonly reason: "FailedCreate" | "FailedDelete";
  readonly error: unknown;
}

async function scale(look: Look, active: readonly Pod[]): Promise<Failure | undefined> {
  const { set, context, name } = look;
  const difference = active.length - (set.spec.replicas ?? 1);
  if (difference === 0) return undefined;
  const count = Math.min(Math.abs(difference), maxBurst);
  if (difference < 0) {
    const draft = podFromTemplate(set.spec.template ?? {}, set, { generateName: `${set.metadata.name}-` });
    const { error } = await slowStart(count, () => createOwnedPod(set, draft, context, name));
    return error === undefined ? undefined : { reason: "FailedCreate", error };
  }
  const crowd = countByNode(relatedPods(look, active));
  const victims = rankForDeletion(active, context.clock.now(), crowd).slice(0, count);
  const results = await Promise.allSettled(victims.map((pod) => deleteOwnedPod(set, pod, context)));
  const failed = results.find((result) => result.status === "rejected");
  return failed === undefined ? undefined : { reason: "FailedDelete", error: failed.reason };
}

/** Pods of all sets of the same Deployment: a node is as crowded as they make it together. */
function relatedPods({ set, kind, context }: Look, active: readonly Pod[]): readonly Pod[] {
  const above = controllerOf(set);
  if (above === undefined) return active;
  const { informers } = context.cluster;
  const siblings = ownedBy(informers.informer(kind), above.uid);
  return siblings.flatMap(({ metadata }) => ownedBy(informers.informer(PodKind), metadata.uid)).filter(isActive);
}

function statusOf(
  set: ReplicaOwner,
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

function failureCondition(set: ReplicaOwner, failure: Failure, nowMs: number) {
  const before = findCondition(set.status?.conditions, "ReplicaFailure");
  return {
    type: "ReplicaFailure",
    status: "True",
    reason: failure.reason,
    message: messageOf(failure.error),
    lastTransitionTime: before?.lastTransitionTime ?? timeOf(nowMs),
  };
}
