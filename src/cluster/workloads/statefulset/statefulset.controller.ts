import {
  type ControllerSpec,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
import { isAlreadyExists, messageOf } from "../../../kernel/errors/index.js";
import {
  ControllerRevisionKind,
  isDeleting,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type PodTemplateSpec,
  type StatefulSet,
  StatefulSetKind,
  type StatefulSetStatus,
  selectorFrom,
} from "../../../kernel/kinds/index.js";
import { claimObjects } from "../shared/claim.js";
import { isAvailable, isReady, nextAvailabilityMs } from "../shared/pods.js";
import { templateOf } from "../shared/revision-template.unsafe.js";
import { ensureRevision, revisionLabel, revisionsOf, trimRevisions } from "../shared/revisions.js";
import { orphanWatch } from "../shared/wake.js";
import { claimName, claimsFor, ordinalOf, ordinals, podFor } from "./identity.js";
import { planSteps, type Situation, type Step } from "./plan.js";

const fieldManager = "statefulset-controller";
const defaultHistory = 10;

type Context = ReconcileContext<StatefulSet>;

/** Keeps pods with names, order and storage that stay. */
export function statefulSetController(): ControllerSpec<StatefulSet> {
  return {
    name: fieldManager,
    kind: StatefulSetKind,
    owns: [PodKind, ControllerRevisionKind],
    watches: [
      orphanWatch(PodKind, StatefulSetKind, (set) => set.spec.selector),
      { kind: PersistentVolumeClaimKind, keys: () => [] },
    ],
    async reconcile(_key, set, context) {
      return set === undefined ? undefined : reconcileSet(set, context);
    },
  };
}

function podsOf(set: StatefulSet, context: Context): Promise<readonly Pod[]> {
  return claimObjects({
    owner: set,
    owners: context.cluster.client.resource(StatefulSetKind),
    selector: selectorFrom(set.spec.selector),
    informer: context.cluster.informers.informer(PodKind),
    resource: context.cluster.client.resource(PodKind),
    mayAdopt: (pod) => ordinalOf(set, pod) !== undefined,
    fieldManager,
  });
}

function byOrdinal(set: StatefulSet, pods: readonly Pod[]): ReadonlyMap<number, Pod> {
  return new Map(
    pods.flatMap((pod) => {
      const ordinal = ordinalOf(set, pod);
      return ordinal === undefined ? [] : [[ordinal, pod]];
    }),
  );
}

async function reconcileSet(set: StatefulSet, context: Context): Promise<ReconcileResult | undefined> {
  const { cluster, clock } = context;
  const history = {
    owner: set,
    template: set.spec.template,
    labels: set.spec.selector.matchLabels ?? {},
    cluster,
    fieldManager,
  };
  const update = await ensureRevision(history);
  const currentRevision = set.status?.currentRevision ?? update.metadata.name;
  const pods = await podsOf(set, context);
  const situation: Situation = {
    set,
    pods: byOrdinal(set, pods),
    currentRevision,
    updateRevision: update.metadata.name,
    nowMs: clock.now(),
  };
  const failure = isDeleting(set) ? undefined : await carryOut(planSteps(situation), situation, context);
  if (failure === undefined && !isDeleting(set)) await dropClaims(set, context);
  const now = await podsOf(set, context);
  const status = statusOf({ ...situation, pods: byOrdinal(set, now) });
  await syncStatus(cluster.client.resource(StatefulSetKind), set, status, fieldManager);
  const inUse = new Set([
    ...now.map((pod) => pod.metadata.labels?.[revisionLabel] ?? ""),
    status.currentRevision ?? "",
    update.metadata.name,
  ]);
  await trimRevisions({ ...history, limit: set.spec.revisionHistoryLimit ?? defaultHistory, inUse });
  if (failure !== undefined) throw failure.error;
  const waitMs = nextAvailabilityMs(now, set.spec.minReadySeconds ?? 0, clock.now());
  return waitMs === undefined ? undefined : { requeueAfterMs: waitMs };
}

async function carryOut(
  steps: readonly Step[],
  situation: Situation,
  context: Context,
): Promise<{ readonly error: unknown } | undefined> {
  for (const step of steps) {
    try {
      if (step.type === "create") await createPod(situation.set, step.ordinal, step.revision, context);
      else await deletePod(situation.set, step.pod, context);
    } catch (error) {
      return { error };
    }
  }
  return undefined;
}

/** The recorded template of a revision; the present one when it was recorded by nobody. */
function templateAt(set: StatefulSet, name: string, context: Context): PodTemplateSpec {
  const revision = revisionsOf(context.cluster, set).find(({ metadata }) => metadata.name === name);
  return (revision === undefined ? undefined : templateOf(revision)) ?? set.spec.template;
}

async function createPod(set: StatefulSet, ordinal: number, revision: string, context: Context): Promise<void> {
  const { cluster, events } = context;
  const draft = podFor(set, ordinal, { name: revision, template: templateAt(set, revision, context) });
  try {
    for (const claim of claimsFor(set, ordinal)) await ensureClaim(set, claim, context);
    await cluster.client.resource(PodKind).create(draft, { fieldManager });
  } catch (error) {
    events.record(
      set,
      "Warning",
      "FailedCreate",
      `create Pod ${draft.metadata.generateName ?? `${set.metadata.name}-${ordinal}`} in StatefulSet ${set.metadata.name} failed error: ${messageOf(error)}`,
    );
    throw error;
  }
  events.record(
    set,
    "Normal",
    "SuccessfulCreate",
    `create Pod ${set.metadata.name}-${ordinal} in StatefulSet ${set.metadata.name} successful`,
  );
}

async function ensureClaim(
  set: StatefulSet,
  claim: ReturnType<typeof claimsFor>[number],
  context: Context,
): Promise<void> {
  const { name, namespace } = claim.metadata;
  const claims = context.cluster.informers.informer(PersistentVolumeClaimKind);
  if (claims.get({ namespace, name }) !== undefined) return;
  try {
    await context.cluster.client.resource(PersistentVolumeClaimKind).create(claim, { fieldManager });
    context.events.record(
      set,
      "Normal",
      "SuccessfulCreate",
      `create Claim ${name} in StatefulSet ${set.metadata.name} success`,
    );
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

async function deletePod(set: StatefulSet, pod: Pod, context: Context): Promise<void> {
  const { name, namespace = "", uid } = pod.metadata;
  await context.cluster.client.resource(PodKind).delete(name, { namespace, preconditions: { uid } });
  context.events.record(
    set,
    "Normal",
    "SuccessfulDelete",
    `delete Pod ${name} in StatefulSet ${set.metadata.name} successful`,
  );
}

/** With `whenScaled: Delete` the storage of ordinals that are gone goes too. */
async function dropClaims(set: StatefulSet, context: Context): Promise<void> {
  if (set.spec.persistentVolumeClaimRetentionPolicy?.whenScaled !== "Delete") return;
  const { namespace = "" } = set.metadata;
  const { first, end } = ordinals(set);
  const pods = context.cluster.informers.informer(PodKind);
  const isLeft = (claim: PersistentVolumeClaim): boolean => {
    const ordinal = Number(/-(\d+)$/.exec(claim.metadata.name)?.[1] ?? Number.NaN);
    if (!Number.isInteger(ordinal) || (ordinal >= first && ordinal < end) || isDeleting(claim)) return false;
    const isOurs = (set.spec.volumeClaimTemplates ?? []).some(
      (template) => claimName(set, template, ordinal) === claim.metadata.name,
    );
    return isOurs && pods.get({ namespace, name: `${set.metadata.name}-${ordinal}` }) === undefined;
  };
  for (const claim of context.cluster.informers.informer(PersistentVolumeClaimKind).list(namespace).filter(isLeft)) {
    const { name, uid } = claim.metadata;
    await context.cluster.client
      .resource(PersistentVolumeClaimKind)
      .delete(name, { namespace, preconditions: { uid } });
  }
}

function statusOf({ set, pods, currentRevision, updateRevision, nowMs }: Situation): StatefulSetStatus {
  const all = [...pods.values()];
  const count = (holds: (pod: Pod) => boolean): number => all.filter(holds).length;
  const at = (revision: string): number =>
    count((pod) => !isDeleting(pod) && pod.metadata.labels?.[revisionLabel] === revision);
  const wanted = set.spec.replicas ?? 1;
  const readyReplicas = count(isReady);
  const updatedReplicas = at(updateRevision);
  const isRolledOut =
    updatedReplicas === wanted &&
    readyReplicas === wanted &&
    all.length === wanted &&
    set.spec.updateStrategy?.type !== "OnDelete";
  const current = isRolledOut ? updateRevision : currentRevision;
  const currentReplicas = at(current);
  return {
    replicas: all.length,
    availableReplicas: count((pod) => isAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs)),
    // Zeros are left out, as Go leaves them out.
    ...(readyReplicas > 0 ? { readyReplicas } : {}),
    ...(currentReplicas > 0 ? { currentReplicas } : {}),
    ...(updatedReplicas > 0 ? { updatedReplicas } : {}),
    currentRevision: current,
    updateRevision,
    collisionCount: set.status?.collisionCount ?? 0,
    ...(set.metadata.generation === undefined ? {} : { observedGeneration: set.metadata.generation }),
  };
}
