import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, conflict, invalid, notFound, unexplained } from "../failures.js";
import { equalJson, metadataOf, objectAt, stringAt, stringsAt } from "../fields.js";
import type { AdmissionRequest, Stored } from "../types.js";
import { admissionRequest, mutate, validate } from "./admit.js";
import {
  type Call,
  inVersion,
  keyOf,
  type Machinery,
  namespaceOf,
  type Outcome,
  outcomeOf,
  timestamp,
  type View,
} from "./context.js";
import { createObject, inOrder, placeInNamespace } from "./create.js";
import { decodeBody, omittedMembers } from "./decode.js";
import { isHeld } from "./deletion-rules.js";
import { readWriteOptions, type WriteOptions } from "./options.js";

/** An object as it is. */
export function wholeObject(machinery: Machinery, call: Call): View {
  const { type, info } = call;
  return {
    key: keyOf(call),
    isOfCustom: false,
    missing: () => notFound(type, info.name),
    read: (stored) => inVersion(type, stored),
    write: (change, options) => updateObject(machinery, call, change, options),
  };
}

/** PUT of an object or of one of its subresources. */
export async function update(
  machinery: Machinery,
  call: Call,
  view: View = wholeObject(machinery, call),
): Promise<Outcome> {
  const options = readWriteOptions(call.request, "UpdateOptions");
  const object = view.isOfCustom ? decodePart(call, options) : decodeBody(call, options);
  placeInNamespace(object, namespaceOf(call));
  checkName(object, call.info.name);
  for (;;) {
    const current = machinery.store.get(view.key);
    if (current === undefined) {
      if (!mayCreate(call)) throw view.missing();
      return createInstead(machinery, call, object, options);
    }
    const filled = fillIn(call, object, current);
    if (filled !== undefined) await filled;
    const version = stringAt(objectAt(object, "metadata"), "resourceVersion");
    try {
      // Without a version the write is unconditional: it is made again on what won the race.
      const attempt = version === "" ? structuredClone(object) : object;
      return await view.write({ object: attempt, current }, { ...options, track: true });
    } catch (error) {
      if (version !== "" || machinery.store.get(view.key)?.revision === current.revision) throw error;
    }
  }
}

/** What was not read is as it was. */
function fillIn(call: Call, object: JsonObject, current: Stored): Promise<void> | undefined {
  const omitted = omittedMembers(call);
  if (omitted.length === 0) return undefined;
  const fill = (old: JsonObject): void => {
    for (const name of omitted) if (old[name] !== undefined) object[name] = old[name];
  };
  const old = inVersion(call.type, current);
  if (old instanceof Promise) return old.then(fill);
  fill(old);
  return undefined;
}

/** Upstream does not know what it was reading when it could not read it. */
function decodePart(call: Call, options: WriteOptions): JsonObject {
  try {
    return decodeBody(call, options);
  } catch (error) {
    if (!(error instanceof ApiError) || error.httpCode !== 400) throw error;
    const { kind, version } = call.type;
    throw badRequest(`no kind is registered for the type ${version}.${kind} in scheme "${partScheme}"`);
  }
}

const partScheme = "k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go:1400";

/** Some kinds make what is not there, whatever state of it was meant. */
function mayCreate({ type, info }: Call): boolean {
  return type.createsOnUpdate === true && info.subresource === "";
}

function createInstead(machinery: Machinery, call: Call, object: JsonObject, options: WriteOptions): Promise<Outcome> {
  delete metadataOf(object)["resourceVersion"];
  return createObject(machinery, call, object, { ...options, track: true });
}

function checkName(object: JsonObject, name: string): void {
  const given = stringAt(metadataOf(object), "name");
  if (given === "")
    throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  if (given !== name) {
    throw badRequest(`the name of the object (${given}) does not match the name on the URL (${name})`);
  }
}

/** A new state of an object, on its way into the store. */
export interface Change {
  readonly object: JsonObject;
  readonly old: JsonObject;
  readonly current: Stored;
}

