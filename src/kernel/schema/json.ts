import { InputError } from "../errors/index.js";
import type { Json, JsonObject } from "../kinds/object.js";

/** Whether a value is a JSON object (no array, not null). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value of a JSON text; `undefined` when it is none. */
export function parseJson(text: string): Json | undefined {
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

/** Copies anything that JSON can carry into plain JSON; members that are undefined are left out. Throws `InputError` for functions, symbols and non-finite numbers. */
export function toJson(value: unknown): Json {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value === "object") {
    const copy: JsonObject = {};
    for (const [key, member] of Object.entries(value)) if (member !== undefined) setMember(copy, key, toJson(member));
    return copy;
  }
  throw new InputError(`a value of type ${typeof value} cannot be written as JSON`);
}

/** `toJson` of something that is an object. */
export function toJsonObject(value: object): JsonObject {
  const copy = toJson(value);
  if (!isObject(copy)) throw new InputError("expected an object, got a list");
  return copy;
}

/** Deep copy of a JSON value. */
export function cloneJson<T extends Json>(value: T): T;
export function cloneJson(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => cloneJson(item));
  return cloneObject(value);
}

/** Deep copy of a JSON object. */
export function cloneObject(value: JsonObject): JsonObject {
  const copy: JsonObject = {};
  for (const key in value) {
    const member = value[key];
    if (member === undefined) continue;
    setMember(copy, key, typeof member === "object" ? cloneJson(member) : member);
  }
  return copy;
}

/** Sets a member; `__proto__` becomes an ordinary member instead of a prototype. */
export function setMember(object: JsonObject, key: string, value: Json | undefined): void {
  if (key === "__proto__")
    Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
  else object[key] = value;
}

/** Structural equality of anything that JSON can carry; absent and undefined members are the same, order of members does not matter. */
export function equalJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) return Array.isArray(a) && Array.isArray(b) && equalLists(a, b);
  if (!isObject(a) || !isObject(b)) return false;
  let members = 0;
  for (const key in a) {
    if (a[key] === undefined) continue;
    members += 1;
    if (!Object.hasOwn(b, key) || !equalJson(a[key], b[key])) return false;
  }
  for (const key in b) if (b[key] !== undefined) members -= 1;
  return members === 0;
}

function equalLists(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index += 1) if (!equalJson(a[index], b[index])) return false;
  return true;
}
