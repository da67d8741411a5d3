import {
  type ControllerSpec,
  type InformerSet,
  type Key,
  type ReconcileContext,
  syncStatus,
} from "../../../kernel/control/index.js";
import {
  isDeleting,
  isOfKind,
  type KubeObject,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  PodKind,
  type StorageClass,
  StorageClassKind,
} from "../../../kernel/kinds/index.js";
import { isReservedFor, volumeFor } from "./match.js";

const fieldManager = "persistentvolume-controller";
const completed = "pv.kubernetes.io/bind-completed";
const byController = "pv.kubernetes.io/bound-by-controller";
/** Made by the cluster's own nodes when a pod comes; see the node agent. */
const localClass = "local";
const selectedNode = "volume.kubernetes.io/selected-node";
const provisionerKeys = [
  "volume.kubernetes.io/storage-provisioner",
  "volume.beta.kubernetes.io/storage-provisioner",
] as const;
const noProvisioner = "kubernetes.io/no-provisioner";

type Context = ReconcileContext<PersistentVolumeClaim>;

/** Binds claims to volumes that somebody made, and says what unbound ones wait for. */
export function claimBinder(): ControllerSpec<PersistentVolumeClaim> {
  return {
    name: fieldManager,
    kind: PersistentVolumeClaimKind,
    // One at a time: two claims must not be given the same volume.
    concurrency: 1,
    watches: [
      { kind: PersistentVolumeKind, keys: (volume, informers) => [...holderOf(volume), ...unbound(informers)] },
      { kind: StorageClassKind, keys: (_class, informers) => unbound(informers) },
      { kind: PodKind, keys: keysOfPod },
    ],
    async reconcile(_key, claim, context) {
      if (claim === undefined || isDeleting(claim)) return;
      const name = claim.spec.volumeName ?? "";
      if (name === "") await findVolume(claim, context);
      else await completeBinding(claim, name, context);
    },
  };
}

/** Claims that a new volume, or another class, may be for. */
function unbound(informers: InformerSet): readonly Key[] {
  return informers
    .informer(PersistentVolumeClaimKind)
    .list()
    .filter(({ status }) => status?.phase !== "Bound")
    .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }));
}

function holderOf(object: KubeObject): readonly Key[] {
  const { namespace, name } = (isOfKind(object, PersistentVolumeKind) ? object.spec.claimRef : undefined) ?? {};
  return namespace === undefined || name === undefined ? [] : [{ namespace, name }];
}

function keysOfPod(object: KubeObject): readonly Key[] {
  if (!isOfKind(object, PodKind)) return [];
  const namespace = object.metadata.namespace ?? "";
  return (object.spec.volumes ?? []).flatMap(({ persistentVolumeClaim: claim }) =>
    claim === undefined ? [] : [{ namespace, name: claim.claimName }],
  );
}

async function findVolume(claim: PersistentVolumeClaim, context: Context): Promise<void> {
  const { informers } = context.cluster;
  const className = claim.spec.storageClassName;
  const storageClass = informers.informer(StorageClassKind).get({ namespace: "", name: className ?? "" });
  const volumes = informers.informer(PersistentVolumeKind).list();
  const isDelayed = storageClass?.volumeBindingMode === "WaitForFirstConsumer";
  // The scheduler reserves the volume together with the node.
  const candidates = isDelayed ? volumes.filter((one) => isReservedFor(one, claim)) : volumes;
  const volume = volumeFor(claim, candidates);
  if (volume !== undefined) return bind(claim, volume, context);
  await setClaimStatus(claim, { phase: "Pending" }, context);
  await provideOrTell(claim, storageClass, context);
}

/** Pods that wait for a node, and with them the claim. */
function waitingPods({ metadata }: PersistentVolumeClaim, { cluster }: Context): readonly string[] {
  return cluster.informers
    .informer(PodKind)
    .list(metadata.namespace ?? "")
    .filter(
      ({ spec }) =>
        (spec.nodeName ?? "") === "" &&
        spec.volumes?.some((volume) => volume.persistentVolumeClaim?.claimName === metadata.name) === true,
    )
    .map((pod) => pod.metadata.name);
}

