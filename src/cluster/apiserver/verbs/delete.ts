import { ApiError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { conflict, notFound } from "../failures.js";
import { copy, metadataOf, stringAt, stringsAt } from "../fields.js";
import { listOf } from "../render/lists.js";
import { selectionOf } from "../request/selectors.js";
import type { ResourceType, Stored } from "../types.js";
import { admissionRequest, mutate, validate } from "./admit.js";
import { type Call, inVersion, keyOf, type Machinery, type Outcome, outcomeOf } from "./context.js";
import { inOrder } from "./create.js";
import { type DeleteOptions, readDeleteOptions } from "./delete-options.js";
import { deletionRulesOf } from "./deletion-rules.js";
import { checkListOptions } from "./list-options.js";
import { listForm, pageOf } from "./read.js";

const orphanFinalizer = "orphan";
const foregroundFinalizer = "foregroundDeletion";

function warnOfDependents(call: Call, { propagation, isOldCascade }: DeleteOptions): void {
  const { propagationWarning } = deletionRulesOf(call.type);
  if (propagationWarning !== undefined && propagation === undefined && !isOldCascade)
    call.warnings.push(propagationWarning);
}

/** DELETE of one object. */
export async function remove(machinery: Machinery, call: Call): Promise<Outcome> {
  const options = readDeleteOptions(call.request);
  warnOfDependents(call, options);
  for (;;) {
    const current = machinery.store.get(keyOf(call));
    if (current === undefined) throw notFound(call.type, call.info.name);
    try {
      return await removeOnce(machinery, call, current, options);
    } catch (error) {
      // Someone wrote in between: a delete is for whatever is there, unless its preconditions say no.
      const isRace = error instanceof ApiError && error.status.reason === "Conflict";
      if (!isRace || machinery.store.get(current.key)?.revision === current.revision) throw error;
    }
  }
}

/** DELETE of a collection: every object that the query selects, one by one; answers them as they were. */
export async function removeCollection(machinery: Machinery, call: Call): Promise<JsonObject> {
  const { terms } = checkListOptions(call.request.query, "list");
  selectionOf(call.type, terms);
  const options = readDeleteOptions(call.request);
  warnOfDependents(call, options);
  const { items, metadata } = await pageOf(machinery, call);
  const found = await Promise.all(items.map(async (stored) => inVersion(call.type, stored)));
  for (const stored of items) await removeMember(machinery, call, stored, options);
  return listOf(call.type, found, listForm(call), { now: machinery.clock.now(), metadata });
}

async function removeMember(machinery: Machinery, call: Call, stored: Stored, options: DeleteOptions): Promise<void> {
  const metadata = metadataOf(stored.value);
  const info = { ...call.info, name: stringAt(metadata, "name"), namespace: stringAt(metadata, "namespace") };
  const member: Call = { ...call, info };
  for (;;) {
    const current = machinery.store.get(stored.key);
    if (current === undefined) return;
    try {
      await removeOnce(machinery, member, current, options);
      return;
    } catch (error) {
      if (machinery.store.get(stored.key)?.revision === current.revision) throw error;
    }
  }
}

async function removeOnce(machinery: Machinery, call: Call, current: Stored, options: DeleteOptions): Promise<Outcome> {
  const { type } = call;
  const old = await inVersion(type, current);
  checkPreconditions(type, old, options);
  const admission = admissionRequest(call, { operation: "DELETE", old, dryRun: options.dryRun });
  await mutate(machinery, admission);
  await validate(machinery, admission);
  const marked = mark(machinery, type, old, options);
  if (marked === undefined) return removeNow(machinery, call, { current, old }, options);
  const status = options.isOldCascade ? 202 : 200;
  if (marked === old) return outcomeOf(type, status, current);
  if (options.dryRun) return { status, value: marked };
  const stored = await machinery.store.update(current.key, current.revision, await type.toStorage(inOrder(marked)));
  return outcomeOf(type, status, stored);
}

/** Kinds with a grace period are seen to be deleted (a MODIFIED event) before they are gone, however short it is. */
async function removeNow(
  machinery: Machinery,
  call: Call,
  subject: { readonly current: Stored; readonly old: JsonObject },
  options: DeleteOptions,
): Promise<Outcome> {
  const { type } = call;
  const { current, old } = subject;
  const hasGrace = deletionRulesOf(type).graceSeconds !== undefined;
  if (options.dryRun || !hasGrace) {
    if (!options.dryRun) await machinery.store.delete(current.key, current.revision);
    return deletedOutcome(type, old);
  }
  const marked = copy(old);
  if (!startDeletion(machinery, metadataOf(marked), 0)) {
    await machinery.store.delete(current.key, current.revision);
    return deletedOutcome(type, old);
  }
  const stored = await machinery.store.update(current.key, current.revision, await type.toStorage(inOrder(marked)));
  const gone = await machinery.store.delete(stored.key, stored.revision);
  return deletedOutcome(type, await inVersion(type, gone));
}

function checkPreconditions(type: ResourceType, old: JsonObject, options: DeleteOptions): void {
  const metadata = metadataOf(old);
  const about = { group: type.group, plural: type.kind };
  const name = stringAt(metadata, "name");
  const uid = stringAt(metadata, "uid");
  if (options.uid !== undefined && options.uid !== uid) {
    const why = `the UID in the precondition (${options.uid}) does not match the UID in record (${uid}). The object might have been deleted and then recreated`;
    throw conflict(about, name, why);
  }
  const version = stringAt(metadata, "resourceVersion");
  if (options.resourceVersion !== undefined && options.resourceVersion !== version) {
    const why = `the ResourceVersion in the precondition (${options.resourceVersion}) does not match the ResourceVersion in record (${version}). The object might have been modified`;
    throw conflict(about, name, why);
  }
}

/** The object marked for deletion; the same one where it already is so; `undefined` where nothing holds it. */
function mark(
  machinery: Machinery,
  type: ResourceType,
  old: JsonObject,
  options: DeleteOptions,
): JsonObject | undefined {
  const rules = deletionRulesOf(type);
  const before = metadataOf(old);
  const finalizers = finalizersFor(type, stringsAt(before, "finalizers"), options);
  const grace = rules.graceSeconds?.(old, options.graceSeconds) ?? 0;
  if (finalizers.length === 0 && grace === 0 && rules.isHeld?.(old) !== true) return undefined;
  const marked = copy(old);
  const metadata = metadataOf(marked);
  if (finalizers.length > 0) metadata["finalizers"] = finalizers;
  else delete metadata["finalizers"];
  if (!startDeletion(machinery, metadata, grace)) {
    return finalizers.join() === stringsAt(before, "finalizers").join() ? old : marked;
  }
  rules.begin?.(marked);
  return marked;
}

/** Sets or shortens the deletion's time. Returns whether anything changed. */
function startDeletion(machinery: Machinery, metadata: JsonObject, grace: number): boolean {
  const now = machinery.clock.now();
  const running = metadata["deletionGracePeriodSeconds"];
  const isMarked = metadata["deletionTimestamp"] !== undefined;
  if (isMarked && (typeof running !== "number" || grace >= running)) return false;
  const start = isMarked ? Date.parse(stringAt(metadata, "deletionTimestamp")) - Number(running) * 1000 : now;
  metadata["deletionTimestamp"] = rfc3339(start + grace * 1000);
  metadata["deletionGracePeriodSeconds"] = grace;
  if (!isMarked && typeof metadata["generation"] === "number") metadata["generation"]++;
  return true;
}

function rfc3339(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

/** The propagation policy as finalizers for the garbage collector. */
function finalizersFor(type: ResourceType, present: readonly string[], options: DeleteOptions): string[] {
  const others = present.filter((finalizer) => finalizer !== orphanFinalizer && finalizer !== foregroundFinalizer);
  if (deletionRulesOf(type).defaultPropagation === "None") return others;
  switch (options.propagation) {
    case "Orphan":
      return [...others, orphanFinalizer];
    case "Foreground":
      return [...others, foregroundFinalizer];
    case "Background":
      return others;
    default: {
      if (others.length < present.length) return [...present];
      return deletionRulesOf(type).defaultPropagation === "Orphan" ? [...others, orphanFinalizer] : others;
    }
  }
}

function deletedOutcome(type: ResourceType, old: JsonObject): Outcome {
  if (deletionRulesOf(type).returnsObject === true) return { status: 200, value: old };
  const metadata = metadataOf(old);
  const details: { [field: string]: Json } = {
    name: stringAt(metadata, "name"),
    ...(type.group === "" ? {} : { group: type.group }),
    kind: type.plural,
    uid: stringAt(metadata, "uid"),
  };
  return { status: 200, value: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details } };
}
