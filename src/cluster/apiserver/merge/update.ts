import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import { zeroObject } from "../registry/decode.js";
import { asObject, isEmpty } from "../registry/read.js";
import type { FieldManager } from "../types.js";
import { compareObjects } from "./compare.js";
import type { MergeOptions, Merging } from "./create.js";
import { type FieldSet, toFieldsV1 } from "./field-set.js";
import type { Effect, KnownEffect, Written } from "./known-ways.js";
import type { Manager, Managers } from "./managers.js";
import { atTime, covers, managerIdentity, ownsAny, readManagers, writeManagers } from "./managers.js";
import { stripServerFields, withoutManagedFields } from "./server-fields.js";

/** Records who changed what by a write that is no apply. Changes `metadata.managedFields` of `object` only. */
export function trackUpdate(options: Merging, object: JsonObject, old: JsonObject | undefined, by: FieldManager): void {
  const managers: Managers =
    by.subresource === "" && asksForReset(object) ? new Map() : managersBefore(object, old, by.subresource);
  // What nobody is known to own stays so until the next apply.
  if (old !== undefined && managers.size === 0) {
    delete asObject(object["metadata"])["managedFields"];
    return;
  }
  const base = old === undefined ? options.zero : withoutManagedFields(old);
  const { taken, removed, written } = effectOf(options, base, object, by);
  const self = { ...by, operation: "Update", apiVersion: apiVersionOf(options), time: by.now } as const;
  const own = managerIdentity(self);
  for (const [identity, manager] of managers) {
    const lost = identity === own ? [removed] : [taken, removed];
    if (!lost.some((set) => ownsAny(manager, set))) continue;
    managers.set(identity, { ...manager, set: lost.reduce((rest, set) => rest.difference(set), manager.set) });
  }
  if (!taken.isEmpty) managers.set(own, withMore(managers.get(own), self, written));
  writeManagers(object, managers);
}

function effectOf(options: Merging, base: JsonObject, object: JsonObject, by: FieldManager): KnownEffect {
  const left = leftAlone(options, by.subresource);
  const old = without(base, left);
  const now = without(withoutManagedFields(object), left);
  const find = (before: JsonObject, after: JsonObject): Effect => {
    const comparison = compareObjects(options.shape, before, after);
    const added = stripServerFields(comparison.added.union(comparison.modified));
    return {
      taken: withoutReset(options, added, by.subresource),
      removed: withoutReset(options, comparison.removed, by.subresource),
    };
  };
  const writer = `${by.subresource}/${by.manager}`;
  const owners = ownersGiven(old, now);
  if (owners === undefined) return options.known.ofChange(writer, { old, now }, () => find(old, now));
  const { ownerReferences: _, ...metadata } = asObject(now["metadata"]);
  const rest = { ...now, metadata };
  const known = options.known.ofChange(writer, { old, now: rest }, () => find(old, rest));
  const taken = known.taken.union(find({ metadata: {} }, { metadata: { ownerReferences: owners } }).taken);
  return { taken, removed: known.removed, written: { set: taken, fieldsV1: toFieldsV1(taken) } };
}

/** Owners that an object gets with its first write: they are named by their identifiers, so no other object's are like them. */
function ownersGiven(old: JsonObject, now: JsonObject): Json[] | undefined {
  const { ownerReferences } = asObject(now["metadata"]);
  const before = old["metadata"];
  const isGiven = Array.isArray(ownerReferences) && ownerReferences.length > 0;
  return isGiven && isObject(before) && before["ownerReferences"] === undefined ? ownerReferences : undefined;
}

/** A manager that also owns these fields. */
function withMore(before: Manager | undefined, self: Omit<Manager, "set">, written: Written): Manager {
  const { manager, operation, apiVersion, subresource, time } = self;
  if (before !== undefined && covers(before, written.set)) return atTime(before, time);
  const now = { manager, operation, apiVersion, subresource, time };
  return before === undefined ? { ...now, set: written.set, written } : { ...now, set: before.set.union(written.set) };
}

const byDefault: NonNullable<MergeOptions["resets"]> = { "": [["status"]], status: [["spec"]] };

function resetsOf(options: MergeOptions, subresource: string): readonly (readonly string[])[] {
  return options.resets?.[subresource] ?? (options.hasStatus ? byDefault[subresource] : undefined) ?? [];
}

/** The whole members that a write by the subresource leaves as they were: they need no look. */
function leftAlone(options: MergeOptions, subresource: string): readonly string[] {
  const known = leftBy.get(options) ?? new Map<string, readonly string[]>();
  const before = known.get(subresource);
  if (before !== undefined) return before;
  const names = resetsOf(options, subresource).flatMap(([name, ...rest]) =>
    name === undefined || rest.length > 0 ? [] : [name],
  );
  known.set(subresource, names);
  leftBy.set(options, known);
  return names;
}

/** By kind and subresource; the names of subresources are a kind's own. */
const leftBy = new WeakMap<MergeOptions, Map<string, readonly string[]>>();

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
