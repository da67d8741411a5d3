import type { Json, JsonObject } from "../../kernel/kinds/object.js";

/** Whether a JSON value is an object (no array, no null). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The object under `field`; an empty one that is not attached where there is none. */
export function objectAt(object: JsonObject, field: string): JsonObject {
  const value = object[field];
  return isObject(value) ? value : {};
}

/** The string under `field`; empty where there is none. */
export function stringAt(object: JsonObject, field: string): string {
  const value = object[field];
  return typeof value === "string" ? value : "";
}

/** `metadata` of an object, made where it is missing: changes to it stay. */
export function metadataOf(object: JsonObject): JsonObject {
  const value = object["metadata"];
  if (isObject(value)) return value;
  const made: JsonObject = {};
  object["metadata"] = made;
  return made;
}

/** The strings of a list; anything else in it is left out. */
export function stringsAt(object: JsonObject, field: string): string[] {
  const value = object[field];
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}

/** A copy that shares nothing. `undefined` members are dropped. */
export function copy(value: JsonObject): JsonObject {
  const out: JsonObject = {};
  for (const field in value) {
    const member = value[field];
    if (member !== undefined) setOwn(out, field, copyJson(member));
  }
  return out;
}

/** Sets a member whatever its name: plain assignment of `__proto__` would set the prototype. */
export function setOwn(object: JsonObject, field: string, value: Json | undefined): void {
  if (field === "__proto__")
    Object.defineProperty(object, field, { value, enumerable: true, configurable: true, writable: true });
  else object[field] = value;
}

/** Like `copy`, for any JSON value. */
export function copyJson(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  return Array.isArray(value) ? value.map(copyJson) : copy(value);
}

/** Deep equality of JSON values; an `undefined` member equals a missing one. */
export function equalJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) return Array.isArray(a) && Array.isArray(b) && equalLists(a, b);
  return equalObjects(a, b);
}

function equalLists(a: readonly Json[], b: readonly Json[]): boolean {
  return a.length === b.length && a.every((item, index) => equalJson(item, b[index]));
}

function equalObjects(a: JsonObject, b: JsonObject): boolean {
  for (const field in a) if (!equalJson(a[field], b[field])) return false;
  for (const field in b) if (b[field] !== undefined && a[field] === undefined) return false;
  return true;
}