/** Asks the class's provisioner for a volume, or says what the claim waits for. */
async function provideOrTell(
  claim: PersistentVolumeClaim,
  storageClass: StorageClass | undefined,
  context: Context,
): Promise<void> {
  const { events } = context;
  const className = claim.spec.storageClassName;
  const isLocal = className === undefined || className === localClass;
  const isDelayed = isLocal || storageClass?.volumeBindingMode === "WaitForFirstConsumer";
  if (isDelayed && claim.metadata.annotations?.[selectedNode] === undefined) {
    const pods = waitingPods(claim, context);
    const waiting = `waiting for ${pods.length > 1 ? "pods" : "pod"} ${pods.join(",")} to be scheduled`;
    if (pods.length > 0) events.record(claim, "Normal", "WaitForPodScheduled", waiting);
    else
      events.record(claim, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
  } else if (className === "")
    events.record(
      claim,
      "Normal",
      "FailedBinding",
      "no persistent volumes available for this claim and no storage class is set",
    );
  else if (storageClass === undefined)
    events.record(claim, "Warning", "ProvisioningFailed", `storageclass.storage.k8s.io "${className}" not found`);
  else if (storageClass.provisioner === noProvisioner)
    events.record(claim, "Warning", "ProvisioningFailed", `no volume plugin matched name: ${noProvisioner}`);
  else await askProvisioner(claim, storageClass.provisioner, context);
}

/** Names the provisioner that is to make the volume, as provisioners want to be called. */
async function askProvisioner(claim: PersistentVolumeClaim, name: string, { cluster, events }: Context): Promise<void> {
  if (claim.metadata.annotations?.[provisionerKeys[0]] !== name) {
    const annotations = Object.fromEntries(provisionerKeys.map((key) => [key, name]));
    await cluster.client
      .resource(PersistentVolumeClaimKind)
      .patch(
        claim.metadata.name,
        "merge",
        { metadata: { annotations } },
        { namespace: claim.metadata.namespace ?? "", fieldManager },
      );
  }
  events.record(
    claim,
    "Normal",
    "ExternalProvisioning",
    `Waiting for a volume to be created either by the external provisioner '${name}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`,
  );
}

async function bind(claim: PersistentVolumeClaim, volume: PersistentVolume, context: Context): Promise<void> {
  const { namespace = "", name, uid } = claim.metadata;
  const { client } = context.cluster;
  const isOurs = volume.spec.claimRef === undefined;
  const claimRef = { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name, uid };
  const { resourceVersion } = volume.metadata;
  const annotations = isOurs ? { annotations: { [byController]: "yes" } } : {};
  if (volume.spec.claimRef?.uid !== uid)
    await client
      .resource(PersistentVolumeKind)
      .patch(
        volume.metadata.name,
        "merge",
        { metadata: { resourceVersion, ...annotations }, spec: { claimRef } },
        { fieldManager },
      );
  const patch = {
    metadata: { annotations: { [completed]: "yes", [byController]: "yes" } },
    spec: { volumeName: volume.metadata.name },
  };
  const bound = await client
    .resource(PersistentVolumeClaimKind)
    .patch(name, "merge", patch, { namespace, fieldManager });
  await completeBinding(bound, volume.metadata.name, context);
}

async function completeBinding(claim: PersistentVolumeClaim, name: string, context: Context): Promise<void> {
  const { client, informers } = context.cluster;
  const volume = informers.informer(PersistentVolumeKind).get({ namespace: "", name });
  const wasBound = claim.metadata.annotations?.[completed] !== undefined;
  if (volume === undefined) {
    if ((await client.resource(PersistentVolumeKind).find(name)) !== undefined) return;
    if (wasBound && claim.status?.phase !== "Lost") {
      const message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
      context.events.record(claim, "Warning", "ClaimLost", message);
    }
    await setClaimStatus(claim, { phase: wasBound ? "Lost" : "Pending" }, context);
    return;
  }
  if (volume.spec.claimRef !== undefined && !isReservedFor(volume, claim)) {
    const message = `volume "${name}" already bound to a different claim.`;
    context.events.record(claim, "Warning", "FailedBinding", message);
    await setClaimStatus(claim, { phase: "Pending" }, context);
    return;
  }
  if (volume.spec.claimRef?.uid !== claim.metadata.uid || !wasBound) return bind(claim, volume, context);
  await syncStatus(client.resource(PersistentVolumeKind), volume, { ...volume.status, phase: "Bound" }, fieldManager);
  const capacity = { ...volume.spec.capacity };
  await setClaimStatus(claim, { phase: "Bound", accessModes: volume.spec.accessModes ?? [], capacity }, context);
}

async function setClaimStatus(
  claim: PersistentVolumeClaim,
  status: NonNullable<PersistentVolumeClaim["status"]>,
  { cluster }: Context,
): Promise<void> {
  const resource = cluster.client.resource(PersistentVolumeClaimKind);
  await syncStatus(resource, claim, { ...claim.status, ...status }, fieldManager);
}
