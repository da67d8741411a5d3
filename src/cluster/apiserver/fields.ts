import type { JsonObject } from "../../kernel/kinds/object.js";
import { isObject } from "../../kernel/schema/index.js";

export {
  cloneJson as copyJson,
  cloneObject as copy,
  equalJson,
  isObject,
  setMember as setOwn,
} from "../../kernel/schema/index.js";

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
