import type { ApiClient } from "../../../kernel/client/index.js";
import type { InformerSet } from "../../../kernel/control/index.js";
import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
} from "../../../kernel/kinds/index.js";
import { isReservedFor } from "../volume/match.js";

/** On a claim: the node for which a provisioner is to make a volume. */
export const selectedNode = "volume.kubernetes.io/selected-node";
const completed = "pv.kubernetes.io/bind-completed";
const byController = "pv.kubernetes.io/bound-by-controller";

/** What must happen to claims before a pod can go to its node. */
export interface VolumePlan {
  /** Volumes that lie ready, for these claims. */
  readonly bindings: readonly { readonly claim: PersistentVolumeClaim; readonly volume: PersistentVolume }[];
  /** Claims for which a provisioner makes a volume there. */
  readonly provisions: readonly PersistentVolumeClaim[];
}

/** Whether a claim has its volume. */
export function isBound({ metadata, spec }: PersistentVolumeClaim): boolean {
  return (spec.volumeName ?? "") !== "" && metadata.annotations?.[completed] !== undefined;
}

/** Reserves volumes for claims, and has the missing ones made on the node. Throws where somebody else was faster. */
export async function reserve(plan: VolumePlan, node: string, client: ApiClient, fieldManager: string): Promise<void> {
  for (const { claim, volume } of plan.bindings) {
    if (isReservedFor(volume, claim) && volume.spec.claimRef?.uid !== undefined) continue;
    const { namespace = "", name, uid, resourceVersion } = claim.metadata;
    const claimRef = { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name, uid, resourceVersion };
    const isOurs = volume.spec.claimRef === undefined ? { annotations: { [byController]: "yes" } } : {};
    const metadata = { resourceVersion: volume.metadata.resourceVersion, ...isOurs };
    const patch = { metadata, spec: { claimRef } };
    await client.resource(PersistentVolumeKind).patch(volume.metadata.name, "merge", patch, { fieldManager });
  }
  for (const { metadata } of plan.provisions) {
    const patch = { metadata: { resourceVersion: metadata.resourceVersion, annotations: { [selectedNode]: node } } };
    const options = { namespace: metadata.namespace ?? "", fieldManager };
    await client.resource(PersistentVolumeClaimKind).patch(metadata.name, "merge", patch, options);
  }
}

/** How far that has come: `bound`, `waiting`, or why it will not be, in upstream's words. */
export function progressOf(plan: VolumePlan, informers: InformerSet): "bound" | "waiting" | { readonly fault: string } {
  const now = ({ metadata }: PersistentVolumeClaim): PersistentVolumeClaim | undefined =>
    informers.informer(PersistentVolumeClaimKind).get({ namespace: metadata.namespace ?? "", name: metadata.name });
  for (const { volume } of plan.bindings) {
    const { name } = volume.metadata;
    const found = informers.informer(PersistentVolumeKind).get({ namespace: "", name });
    if (found === undefined) return { fault: `failed to check binding: could not find v1.PersistentVolume "${name}"` };
    if ((found.spec.claimRef?.uid ?? "") === "") return { fault: `ClaimRef got reset for pv "${name}"` };
  }
  for (const claim of plan.provisions)
    if (now(claim)?.metadata.annotations?.[selectedNode] === undefined)
      return { fault: `provisioning failed for PVC "${claim.metadata.name}"` };
  const claims = [...plan.bindings.map(({ claim }) => claim), ...plan.provisions].map(now);
  return claims.every((claim) => claim !== undefined && isBound(claim)) ? "bound" : "waiting";
}
