import type { Json } from "../kinds/object.js";
import type { Lookup } from "./path.js";

/** A member of an object that is its own; `undefined` for everything else. */
export function memberOf(value: Json | undefined, name: string): Json | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.hasOwn(value, name)
    ? value[name]
    : undefined;
}

/** A position in a list, in digits. */
export const isDigits = (text: string): boolean => /^\d{1,15}$/.test(text);

/** Where text in quotation marks ends that begins at `start`. */
export function endOfText(path: string, start: number): number {
  let index = start + 1;
  while (index < path.length && path[index] !== '"') index += path[index] === "\\" ? 2 : 1;
  return index;
}

const MODIFIERS = new Map<string, Lookup>([
  ["this", (value) => value],
  ["valid", (value) => value],
  ["keys", namesOf],
  ["values", valuesOf],
  ["reverse", reversed],
]);

/** GJSON has them, and they are not done here. */
export const UNSUPPORTED_MODIFIERS: ReadonlySet<string> = new Set([
  ...["pretty", "ugly", "flatten", "join", "tostr", "fromstr", "group", "dig"],
]);

/** What `@name` does; `undefined` where that is a name like others. */
export const modifierOf = (name: string): Lookup | undefined => MODIFIERS.get(name);

function namesOf(value: Json | undefined): Json {
  if (typeof value !== "object" || value === null) return [];
  return Array.isArray(value) ? value.map(() => null) : Object.keys(value);
}

function valuesOf(value: Json | undefined): Json {
  if (value === undefined) return [];
  if (typeof value !== "object" || value === null) return [value];
  return Array.isArray(value) ? value : Object.values(value).filter((each) => each !== undefined);
}

function reversed(value: Json | undefined): Json | undefined {
  if (typeof value !== "object" || value === null) return value;
  return Array.isArray(value) ? value.toReversed() : Object.fromEntries(Object.entries(value).toReversed());
}
