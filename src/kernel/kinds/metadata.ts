import { apiVersionOf, type Kind, type KubeObject, type OwnerReference, parseApiVersion } from "./object.js";

/** The owner that manages the object, if one does. */
export function controllerOf(object: Pick<KubeObject, "metadata">): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true);
}

/** A reference by which `owner` owns another object; as its managing controller unless `controller` is false. */
export function ownerReferenceTo(owner: KubeObject, controller = true): OwnerReference {
  const { apiVersion, kind, metadata } = owner;
  const base = { apiVersion, kind, name: metadata.name, uid: metadata.uid };
  return controller ? { ...base, controller: true, blockOwnerDeletion: true } : base;
}

/** Whether a reference is to an object of this kind, in whatever version. */
export function refersTo(reference: Pick<OwnerReference, "apiVersion" | "kind">, kind: Kind): boolean {
  return reference.kind === kind.kind && parseApiVersion(reference.apiVersion).group === kind.group;
}

/** Whether deletion was asked for. */
export function isDeleting(object: Pick<KubeObject, "metadata">): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}

/** Whether two objects or kinds are of the same group, version and kind. */
export function isOfKind<T extends KubeObject>(object: KubeObject, kind: Kind<T>): object is T {
  return object.kind === kind.kind && object.apiVersion === apiVersionOf(kind);
}

/** `Pod default/web-1`, for messages and logs. */
export function describeObject(object: Pick<KubeObject, "kind" | "metadata">): string {
  const { namespace, name } = object.metadata;
  return `${object.kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}
