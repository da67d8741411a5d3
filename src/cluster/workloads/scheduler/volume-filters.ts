import type { InformerSet } from "../../../kernel/control/index.js";
import {
  isDeleting,
  type Node,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
} from "../../../kernel/kinds/index.js";
import { isTerminal } from "../shared/pods.js";
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
      return isTaken ? taken : undefined;
    },
  };
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
