import type { JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { badRequest, failure, unexplained } from "../failures.js";
import { asObject, asString, ensureObject } from "../registry/read.js";
import type { FieldManager } from "../types.js";
import { overlayMembers, removeFields, withNamedFields } from "./combine.js";
import { compareObjects, fieldsOf } from "./compare.js";
import type { MergeOptions, Merging } from "./create.js";
import { FieldSet, showPath } from "./field-set.js";
import type { Manager, Managers } from "./managers.js";
import { managerIdentity, ownsAny, readManagers, writeManagers } from "./managers.js";
import { stripServerFields, withoutManagedFields } from "./server-fields.js";
import { typedFaults } from "./typed-faults.js";
import { withoutReset as setBy } from "./update.js";

/** Server-side apply (KEP-555): merges the applied configuration into the current object, removes what the manager applied before and no longer does, records ownership. Throws a 409 `ApiError` with one cause per field and owner unless forced. */
export function applyObject(
  options: Merging,
  current: JsonObject | undefined,
  applied: JsonObject,
  by: FieldManager & { readonly force: boolean },
): JsonObject {
  checkApplied(options, applied);
  const managers = currentManagers(options, current, by);
  checkTyped(options, applied);
  const { shape } = options;
  const config = withoutReset(options, applied, by.subresource);
  const live = current ?? { apiVersion: apiVersionOf(options), kind: options.kind, metadata: {} };
  const written = options.known.ofApplied(`${by.subresource}/${by.manager}`, config, () =>
    setBy(options, stripServerFields(fieldsOf(shape, config)), by.subresource),
  );
  const self: Manager = {
    manager: by.manager,
    operation: "Apply",
    apiVersion: apiVersionOf(options),
    subresource: by.subresource,
    time: by.now,
    set: written.set,
    written,
  };
  const identity = managerIdentity(self);
  const before = managers.get(identity);
  const merged = overlayMembers(shape, withoutManagedFields(live), config);
  managers.set(identity, self);
  if (before !== undefined) prune(options, merged, before.set, managers);
  const result = options.normalise(merged);
  // Values are compared as they were applied: another way to write a quantity is another value.
  settle({ options, live: withoutManagedFields(live), result: merged, managers, self: identity, by });
  // A time is when fields were last changed: an apply that changes nothing has none of its own.
  if (current !== undefined && equalJson(withoutManagedFields(live), merged))
    managers.set(identity, { ...self, time: before?.time ?? "" });
  writeManagers(result, managers);
  return result;
}

function checkApplied(options: MergeOptions, applied: JsonObject): void {
  const apiVersion = asString(applied["apiVersion"]);
  const kind = asString(applied["kind"]);
  if (apiVersion !== apiVersionOf(options) || kind !== options.kind) {
    const slash = apiVersion.includes("/") ? apiVersion : `/${apiVersion}`;
    throw badRequest(`invalid object type: ${slash}, Kind=${kind}`);
  }
  if ((asObject(applied["metadata"])["managedFields"] ?? null) !== null)
    throw badRequest("metadata.managedFields must be nil");
}

function checkTyped(options: MergeOptions, applied: JsonObject): void {
  const [fault] = typedFaults(options.shape, applied);
  if (fault === undefined) return;
  const { namespace, name } = asObject(applied["metadata"]);
  const group = options.group === "" ? "/v1" : apiVersionOf(options);
  throw failure(
    500,
    "",
    `failed to create typed patch object (${asString(namespace)}/${asString(name)}; ${group}, Kind=${options.kind}): ${fault}`,
  );
}

/** What a write to this (sub)resource cannot change is not applied and not owned. Shares its members with what is applied. */
function withoutReset(options: MergeOptions, applied: JsonObject, subresource: string): JsonObject {
  const config = { ...applied };
  if (subresource === "") {
    if (options.hasStatus) delete config["status"];
  } else if (subresource === "status")
    for (const field of Object.keys(config))
      if (!["apiVersion", "kind", "metadata", "status"].includes(field)) delete config[field];
  return config;
}

/** Who owned an object before ownership was recorded: one manager, so that its fields can be taken over knowingly. */
function currentManagers(options: Merging, current: JsonObject | undefined, by: FieldManager): Managers {
  const managers = readManagers(current, true);
  if (current === undefined || managers.size > 0) return managers;
  if (!options.isConvertible) {
    const apiVersion = apiVersionOf(options);
    throw unexplained(
      `failed to create manager for existing fields: failed to convert live object (/; ${apiVersion}, Kind=${options.kind}) to proper version: request to convert CR to an invalid group/version: ${apiVersion}`,
    );
  }
  const { added, modified } = compareObjects(options.shape, options.zero, withoutManagedFields(current));
  const first: Manager = {
    manager: "before-first-apply",
    operation: "Update",
    apiVersion: apiVersionOf(options),
    subresource: by.subresource,
    time: by.now,
    set: setBy(options, stripServerFields(added.union(modified)), by.subresource),
  };
  return first.set.isEmpty ? managers : new Map([[managerIdentity(first), first]]);
}

const neverRemoved = new FieldSet();
for (const path of [
  ["f:apiVersion"],
  ["f:kind"],
  ["f:metadata"],
  ["f:metadata", "f:name"],
  ["f:metadata", "f:namespace"],
])
  neverRemoved.insert(path);

function prune(options: MergeOptions, merged: JsonObject, before: FieldSet, managers: Managers): void {
  let owned = neverRemoved;
  for (const manager of managers.values()) owned = owned.union(manager.set);
  const { shape } = options;
  removeFields(shape, merged, withNamedFields(shape, before).difference(withNamedFields(shape, owned)));
  ensureObject(merged, "metadata");
}

interface Settlement {
  readonly options: MergeOptions;
  readonly live: JsonObject;
  readonly result: JsonObject;
  readonly managers: Managers;
  readonly self: string;
  readonly by: FieldManager & { readonly force: boolean };
}

/** Takes changed fields away from their owners, or refuses. */
function settle(settlement: Settlement): void {
  const { options, live, result, managers, self, by } = settlement;
  if (managers.size === 1 && managers.has(self)) return;
  const comparison = compareObjects(options.shape, live, result);
  const changed = setBy(options, comparison.modified.union(comparison.added), by.subresource);
  const removed = setBy(options, comparison.removed, by.subresource);
  const conflicts: { manager: Manager; set: FieldSet }[] = [];
  for (const [identity, manager] of managers) {
    if (identity === self) continue;
    if (!ownsAny(manager, changed)) continue;
    const set = manager.set.intersection(changed);
    if (!set.isEmpty) conflicts.push({ manager, set });
  }
  if (conflicts.length > 0 && !by.force) throw conflictError(conflicts);
  for (const [identity, manager] of managers) {
    if (identity === self || !(ownsAny(manager, changed) || ownsAny(manager, removed))) continue;
    const rest = manager.set.difference(changed).difference(removed);
    if (rest.isEmpty) managers.delete(identity);
    else managers.set(identity, { ...manager, set: rest });
  }
}

function ownerWords(manager: Manager): string {
  const subresource = manager.subresource === "" ? "" : ` with subresource ${JSON.stringify(manager.subresource)}`;
  const version = manager.operation === "Update" ? ` using ${manager.apiVersion}` : "";
  return `${JSON.stringify(manager.manager)}${subresource}${version}`;
}

function conflictError(conflicts: readonly { manager: Manager; set: FieldSet }[]): Error {
  const found = conflicts
    .map(({ manager, set }) => ({ owner: ownerWords(manager), fields: [...set.paths()].map(showPath) }))
    .sort((a, b) => (a.owner < b.owner ? -1 : 1));
  const causes = found.flatMap(({ owner, fields }) =>
    fields.map((field) => ({ reason: "FieldManagerConflict", message: `conflict with ${owner}`, field })),
  );
  const [only] = causes;
  const message =
    causes.length === 1 && only !== undefined
      ? `Apply failed with 1 conflict: ${only.message}: ${only.field}`
      : `Apply failed with ${causes.length} conflicts: ${found.map(({ owner, fields }) => `conflicts with ${owner}:\n${fields.map((field) => `- ${field}`).join("\n")}`).join("\n")}`;
  return failure(409, "Conflict", message, { causes });
}
