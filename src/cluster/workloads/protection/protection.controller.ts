import { type ControllerSpec, removeFinalizer } from "../../../kernel/control/index.js";
import {
  isDeleting,
  isOfKind,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
} from "../../../kernel/kinds/index.js";

const claimFinalizer = "kubernetes.io/pvc-protection";
const volumeFinalizer = "kubernetes.io/pv-protection";
const podsByClaim = "pvc-protection/claim";

/** Claims that a pod holds once it has a node: by name, or made for it alone. */
function claimsOf({ metadata, spec }: Pod): string[] {
  if ((spec?.nodeName ?? "") === "") return [];
  return (spec?.volumes ?? []).flatMap(({ name, persistentVolumeClaim: claim, ephemeral }) => {
    if (claim !== undefined) return [claim.claimName];
    return ephemeral === undefined ? [] : [`${metadata.name}-${name}`];
  });
}

/** Lets a deleted claim go when no pod with a node names it. */
export function claimProtection(): ControllerSpec<PersistentVolumeClaim> {
  const name = "pvc-protection-controller";
  const inPlace = (namespace: string | undefined, claim: string): string => `${namespace ?? ""}/${claim}`;
  return {
    name,
    kind: PersistentVolumeClaimKind,
    watches: [
      {
        kind: PodKind,
        keys: (pod) =>
          (isOfKind(pod, PodKind) ? claimsOf(pod) : []).map((claim) => ({
            namespace: pod.metadata.namespace ?? "",
            name: claim,
          })),
      },
    ],
    async reconcile(_key, claim, { cluster }) {
      if (claim === undefined || !isDeleting(claim)) return;
      const { namespace, name: claimName } = claim.metadata;
      const pods = cluster.informers.informer(PodKind);
      pods.addIndex(podsByClaim, (pod) => claimsOf(pod).map((one) => inPlace(pod.metadata.namespace, one)));
      if (pods.byIndex(podsByClaim, inPlace(namespace, claimName)).length > 0) return;
      // The informer may be behind a pod that just got its node; the server is not.
      const { items } = await cluster.client.resource(PodKind).list(namespace === undefined ? {} : { namespace });
      if (items.some((pod) => claimsOf(pod).includes(claimName))) return;
      await removeFinalizer(cluster.client.resource(PersistentVolumeClaimKind), claim, claimFinalizer, name);
    },
  };
}

/** Lets a deleted volume go when no claim is bound to it. */
export function volumeProtection(): ControllerSpec<PersistentVolume> {
  const name = "pv-protection-controller";
  return {
    name,
    kind: PersistentVolumeKind,
    async reconcile(_key, volume, { cluster }) {
      if (volume === undefined || !isDeleting(volume) || volume.status?.phase === "Bound") return;
      await removeFinalizer(cluster.client.resource(PersistentVolumeKind), volume, volumeFinalizer, name);
    },
  };
}
