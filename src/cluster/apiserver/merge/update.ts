import type { JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import { zeroObject } from "../registry/decode.js";
import { asObject, isEmpty } from "../registry/read.js";
import type { FieldManager } from "../types.js";
import { compareObjects } from "./compare.js";
import type { MergeOptions } from "./create.js";
import type { FieldSet } from "./field-set.js";
import type { Manager, Managers } from "./managers.js";
import { managerIdentity, ownsAny, readManagers, writeManagers } from "./managers.js";
import { stripServerFields, withoutManagedFields } from "./server-fields.js";

/** Records who changed what by a write that is no apply. Changes `metadata.managedFields` of `object` only. */
export function trackUpdate(
  options: MergeOptions,
  object: JsonObject,
  old: JsonObject | undefined,
  by: FieldManager,
): void {
  const managers: Managers =
    by.subresource === "" && asksForReset(object) ? new Map() : managersBefore(object, old, by.subresource);
  // What nobody is known to own stays so until the next apply.
  if (old !== undefined && managers.size === 0) {
    delete asObject(object["metadata"])["managedFields"];
    return;
  }
  const base = old === undefined ? zeroBase(options) : withoutManagedFields(old);
  const left = leftAlone(options, by.subresource);
  const comparison = compareObjects(options.shape, without(base, left), without(withoutManagedFields(object), left));
  const added = stripServerFields(comparison.added.union(comparison.modified));
  const taken = withoutReset(options, added, by.subresource);
  const removed = withoutReset(options, comparison.removed, by.subresource);
  for (const [identity, manager] of managers)
    if (ownsAny(manager, taken) || ownsAny(manager, removed))
      managers.set(identity, { ...manager, set: manager.set.difference(taken).difference(removed) });
  if (!taken.isEmpty) {
    const self: Manager = {
      manager: by.manager,
      operation: "Update",
      apiVersion: apiVersionOf(options),
      subresource: by.subresource,
      time: by.now,
      set: taken,
    };
    const identity = managerIdentity(self);
    const before = managers.get(identity);
    managers.set(identity, before === undefined ? self : { ...self, set: before.set.union(taken) });
  }
  writeManagers(object, managers);
}

const byDefault: NonNullable<MergeOptions["resets"]> = { "": [["status"]], status: [["spec"]] };

function resetsOf(options: MergeOptions, subresource: string): readonly (readonly string[])[] {
  return options.resets?.[subresource] ?? (options.hasStatus ? byDefault[subresource] : undefined) ?? [];
}

/** The whole members that a write by the subresource leaves as they were: they need no look. */
function leftAlone(options: MergeOptions, subresource: string): readonly string[] {
  return resetsOf(options, subresource).flatMap(([name, ...rest]) =>
    name === undefined || rest.length > 0 ? [] : [name],
  );
}

function without(object: JsonObject, names: readonly string[]): JsonObject {
  if (!names.some((name) => object[name] !== undefined)) return object;
  const rest = { ...object };
  for (const name of names) delete rest[name];
  return rest;
}

/** A set without what a write by the subresource leaves as it was. */
export function withoutReset(options: MergeOptions, set: FieldSet, subresource: string): FieldSet {
  return resetsOf(options, subresource).reduce((rest, path) => rest.without(path.map((name) => `f:${name}`)), set);
}

/** An object of the kind with nothing in it. */
export function zeroBase(options: MergeOptions): JsonObject {
  return options.supportsStrategic ? zeroObject(options.shape) : { metadata: {} };
}

/** An empty list, or one empty entry: from now on nobody is known to own anything. */
function asksForReset(object: JsonObject): boolean {
  const sent = asObject(object["metadata"])["managedFields"];
  if (!Array.isArray(sent)) return false;
  return sent.length === 0 || (sent.length === 1 && isEmpty(sent[0]));
}

/** A client may replace the list itself; a client that knows nothing of it leaves it as it was. */
function managersBefore(object: JsonObject, old: JsonObject | undefined, subresource: string): Managers {
  const own = subresource !== "" && old !== undefined ? undefined : readManagers(object);
  return own === undefined || own.size === 0 ? readManagers(old, true) : own;
}
