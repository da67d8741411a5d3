import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../fields.js";
import type { Stored } from "../types.js";
import { type Call, isStoredForm } from "../verbs/context.js";
import type { Form } from "./forms.js";

/** Of what is being written right now, by every watch and writer that is told. */
const present = new Map<Stored, JsonObject>();
/** Of what was listed; informers that list later share it as long as one of them holds it. */
const listed = new WeakMap<Stored, WeakRef<JsonObject>>();

/** Whether an answer goes to a client in this process that takes objects as they are. The audit log wants to see bytes. */
export function givesObjects({ request, type, accepted }: Call, form: Form): boolean {
  const isPlain = form.kind === "Object" && accepted.format === "json";
  return request.takesObjects === true && request.audit === undefined && isPlain && isStoredForm(type);
}

/** An object as clients in this process share it: not to be changed, without managedFields. */
export function sharedObject(stored: Stored): JsonObject {
  const known = present.get(stored) ?? listed.get(stored)?.deref();
  if (known !== undefined) return known;
  if (present.size === 0) setImmediate(() => present.clear());
  const made = withoutManagers(stored.value);
  present.set(stored, made);
  return made;
}

/** The same, of many that are read from the store. */
export function sharedObjects(items: readonly Stored[]): JsonObject[] {
  return items.map((stored) => {
    const known = present.get(stored) ?? listed.get(stored)?.deref();
    if (known !== undefined) return known;
    const made = withoutManagers(stored.value);
    listed.set(stored, new WeakRef(made));
    return made;
  });
}

function withoutManagers(value: JsonObject): JsonObject {
  const { metadata } = value;
  if (!isObject(metadata) || metadata["managedFields"] === undefined) return value;
  const { managedFields: _managers, ...rest } = metadata;
  return { ...value, metadata: rest };
}
