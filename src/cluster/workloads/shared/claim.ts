import type { ResourceClient } from "../../../kernel/client/index.js";
import type { ClusterAccess, Informer } from "../../../kernel/control/index.js";
import { ArgosyError, isConflict, isNotFound } from "../../../kernel/errors/index.js";
import {
  controllerOf,
  describeObject,
  isDeleting,
  type Kind,
  type KubeObject,
  type LabelSelector,
  type OwnerReference,
  ownerReferenceTo,
  type Pod,
  PodKind,
  type Selector,
  selectorFrom,
} from "../../../kernel/kinds/index.js";
import { orphansIn, ownedBy } from "./pods.js";

/** Who claims what. */
export interface Claim<Owner extends KubeObject, T extends KubeObject> {
  readonly owner: Owner;
  readonly owners: ResourceClient<Owner>;
  readonly selector: Selector;
  readonly informer: Informer<T>;
  readonly resource: ResourceClient<T>;
  /** Further than the selector: what may be adopted (a StatefulSet's pods have its name). */
  readonly mayAdopt?: (object: T) => boolean;
  /** What adopted objects get, so that they are as those that the owner made. */
  readonly finalizer?: string;
  readonly fieldManager: string;
}

/**
 * The objects that `owner` manages: its own that still match its selector (others are released), and matching orphans, which
 * are adopted. Adopting first asks the server whether the owner still lives under the same uid.
 */
export async function claimObjects<Owner extends KubeObject, T extends KubeObject>(
  claim: Claim<Owner, T>,
): Promise<readonly T[]> {
  const { owner, selector, informer } = claim;
  const kept: T[] = [];
  for (const object of ownedBy(informer, owner.metadata.uid)) {
    if (selector.matches(object.metadata.labels)) kept.push(object);
    else if (!isDeleting(owner)) await release(claim, object);
  }
  if (isDeleting(owner) || selector.requirements.length === 0) return kept;
  const orphans = orphansIn(informer, owner.metadata.namespace ?? "").filter(
    (object) => !isDeleting(object) && selector.matches(object.metadata.labels) && (claim.mayAdopt?.(object) ?? true),
  );
  if (orphans.length === 0) return kept;
  await checkOwnerLives(claim);
  for (const object of orphans) {
    const adopted = await adopt(claim, object);
    if (adopted !== undefined) kept.push(adopted);
  }
  return kept;
}

/** Who claims pods. */
export interface PodClaim<Owner extends KubeObject>
  extends Pick<Claim<Owner, Pod>, "owner" | "mayAdopt" | "finalizer" | "fieldManager"> {
  readonly kind: Kind<Owner>;
  readonly selector: LabelSelector | undefined;
}

/** `claimObjects` for pods. */
export function claimPods<Owner extends KubeObject>(
  claim: PodClaim<Owner>,
  { client, informers }: ClusterAccess,
): Promise<readonly Pod[]> {
  return claimObjects({
    ...claim,
    owners: client.resource(claim.kind),
    selector: selectorFrom(claim.selector),
    informer: informers.informer(PodKind),
    resource: client.resource(PodKind),
  });
}

async function checkOwnerLives<Owner extends KubeObject, T extends KubeObject>({
  owner,
  owners,
}: Claim<Owner, T>): Promise<void> {
  const { namespace, name, uid } = owner.metadata;
  const live = await owners.find(name, namespace === undefined ? {} : { namespace });
  if (live?.metadata.uid !== uid || isDeleting(live)) {
    throw new ArgosyError("OwnerGone", `${describeObject(owner)} was deleted meanwhile and adopts nothing`);
  }
}

async function adopt<Owner extends KubeObject, T extends KubeObject>(
  claim: Claim<Owner, T>,
  object: T,
): Promise<T | undefined> {
  const references = [...(object.metadata.ownerReferences ?? []), ownerReferenceTo(claim.owner)];
  const { finalizers = [] } = object.metadata;
  const { finalizer } = claim;
  const isNew = finalizer !== undefined && !finalizers.includes(finalizer);
  return writeReferences(claim, object, references, isNew ? [...finalizers, finalizer] : undefined);
}

async function release<Owner extends KubeObject, T extends KubeObject>(
  claim: Claim<Owner, T>,
  object: T,
): Promise<void> {
  const mine = controllerOf(object);
  await writeReferences(
    claim,
    object,
    (object.metadata.ownerReferences ?? []).filter((reference) => reference !== mine),
  );
}

async function writeReferences<Owner extends KubeObject, T extends KubeObject>(
  { resource, fieldManager }: Claim<Owner, T>,
  object: T,
  references: readonly OwnerReference[],
  finalizers?: string[],
): Promise<T | undefined> {
  const { name, namespace, resourceVersion } = object.metadata;
  const ownerReferences = references.map((reference) => ({ ...reference }));
  try {
    return await resource.patch(
      name,
      "merge",
      { metadata: { resourceVersion, ownerReferences, ...(finalizers === undefined ? {} : { finalizers }) } },
      { fieldManager, ...(namespace === undefined ? {} : { namespace }) },
    );
  } catch (error) {
    // It changed or went meanwhile: its event wakes the owner again.
    if (isConflict(error) || isNotFound(error)) return undefined;
    throw error;
  }
}