/** Admits, completes, checks and stores a new state. An unchanged one is not written. Throws 409 when `current` is no longer the latest. */
export async function updateObject(
  machinery: Machinery,
  call: Call,
  change: { readonly object: JsonObject; readonly current: Stored },
  options: WriteOptions & { readonly track: boolean },
): Promise<Outcome> {
  const { type } = call;
  const { object, current } = change;
  const read = inVersion(type, current);
  const old = read instanceof Promise ? await read : read;
  placeInNamespace(object, namespaceOf(call));
  checkUid(call, object, old);
  checkVersion(call, object, current);
  carryMetadata(object, old);
  const by = { manager: options.manager, subresource: call.info.subresource, now: timestamp(machinery.clock) };
  // Before admission, whose changes are not the client's.
  if (options.track) type.merge.trackUpdate(object, old, by);
  const admission = admissionRequest(call, { operation: "UPDATE", object, old, dryRun: options.dryRun });
  const mutated = mutate(machinery, admission);
  if (mutated !== undefined) await mutated;
  return completeChange(machinery, call, { object, old, current, admission }, options);
}

/** Completes, checks and stores what was admitted. */
export async function completeChange(
  machinery: Machinery,
  call: Call,
  { object, old, current, admission }: Change & { readonly admission: AdmissionRequest },
  options: WriteOptions,
): Promise<Outcome> {
  const { type } = call;
  const warn = (message: string): void => void call.warnings.push(message);
  const { subresource } = call.info;
  const context = { now: timestamp(machinery.clock), user: call.user, subresource, warn };
  type.prepareForUpdate(object, old, context);
  const found = type.validateUpdate(object, old, context);
  const causes = found instanceof Promise ? await found : found;
  if (causes.length > 0) throw invalid(type, call.info.name, causes);
  const validated = validate(machinery, admission);
  if (validated !== undefined) await validated;
  // What the subresource left out is filled in as if it were read from the store.
  if (subresource !== "") type.applyDefaults(object);
  if (isUnchanged(object, old)) return outcomeOf(type, 200, current);
  return storeChange(machinery, call, { object, current }, options);
}

async function storeChange(
  machinery: Machinery,
  call: Call,
  change: { readonly object: JsonObject; readonly current: Stored },
  options: WriteOptions,
): Promise<Outcome> {
  const { type } = call;
  const { object, current } = change;
  metadataOf(object)["resourceVersion"] = String(current.revision);
  if (isReleased(call, object)) {
    if (!options.dryRun) await machinery.store.delete(current.key, current.revision);
    return { status: 200, value: object };
  }
  if (options.dryRun) return { status: 200, value: object };
  const kept = type.toStorage(inOrder(object));
  const value = kept instanceof Promise ? await kept : kept;
  const stored = await machinery.store.update(current.key, current.revision, value);
  return outcomeOf(type, 200, stored);
}

/** Whether this write took the last thing away that held a deleted object. */
function isReleased(call: Call, object: JsonObject): boolean {
  const metadata = metadataOf(object);
  if (metadata["deletionTimestamp"] === undefined || stringsAt(metadata, "finalizers").length > 0) return false;
  const grace = metadata["deletionGracePeriodSeconds"];
  return (typeof grace !== "number" || grace === 0) && !isHeld(call.type, object);
}

/** Refuses a state that was made of another one than the current. Throws 409, 422, 500. */
export function checkVersion(call: Call, object: JsonObject, current: Stored): void {
  const { type } = call;
  const version = stringAt(metadataOf(object), "resourceVersion");
  if (version === "" || version === "0") {
    if (type.needsVersion !== true || call.info.verb === "patch") return;
    const message = "Invalid value: 0: must be specified for an update";
    const about = { group: type.storageGroup ?? type.group, kind: type.plural };
    throw invalid(about, call.info.name, [{ reason: "FieldValueInvalid", field: "metadata.resourceVersion", message }]);
  }
  if (!/^\d+$/.test(version))
    throw unexplained(`strconv.ParseUint: parsing ${JSON.stringify(version)}: invalid syntax`);
  if (version !== String(current.revision)) throw conflict(call.type, call.info.name);
}

