import type { Json, JsonObject } from "../kinds/object.js";
import { isObject } from "./json.js";

const noItems: readonly Json[] = [];

/** The value as an object; a fresh empty one for anything else. */
export function asObject(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

/** The value as a list; an empty one for anything else. */
export function asList(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : noItems;
}

/** The objects of a list; anything else in it is left out. */
export function asObjects(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** The value as text; empty for anything else. */
export function asString(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The value as a number, or `undefined`. */
export function asNumber(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}
