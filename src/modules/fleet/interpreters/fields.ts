import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asString, isObject } from "../../../kernel/schema/index.js";

/** The value at a path of an object; `undefined` where any step is missing. */
export function valueAt(object: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = object;
  for (const field of path) {
    if (!isObject(value)) return undefined;
    value = Object.hasOwn(value, field) ? value[field] : undefined;
  }
  return value;
}

/**
 * The object with a value at a path; `undefined` takes it away. Objects on the way are made. What is not on the way is shared with the given one, which
 * stays as it is, and is it where nothing changes.
 */
export function withValueAt(object: JsonObject, path: readonly string[], value: Json | undefined): JsonObject {
  const [field, ...rest] = path;
  if (field === undefined) return object;
  const present = Object.hasOwn(object, field) ? object[field] : undefined;
  if (rest.length > 0) {
    if (!isObject(present) && value === undefined) return object;
    const below = withValueAt(isObject(present) ? present : {}, rest, value);
    return below === present ? object : { ...object, [field]: below };
  }
  if (value !== undefined) return { ...object, [field]: value };
  if (!Object.hasOwn(object, field)) return object;
  const { [field]: _gone, ...others } = object;
  return others;
}

/** A whole number at a path; `fallback` for anything else. */
export function wholeAt(object: JsonObject, path: readonly string[], fallback: number): number {
  const value = asNumber(valueAt(object, path));
  return value === undefined || !Number.isSafeInteger(value) ? fallback : value;
}

/** `status` of an object; empty where there is none. */
export function statusOf(object: JsonObject): JsonObject {
  return asObject(object["status"]);
}

/** `metadata.namespace`, `""` for objects of a whole cluster. */
export function namespaceOf(object: JsonObject): string {
  return asString(asObject(object["metadata"])["namespace"]);
}

/** `metadata.generation`; 0 where there is none. */
export function generationOf(object: JsonObject): number {
  return wholeAt(object, ["metadata", "generation"], 0);
}

/** The members of an object that are there and are not empty, zero or false; as Kubernetes leaves them out. */
export function withoutEmpty(object: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(object).filter(
      ([, value]) =>
        value !== undefined &&
        value !== null &&
        value !== 0 &&
        value !== "" &&
        value !== false &&
        !(Array.isArray(value) && value.length === 0),
    ),
  );
}

/** The named members of an object. */
export function only(object: JsonObject, fields: readonly string[]): JsonObject {
  return Object.fromEntries(fields.flatMap((field) => (object[field] === undefined ? [] : [[field, object[field]]])));
}

/** The later of two RFC 3339 times in the same form; either may be missing. */
export function laterOf(a: string, b: string): string {
  return a > b ? a : b;
}

/** The earlier of two RFC 3339 times in the same form; either may be missing (empty). */
export function earlierOf(a: string, b: string): string {
  if (a === "" || b === "") return a === "" ? b : a;
  return a < b ? a : b;
}
