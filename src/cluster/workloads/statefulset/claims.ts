import type { ReconcileContext } from "../../../kernel/control/index.js";
import { ArgosyError, isAlreadyExists, isConflict, isNotFound, messageOf } from "../../../kernel/errors/index.js";
import {
  controllerOf,
  isDeleting,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  refersTo,
  type StatefulSet,
  StatefulSetKind,
} from "../../../kernel/kinds/index.js";
import { claimName, claimOwners, claimsFor, ordinalOf } from "./identity.js";

type Context = ReconcileContext<StatefulSet>;

function claimsOf(set: StatefulSet, ordinal: number, { cluster }: Context): readonly PersistentVolumeClaim[] {
  const claims = cluster.informers.informer(PersistentVolumeClaimKind);
  const { namespace = "" } = set.metadata;
  return (set.spec.volumeClaimTemplates ?? []).flatMap((template) => {
    const claim = claims.get({ namespace, name: claimName(set, template, ordinal) });
    return claim === undefined ? [] : [claim];
  });
}

/** Whether an ordinal's storage still belongs to the pod that was scaled away: the next one waits until it is gone. */
export function hasStaleClaims(set: StatefulSet, ordinal: number, context: Context): boolean {
  if (set.spec.persistentVolumeClaimRetentionPolicy?.whenScaled !== "Delete") return false;
  const name = `${set.metadata.name}-${ordinal}`;
  return claimsOf(set, ordinal, context).some(
    (claim) =>
      claim.metadata.ownerReferences?.some((owner) => refersTo(owner, PodKind) && owner.name === name) === true,
  );
}

/** Makes the claims of an ordinal that are missing. Throws when one is on its way out. */
export async function ensureClaims(set: StatefulSet, ordinal: number, context: Context): Promise<void> {
  const claims = context.cluster.informers.informer(PersistentVolumeClaimKind);
  const pod = `${set.metadata.name}-${ordinal}`;
  for (const claim of claimsFor(set, ordinal)) {
    const { name, namespace } = claim.metadata;
    const found = claims.get({ namespace, name });
    if (found !== undefined) {
      if (isDeleting(found)) throw new ArgosyError("ClaimGoes", `pvc ${name} is being deleted`);
      continue;
    }
    try {
      await context.cluster.client
        .resource(PersistentVolumeClaimKind)
        .create(claim, { fieldManager: "statefulset-controller" });
      const message = `create Claim ${name} Pod ${pod} in StatefulSet ${set.metadata.name} success`;
      context.events.record(set, "Normal", "SuccessfulCreate", message);
    } catch (error) {
      if (isAlreadyExists(error)) continue;
      const message = `create Claim ${name} for Pod ${pod} in StatefulSet ${set.metadata.name} failed error: ${messageOf(error)}`;
      context.events.record(set, "Warning", "FailedCreate", message);
      throw error;
    }
  }
}

/** Gives the claims of pods the owners that the retention policy means, so that the garbage collector carries it out. */
export async function alignClaims(
  set: StatefulSet,
  { pods, condemned }: { readonly pods: readonly Pod[]; readonly condemned: readonly Pod[] },
  context: Context,
): Promise<void> {
  for (const pod of pods) {
    const ordinal = ordinalOf(set, pod);
    if (ordinal === undefined) continue;
    const isCondemned = condemned.includes(pod);
    for (const claim of claimsOf(set, ordinal, context)) await align(set, claim, { pod, isCondemned }, context);
  }
}

async function align(
  set: StatefulSet,
  claim: PersistentVolumeClaim,
  { pod, isCondemned }: { readonly pod: Pod; readonly isCondemned: boolean },
  { cluster }: Context,
): Promise<void> {
  const { ownerReferences = [], name, namespace = "", resourceVersion } = claim.metadata;
  const isOurs = (owner: (typeof ownerReferences)[number]): boolean =>
    (refersTo(owner, StatefulSetKind) && owner.name === set.metadata.name) ||
    (refersTo(owner, PodKind) && owner.name === pod.metadata.name);
  const controller = controllerOf(claim);
  // Somebody else looks after it.
  if (controller !== undefined && !isOurs(controller)) return;
  const owners = claimOwners(set, isCondemned ? pod : undefined);
  const wanted = [...ownerReferences.filter((owner) => !isOurs(owner)), ...owners];
  const text = (list: readonly { uid: string; controller?: boolean }[]): string =>
    list.map(({ uid, controller: leads = false }) => `${uid}/${leads}`).join();
  if (text(wanted) === text(ownerReferences)) return;
  const patch = { metadata: { resourceVersion, ownerReferences: wanted.map((owner) => ({ ...owner })) } };
  try {
    await cluster.client
      .resource(PersistentVolumeClaimKind)
      .patch(name, "merge", patch, { namespace, fieldManager: "statefulset-controller" });
  } catch (error) {
    if (!isConflict(error) && !isNotFound(error)) throw error;
  }
}
