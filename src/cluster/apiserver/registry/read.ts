import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";

export { asList, asNumber, asObject, asObjects, asString } from "../../../kernel/schema/index.js";

/** The value under a path of fields, or `undefined`. */
export function at(value: Json | undefined, ...fields: readonly string[]): Json | undefined {
  let current = value;
  for (const field of fields) {
    if (!isObject(current)) return undefined;
    current = current[field];
  }
  return current;
}

/** The object under `field`, made there if it is missing. */
export function ensureObject(object: JsonObject, field: string): JsonObject {
  const present = object[field];
  if (isObject(present)) return present;
  const made: JsonObject = {};
  object[field] = made;
  return made;
}

/** Sets `field` if it has no value. */
export function setDefault(object: JsonObject, field: string, value: Json): void {
  if (object[field] === undefined || object[field] === null) object[field] = value;
}

/** Like `setDefault`, but an empty text counts as no value. */
export function setDefaultText(object: JsonObject, field: string, value: string): void {
  if (object[field] === undefined || object[field] === "") object[field] = value;
}

/** Whether a value is absent or empty: null, "", [], {}. */
export function isEmpty(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}
