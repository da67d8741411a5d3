import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";

const noItems: readonly Json[] = [];

/** The value as an object; a fresh empty one for anything else. */
export function asObject(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}

/** The value as a list; an empty one for anything else. */
export function asList(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : noItems;
}

/** The objects of a list. */
export function asObjects(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** The value as text; empty for anything else. */
export function asString(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

/** The value as a number, or `undefined`. */
export function asNumber(value: Json | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}

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
