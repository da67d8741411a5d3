import type { ApplyObject } from "../../kernel/client/index.js";
import type { ClusterAccess, Informer } from "../../kernel/control/index.js";
import { ArgosyError, isAlreadyExists, isNotFound } from "../../kernel/errors/index.js";
import {
  apiVersionOf,
  type Draft,
  type Json,
  type JsonObject,
  type Kind,
  type KubeObject,
  NamespaceKind,
} from "../../kernel/kinds/index.js";
import { asObject, isObject } from "../../kernel/schema/index.js";
import { WORK_ID } from "./interpreters/index.js";
import type { Work } from "./kinds.js";
import { KARMADA } from "./names.js";
import { CLAIM } from "./policies/marks.js";

/** Field manager of what the hub delivers. */
export const DELIVERY_MANAGER = "argosy-delivery";

/** A manifest cannot be made true as it stands; the message says why. */
export class ManifestError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("ManifestRefused", message, options);
  }
}

/** The member has no such kind. */
export class NoKindError extends ManifestError {
  readonly apiVersion: string;
  readonly kind: string;

  constructor(cluster: string, apiVersion: string, kind: string) {
    super(
      `cluster ${cluster} has no kind ${kind} in ${apiVersion}: correct apiVersion and kind, or install there what serves it`,
    );
    this.apiVersion = apiVersion;
    this.kind = kind;
  }
}

/** A manifest's coordinates in its member. */
export interface Target {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly manifest: JsonObject;
}

/** Finds out what a manifest is in a member. Throws `ManifestError` when the member has no such kind or the manifest no usable name. */
export async function resolveTarget(member: ClusterAccess, manifest: JsonObject): Promise<Target> {
  const { apiVersion, kind: kindName, metadata } = manifest;
  if (typeof apiVersion !== "string" || typeof kindName !== "string" || !isObject(metadata)) {
    throw new ManifestError("the manifest has no apiVersion, kind or metadata");
  }
  const kind = await member.client.findKind(apiVersion, kindName);
  if (kind === undefined) throw new NoKindError(member.name, apiVersion, kindName);
  const { name, namespace } = metadata;
  if (typeof name !== "string" || name === "") throw new ManifestError(`${kindName} has no metadata.name`);
  if (kind.namespaced && (typeof namespace !== "string" || namespace === "")) {
    throw new ManifestError(`${kindName} ${name}: metadata.namespace is required`);
  }
  return { kind, namespace: kind.namespaced && typeof namespace === "string" ? namespace : "", name, manifest };
}

/** The object as the member has it: from the informer once that is synced, else by asking. */
export async function findCurrent(
  member: ClusterAccess,
  target: Target,
  known: { readonly informer: Informer<KubeObject>; readonly isSynced: boolean },
  signal: AbortSignal,
): Promise<KubeObject | undefined> {
  const { kind, namespace, name } = target;
  if (known.isSynced) {
    return known.informer.get({ namespace, name });
  }
  return member.client.dynamic(kind).find(name, { signal, ...(namespace === "" ? {} : { namespace }) });
}

/** Whether an object of the member was put there by this Work. */
export function isOurs(object: KubeObject, work: Work): boolean {
  const { labels, annotations } = object.metadata;
  const id = work.metadata.labels?.[WORK_ID];
  if (id !== undefined && labels?.[WORK_ID] === id) return true;
  return (
    isManaged(object) &&
    annotations?.[KARMADA.workName] === work.metadata.name &&
    annotations[KARMADA.workNamespace] === work.metadata.namespace
  );
}

/** Annotation of a delivered object: which object of the hub it was made of. */
const TEMPLATE_UID = "resourcetemplate.karmada.io/uid";

/**
 * Whether an object that bears this Work's names was delivered by a Work of another hub: Works are named alike there, but no two have one
 * identifier.
 */
export function isOfAnotherHub(object: KubeObject, work: Work, target: Target): boolean {
  const { labels, annotations } = object.metadata;
  const [own, its] = [work.metadata.labels?.[WORK_ID], labels?.[WORK_ID]];
  if (own === undefined || its === undefined || own === its) return false;
  const template = asObject(asObject(target.manifest["metadata"])["annotations"])[TEMPLATE_UID];
  return isOurs(object, work) && (template === undefined || template !== annotations?.[TEMPLATE_UID]);
}

/** Whether an object of the member was put there from a hub. */
export function isManaged(object: KubeObject): boolean {
  return object.metadata.labels?.[KARMADA.managed] === "true";
}

/** Whether the manifest, or else its Work, says that an object that is there already is to be taken over. */
export function takesOver(target: Target, work: Work): boolean {
  const own = asObject(asObject(target.manifest["metadata"])["annotations"])[KARMADA.conflictResolution];
  return (own ?? work.metadata.annotations?.[KARMADA.conflictResolution]) === "overwrite";
}

/** Marks of a delivered object; without them it is the member's own. */
const MARKS = {
  labels: [
    KARMADA.managed,
    WORK_ID,
    "resourcebinding.karmada.io/permanent-id",
    "clusterresourcebinding.karmada.io/permanent-id",
    CLAIM.namespaced.id,
    CLAIM.cluster.id,
  ],
  annotations: [
    KARMADA.workName,
    KARMADA.workNamespace,
    KARMADA.templateGeneration,
    "resourcetemplate.karmada.io/managed-annotations",
    "resourcetemplate.karmada.io/managed-labels",
    "resourcetemplate.karmada.io/uid",
    "resourcebinding.karmada.io/namespace",
    "resourcebinding.karmada.io/name",
    "clusterresourcebinding.karmada.io/name",
    CLAIM.namespaced.name,
    CLAIM.namespaced.namespace,
    CLAIM.cluster.name,
  ],
} as const;

