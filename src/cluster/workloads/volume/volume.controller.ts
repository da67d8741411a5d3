import { type ControllerSpec, type ReconcileContext, syncStatus } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  isDeleting,
  isOfKind,
  type KubeObject,
  type PersistentVolume,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
} from "../../../kernel/kinds/index.js";

const fieldManager = "persistentvolume-phase-controller";
const provisionedBy = "pv.kubernetes.io/provisioned-by";

/** Keeps the phase of volumes: available, bound, released when their claim is gone. Those of the cluster's nodes are then removed by them. */
export function volumePhases(): ControllerSpec<PersistentVolume> {
  return {
    name: fieldManager,
    kind: PersistentVolumeKind,
    watches: [
      {
        kind: PersistentVolumeClaimKind,
        keys: (object: KubeObject, informers) => {
          if (!isOfKind(object, PersistentVolumeClaimKind)) return [];
          const { uid } = object.metadata;
          return informers
            .informer(PersistentVolumeKind)
            .list()
            .filter(({ spec, metadata }) => spec.claimRef?.uid === uid || metadata.name === object.spec.volumeName)
            .map(({ metadata }) => ({ namespace: "", name: metadata.name }));
        },
      },
    ],
    async reconcile(_key, volume, context) {
      if (volume === undefined) return;
      const { claimRef } = volume.spec;
      // Reserved by name only: nobody has it yet.
      if (claimRef === undefined || (claimRef.uid ?? "") === "") await setPhase(volume, "Available", context);
      else if (!(await hasClaim(volume, context))) await release(volume, context);
    },
  };
}

async function hasClaim({ spec }: PersistentVolume, { cluster }: ReconcileContext<PersistentVolume>): Promise<boolean> {
  const { namespace = "", name = "", uid } = spec.claimRef ?? {};
  const known = cluster.informers.informer(PersistentVolumeClaimKind).get({ namespace, name });
  if (known?.metadata.uid === uid) return true;
  // The informer may be behind; the server is not.
  const live = await cluster.client.resource(PersistentVolumeClaimKind).find(name, { namespace });
  return live?.metadata.uid === uid;
}

async function release(volume: PersistentVolume, context: ReconcileContext<PersistentVolume>): Promise<void> {
  const { persistentVolumeReclaimPolicy: policy = "Retain" } = volume.spec;
  const isReclaimed = volume.metadata.annotations?.[provisionedBy] !== undefined;
  if (policy === "Retain" || isReclaimed || isDeleting(volume)) return setPhase(volume, "Released", context);
  const verb = policy === "Delete" ? "deleter" : "recycler";
  const able = policy === "Delete" ? "deletable" : "recyclable";
  const { name } = volume.metadata;
  const message = `error getting ${verb} volume plugin for volume "${name}": no ${able} volume plugin matched`;
  if (volume.status?.phase !== "Failed")
    context.events.record(
      volume,
      "Warning",
      policy === "Delete" ? "VolumeFailedDelete" : "VolumeFailedRecycle",
      message,
    );
  await setPhase(volume, "Failed", context, message);
}

async function setPhase(
  volume: PersistentVolume,
  phase: string,
  { cluster }: ReconcileContext<PersistentVolume>,
  message?: string,
): Promise<void> {
  const { message: _before, ...status } = volume.status ?? {};
  const said = message === undefined ? {} : { message };
  try {
    await syncStatus(
      cluster.client.resource(PersistentVolumeKind),
      volume,
      { ...status, phase, ...said },
      fieldManager,
    );
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