/** Resources that upstream stores under other names than their own. */
const storedAs: Readonly<Record<string, string>> = {
  "/replicationcontrollers": "controllers",
  "/endpoints": "services/endpoints",
  "/services": "services/specs",
  "/nodes": "minions",
  "networking.k8s.io/ingresses": "ingress",
};

/** Where upstream stores an object; its messages say so. */
function storageKeyOf({ type, info, request }: Call): string {
  const owned = type.custom || type.group === "apiextensions.k8s.io" || type.group === "apiregistration.k8s.io";
  const folder = storedAs[`${type.group}/${type.plural}`] ?? (owned ? `${type.group}/${type.plural}` : type.plural);
  const prefix = request.query.has("dryRun") ? "" : "/registry";
  return [prefix, folder, ...(type.namespaced ? [info.namespace] : []), info.name].join("/");
}

/** An uid that is another's means that another object of that name was meant. Throws 409. */
export function checkUid(call: Call, object: JsonObject, old: JsonObject): void {
  const before = metadataOf(old);
  const uid = stringAt(metadataOf(object), "uid");
  // A patch names no object of its own: another uid is a change, which validation refuses.
  if (uid !== "" && uid !== before["uid"] && call.info.verb !== "patch") {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${stringAt(before, "uid")}`;
    const where = `Code: 4, Key: ${storageKeyOf(call)}, ResourceVersion: 0, AdditionalErrorMsg`;
    throw conflict(call.type, call.info.name, `StorageError: invalid object, ${where}: ${why}`);
  }
}

/** What updates cannot change stays. */
function carryMetadata(object: JsonObject, old: JsonObject): void {
  const metadata = metadataOf(object);
  const before = metadataOf(old);
  if (metadata["uid"] === undefined) metadata["uid"] = before["uid"];
  if (before["creationTimestamp"] !== undefined) metadata["creationTimestamp"] = before["creationTimestamp"];
  if (before["generation"] === undefined) delete metadata["generation"];
  else metadata["generation"] = before["generation"];
  // A deletion cannot be taken back; one that is made up is a change, which validation refuses.
  if (before["deletionTimestamp"] !== undefined) metadata["deletionTimestamp"] = before["deletionTimestamp"];
  const grace = before["deletionGracePeriodSeconds"];
  if (grace !== undefined && metadata["deletionGracePeriodSeconds"] === undefined)
    metadata["deletionGracePeriodSeconds"] = grace;
  delete metadata["selfLink"];
}

/** Equal but for the version and for when managers last wrote. */
function isUnchanged(object: JsonObject, old: JsonObject): boolean {
  return (
    areEqualBut(object, old, apart) &&
    areEqualBut(metadataOf(object), metadataOf(old), ofServer) &&
    equalJson(untimed(metadataOf(object)), untimed(metadataOf(old)))
  );
}

const apart: ReadonlySet<string> = new Set(["metadata"]);
const ofServer: ReadonlySet<string> = new Set(["resourceVersion", "managedFields"]);

/** Whether two objects are equal but for some members. */
function areEqualBut(a: JsonObject, b: JsonObject, but: ReadonlySet<string>): boolean {
  for (const name in a)
    if (!but.has(name) && !equalJson(a[name], Object.hasOwn(b, name) ? b[name] : undefined)) return false;
  for (const name in b)
    if (!but.has(name) && b[name] !== undefined && !(Object.hasOwn(a, name) && a[name] !== undefined)) return false;
  return true;
}

function untimed(metadata: JsonObject): JsonObject[] {
  const entries = metadata["managedFields"];
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry) =>
    typeof entry === "object" && entry !== null && !Array.isArray(entry) ? [{ ...entry, time: "" }] : [],
  );
}