/** Takes the marks off an object that stays in the member. */
export async function release(
  member: ClusterAccess,
  target: Target,
  object: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const gone = (present: Record<string, string> | undefined, marks: readonly string[]): JsonObject =>
    Object.fromEntries(marks.filter((mark) => present?.[mark] !== undefined).map((mark) => [mark, null]));
  const { uid, labels, annotations } = object.metadata;
  const metadata = { uid, labels: gone(labels, MARKS.labels), annotations: gone(annotations, MARKS.annotations) };
  await member.client
    .dynamic(target.kind)
    .patch(
      target.name,
      "merge",
      { metadata },
      { fieldManager: DELIVERY_MANAGER, signal, ...(target.namespace === "" ? {} : { namespace: target.namespace }) },
    );
}

/** Server-side apply in the member; the signal must end in good time. With `makesNamespace` the namespace is made if it is missing. */
export async function applyTarget(
  member: ClusterAccess,
  target: Target,
  makesNamespace: boolean,
  signal: AbortSignal,
): Promise<KubeObject> {
  const apply = (): Promise<KubeObject> =>
    member.client.dynamic(target.kind).apply(toApplyObject(target), {
      fieldManager: DELIVERY_MANAGER,
      force: true,
      signal,
      isBounded: true,
      ...(target.namespace === "" ? {} : { namespace: target.namespace }),
    });
  try {
    return await apply();
  } catch (error) {
    if (!isNotFound(error) || target.namespace === "" || !makesNamespace) throw error;
    await ensureNamespace(member, target.namespace, signal);
    return apply();
  }
}

/** What the member would say if the object were made anew: of a wrong type an apply says little. `undefined`: nothing. */
export async function creationFault(member: ClusterAccess, target: Target, signal: AbortSignal): Promise<unknown> {
  try {
    await member.client.dynamic(target.kind).create(draftOf(target), {
      dryRun: true,
      fieldManager: DELIVERY_MANAGER,
      signal,
      ...(target.namespace === "" ? {} : { namespace: target.namespace }),
    });
    return undefined;
  } catch (error) {
    return error;
  }
}

async function ensureNamespace(member: ClusterAccess, name: string, signal: AbortSignal): Promise<void> {
  const namespaces = member.client.resource(NamespaceKind);
  if ((await namespaces.find(name, { signal })) !== undefined) return;
  try {
    await namespaces.create(
      { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { [KARMADA.managed]: "true" } }, spec: {} },
      { fieldManager: DELIVERY_MANAGER, signal },
    );
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

function draftOf(target: Target): Draft<KubeObject & Record<string, unknown>> {
  const { metadata } = toApplyObject(target);
  return { ...target.manifest, apiVersion: apiVersionOf(target.kind), kind: target.kind.kind, metadata };
}

function toApplyObject(target: Target): ApplyObject {
  const metadata = target.manifest["metadata"];
  const { status: _status, ...rest } = target.manifest;
  return {
    ...rest,
    apiVersion: apiVersionOf(target.kind),
    metadata: {
      ...(isObject(metadata) ? metadata : {}),
      name: target.name,
      ...(target.namespace === "" ? {} : { namespace: target.namespace }),
    },
  };
}

/**
 * Whether everything that `wanted` says is so in `actual`; what the member added (defaults, status, other managers' fields) does
 * not count. Lists must have equally many items. This is the drift check.
 */
export function contains(actual: unknown, wanted: Json | undefined): boolean {
  if (wanted === undefined) return true;
  if (wanted === null) return actual === null || actual === undefined;
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(actual) &&
      actual.length === wanted.length &&
      wanted.every((item, index) => contains(actual[index], item))
    );
  }
  if (isObject(wanted)) {
    if (!isObject(actual)) return Object.keys(wanted).length === 0 && actual === undefined;
    return Object.entries(wanted).every(([key, item]) =>
      contains(Object.hasOwn(actual, key) ? actual[key] : undefined, item),
    );
  }
  return actual === wanted;
}

/** The drift check of a whole manifest. Secrets' `stringData` is compared as the `data` that it becomes. */
export function isAsWanted(actual: KubeObject, target: Target): boolean {
  const { status: _status, stringData, apiVersion: _apiVersion, ...wanted } = target.manifest;
  if (!contains(actual, wanted)) return false;
  if (!isObject(stringData)) return true;
  const data = Object.fromEntries(
    Object.entries(stringData).map(([key, value]) => [
      key,
      Buffer.from(typeof value === "string" ? value : "").toString("base64"),
    ]),
  );
  return contains(actual, { data });
}

/** A message without the values of a Secret that it may quote. */
export function withoutSecrets(message: string, manifest: JsonObject): string {
  if (manifest["kind"] !== "Secret") return message;
  let text = message;
  for (const field of ["data", "stringData"]) {
    const values = manifest[field];
    for (const value of isObject(values) ? Object.values(values) : []) {
      if (typeof value !== "string" || value === "") continue;
      for (const form of [
        value,
        Buffer.from(value).toString("base64"),
        Buffer.from(value, "base64").toString("utf8"),
      ]) {
        if (form.length > 2) text = text.replaceAll(form, "<hidden>");
      }
    }
  }
  return text;
}
