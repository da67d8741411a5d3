import type { ControllerSpec, Key, ReconcileContext, ReconcileResult } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import {
  ControllerRevisionKind,
  isDeleting,
  type KubeObject,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type PodTemplateSpec,
  type StatefulSet,
  StatefulSetKind,
  type StatefulSetStatus,
} from "../../../kernel/kinds/index.js";
import { claimPods } from "../shared/claim.js";
import { isAvailable, isReady } from "../shared/pods.js";
import { templateOf } from "../shared/revision-template.unsafe.js";
import { reconcileRevisioned } from "../shared/revisioned.js";
import { revisionLabel, revisionsOf } from "../shared/revisions.js";
import { orphanWatch } from "../shared/wake.js";
import { alignClaims, ensureClaims, hasStaleClaims } from "./claims.js";
import { ordinalOf, ordinals, podFor } from "./identity.js";
import { condemnedPods, planSteps, type Situation, type Step } from "./plan.js";

const fieldManager = "statefulset-controller";

type Context = ReconcileContext<StatefulSet>;

/** Keeps pods with names, order and storage that stay. */
export function statefulSetController(): ControllerSpec<StatefulSet> {
  return {
    name: fieldManager,
    kind: StatefulSetKind,
    owns: [PodKind, ControllerRevisionKind],
    watches: [
      orphanWatch(PodKind, StatefulSetKind, (set) => set.spec.selector),
      {
        kind: PersistentVolumeClaimKind,
        keys: (claim, informers) =>
          informers
            .informer(StatefulSetKind)
            .list(claim.metadata.namespace ?? "")
            .flatMap((set) => waitingFor(set, claim)),
      },
    ],
    async reconcile(_key, set, context) {
      return set === undefined ? undefined : reconcileSet(set, context);
    },
  };
}

/** Claims that go hold up the next pod of their ordinal. */
function waitingFor(set: StatefulSet, claim: KubeObject): readonly Key[] {
  const { namespace = "", name } = set.metadata;
  const isOurs = (set.spec.volumeClaimTemplates ?? []).some(({ metadata }) =>
    claim.metadata.name.startsWith(`${metadata?.name ?? ""}-${name}-`),
  );
  return isOurs && isDeleting(claim) ? [{ namespace, name }] : [];
}

async function podsOf(set: StatefulSet, { cluster }: Context): Promise<ReadonlyMap<number, Pod>> {
  const pods = await claimPods(
    {
      owner: set,
      kind: StatefulSetKind,
      selector: set.spec.selector,
      mayAdopt: (pod) => ordinalOf(set, pod) !== undefined,
      fieldManager,
    },
    cluster,
  );
  return new Map(
    pods.flatMap((pod) => {
      const ordinal = ordinalOf(set, pod);
      return ordinal === undefined ? [] : [[ordinal, pod]];
    }),
  );
}

function reconcileSet(set: StatefulSet, context: Context): Promise<ReconcileResult | undefined> {
  const { cluster, clock } = context;
  const look = async (update: string): Promise<Situation> => ({
    set,
    pods: await podsOf(set, context),
    currentRevision: set.status?.currentRevision ?? update,
    updateRevision: update,
    nowMs: clock.now(),
  });
  return reconcileRevisioned({
    owner: set,
    kind: StatefulSetKind,
    fieldManager,
    hashLabel: "controller.kubernetes.io/hash",
    cluster,
    clock,
    async act({ metadata }) {
      const situation = await look(metadata.name);
      const condemned = condemnedPods(set, situation.pods);
      await alignClaims(set, { pods: [...situation.pods.values()], condemned }, context);
      for (const [ordinal, pod] of situation.pods)
        if (pod.status?.phase === "Pending" && !condemned.includes(pod)) await ensureClaims(set, ordinal, context);
      for (const step of planSteps(situation)) await carryOut(step, situation, context);
      return undefined;
    },
    async report({ metadata }) {
      const situation = await look(metadata.name);
      const status = statusOf(situation);
      const pods = [...situation.pods.values()];
      const inUse = [...pods.map((pod) => pod.metadata.labels?.[revisionLabel] ?? ""), status.currentRevision ?? ""];
      return { status, pods, inUse };
    },
  });
}

async function carryOut(step: Step, { set }: Situation, context: Context): Promise<void> {
  const { events } = context;
  const isCreation = step.type === "create";
  const name = isCreation ? `${set.metadata.name}-${step.ordinal}` : step.pod.metadata.name;
  const verb = isCreation ? "create" : "delete";
  const [done, failed] = isCreation ? ["SuccessfulCreate", "FailedCreate"] : ["SuccessfulDelete", "FailedDelete"];
  try {
    if (!isCreation) await deletePod(step.pod, context);
    else if (hasStaleClaims(set, step.ordinal, context)) return;
    else await createPod(set, step.ordinal, step.revision, context);
    events.record(set, "Normal", done, `${verb} Pod ${name} in StatefulSet ${set.metadata.name} successful`);
  } catch (error) {
    const message = `${verb} Pod ${name} in StatefulSet ${set.metadata.name} failed error: ${messageOf(error)}`;
    events.record(set, "Warning", failed, message);
    throw error;
  }
}

/** The recorded template of a revision; the present one when it was recorded by nobody. */
function templateAt(set: StatefulSet, name: string, context: Context): PodTemplateSpec {
  const revision = revisionsOf(context.cluster, set).find(({ metadata }) => metadata.name === name);
  return (revision === undefined ? undefined : templateOf(revision)) ?? set.spec.template;
}

async function createPod(set: StatefulSet, ordinal: number, revision: string, context: Context): Promise<void> {
  const draft = podFor(set, ordinal, { name: revision, template: templateAt(set, revision, context) });
  await ensureClaims(set, ordinal, context);
  await context.cluster.client.resource(PodKind).create(draft, { fieldManager });
}

async function deletePod({ metadata }: Pod, { cluster }: Context): Promise<void> {
  const { name, namespace = "", uid } = metadata;
  await cluster.client.resource(PodKind).delete(name, { namespace, preconditions: { uid } });
}

function statusOf({ set, pods, currentRevision, updateRevision, nowMs }: Situation): StatefulSetStatus {
  const all = [...pods.values()];
  const count = (holds: (pod: Pod) => boolean): number => all.filter(holds).length;
  const at = (revision: string): number =>
    count((pod) => !isDeleting(pod) && pod.metadata.labels?.[revisionLabel] === revision);
  const works = (pod: Pod): boolean => pod.status?.phase === "Running" && isReady(pod);
  const { first, end } = ordinals(set);
  const readyReplicas = count(works);
  const updatedReplicas = at(updateRevision);
  const isRolledOut =
    [updatedReplicas, readyReplicas, all.length].every((number) => number === end - first) &&
    set.spec.updateStrategy?.type !== "OnDelete";
  const current = isRolledOut ? updateRevision : currentRevision;
  const currentReplicas = at(current);
  return {
    replicas: all.length,
    availableReplicas: count((pod) => works(pod) && isAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs)),
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
