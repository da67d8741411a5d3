/** A JSON value as it travels on the wire. */
export type Json = string | number | boolean | null | Json[] | JsonObject;
/** A JSON object as it travels on the wire; `undefined` members are left out when it is written. */
export interface JsonObject {
  [field: string]: Json | undefined;
}

/** Who an object belongs to: when every owner is gone, the garbage collector deletes it. */
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** Which fields of an object one manager owns (server-side apply, KEP-555). */
export interface ManagedFieldsEntry {
  manager: string;
  operation: "Apply" | "Update";
  apiVersion: string;
  time?: string;
  fieldsType: "FieldsV1";
  fieldsV1: JsonObject;
  subresource?: string;
}

/** Kubernetes' ObjectMeta as the server returns it. */
export interface ObjectMeta {
  name: string;
  generateName?: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: ManagedFieldsEntry[];
}

/** Any object of the API. Kinds extend it with `spec`, `status` or fields of their own. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/** The usual shape of a kind: what is wanted and what is seen. */
export interface Resource<Spec, Status = never> extends KubeObject {
  spec: Spec;
  status?: Status;
}

/** Metadata of an object that is still to be written. */
export type DraftMeta = Partial<ObjectMeta> & ({ name: string } | { generateName: string });

/** An object as a client sends it: the server fills in the rest of the metadata. */
export type Draft<T extends KubeObject> = Omit<T, "metadata" | "status"> & {
  metadata: DraftMeta;
} & (T extends { status?: infer S } ? { status?: S } : unknown);

/** A kind's coordinates. The phantom `type` ties the TypeScript type to it; it is never set. */
export interface Kind<T extends KubeObject = KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  readonly type?: T;
}

/** `apps/v1`, or `v1` in the core group. */
export function apiVersionOf(kind: Pick<Kind, "group" | "version">): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

/** Splits an apiVersion into group and version; the core group is the empty string. */
export function parseApiVersion(apiVersion: string): { group: string; version: string } {
  const slash = apiVersion.indexOf("/");
  return slash < 0
    ? { group: "", version: apiVersion }
    : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) };
}

/** Kubernetes' metav1.Condition. Types are positive; `reason` is a CamelCase word for machines, `message` is for people. */
export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration?: number;
}
