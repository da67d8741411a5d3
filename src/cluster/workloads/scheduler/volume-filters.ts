import type { InformerSet } from "../../../kernel/control/index.js";
import {
  isDeleting,
  type Node,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  StorageClassKind,
} from "../../../kernel/kinds/index.js";
import { isTerminal } from "../shared/pods.js";
import { volumeFor } from "../volume/match.js";
import { nodeTermMatches } from "./node-filters.js";
import { finalObstacle, type Obstacle } from "./snapshot.js";

/** Why a pod's volumes keep it from every node, or from one. */
export interface VolumeCheck {
  readonly everywhere?: string;
  readonly on: (node: Node) => Obstacle | undefined;
}

/** Names of the claims that a pod uses, generic ephemeral volumes included. */
function claimNames(pod: Pod): readonly string[] {
  return (pod.spec.volumes ?? []).flatMap((volume) => {
    if (volume.persistentVolumeClaim !== undefined) return [volume.persistentVolumeClaim.claimName];
    return volume.ephemeral === undefined ? [] : [`${pod.metadata.name}-${volume.name}`];
  });
}

/** Checks that claims exist and that volumes which lie on certain nodes are on the one in question. */
export function volumeCheck(pod: Pod, informers: InformerSet): VolumeCheck {
  const namespace = pod.metadata.namespace ?? "";
  const claims: PersistentVolumeClaim[] = [];
  for (const name of claimNames(pod)) {
    const claim = informers.informer(PersistentVolumeClaimKind).get({ namespace, name });
    if (claim === undefined) return { everywhere: `persistentvolumeclaim "${name}" not found`, on: () => undefined };
    if (isDeleting(claim))
      return { everywhere: `persistentvolumeclaim "${name}" is being deleted`, on: () => undefined };
    claims.push(claim);
  }
  const unbound = claims.filter(({ spec }) => (spec.volumeName ?? "") === "");
  const modes = unbound.map((claim) => ({ claim, mode: bindingOf(claim, informers) }));
  if (modes.some(({ mode }) => mode === "immediate"))
    return { everywhere: "pod has unbound immediate PersistentVolumeClaims", on: () => undefined };
  const delayed = modes.filter(({ mode }) => mode === "static").map(({ claim }) => claim);
  const all = delayed.length === 0 ? [] : informers.informer(PersistentVolumeKind).list();
  const volumes = claims.flatMap((claim) => {
    const volume = informers.informer(PersistentVolumeKind).get({ namespace: "", name: claim.spec.volumeName ?? "" });
    return volume === undefined ? [] : [volume];
  });
  const isTaken = claims.some((claim) => isUsedAlone(claim) && isInUse(claim, pod, informers));
  return {
    on(node) {
      const isReachable = volumes.every((volume) => {
        const terms = volume.spec.nodeAffinity?.required?.nodeSelectorTerms;
        return terms === undefined || terms.some((term) => nodeTermMatches(term, node));
      });
      if (!isReachable) return finalObstacle("node(s) didn't match PersistentVolume's node affinity");
      if (delayed.some((claim) => volumeFor(claim, all, node) === undefined))
        return finalObstacle("node(s) didn't find available persistent volumes to bind");
      return isTaken ? taken : undefined;
    },
  };
}

/** Made by the cluster's own nodes when a pod comes; see the node agent. */
const localClass = "local";

/** How a claim that has no volume yet gets one: before any pod, from what lies ready once the node is known, or by a provisioner then. */
function bindingOf({ spec }: PersistentVolumeClaim, informers: InformerSet): "immediate" | "static" | "provisioned" {
  const name = spec.storageClassName;
  if (name === undefined || name === localClass) return "provisioned";
  const found = informers.informer(StorageClassKind).get({ namespace: "", name });
  if (found?.volumeBindingMode !== "WaitForFirstConsumer") return "immediate";
  return found.provisioner === "kubernetes.io/no-provisioner" ? "static" : "provisioned";
}

const taken: Obstacle = {
  reasons: [
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
  ],
  isFinal: false,
};

function isUsedAlone(claim: PersistentVolumeClaim): boolean {
  return claim.spec.accessModes?.includes("ReadWriteOncePod") === true;
}

function isInUse({ metadata }: PersistentVolumeClaim, pod: Pod, informers: InformerSet): boolean {
  return informers
    .informer(PodKind)
    .list(metadata.namespace ?? "")
    .some(
      (other) =>
        other.metadata.uid !== pod.metadata.uid &&
        other.spec.nodeName !== undefined &&
        !isTerminal(other) &&
        claimNames(other).includes(metadata.name),
    );
}
