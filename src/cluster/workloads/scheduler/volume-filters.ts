import type { InformerSet } from "../../../kernel/control/index.js";
import {
  isDeleting,
  type Node,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
} from "../../../kernel/kinds/index.js";
import { nodeTermMatches } from "./node-filters.js";

/** Why a pod's volumes keep it from every node, or from one. */
export interface VolumeCheck {
  readonly everywhere?: string;
  readonly on: (node: Node) => string | undefined;
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
  return {
    on(node) {
      const isReachable = volumes.every((volume) => {
        const terms = volume.spec.nodeAffinity?.required?.nodeSelectorTerms;
        return terms === undefined || terms.some((term) => nodeTermMatches(term, node));
      });
      return isReachable ? undefined : "node(s) had volume node affinity conflict";
    },
  };
}
