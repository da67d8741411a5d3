import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { cloneJson, isObject, setMember } from "../../../kernel/schema/index.js";
import { OverrideError } from "./errors.js";

/** One change by JSON pointer. An absent value is `null`. */
export interface Change {
  readonly operator: string;
  readonly path: string;
  readonly value?: Json | undefined;
}

/** RFC 6902 on a copy, with `add`, `remove` and `replace` only. Throws `OverrideError` when a path is not there. */
export function changed(document: Json, changes: readonly Change[]): Json {
  let result = cloneJson(document);
  for (const change of changes) result = apply(result, change);
  return result;
}

/** The value at a JSON pointer; `undefined` where there is none. Throws `OverrideError` for what is no pointer. */
export function find(document: Json, pointer: string): Json | undefined {
  let value: Json | undefined = document;
  for (const part of parts(pointer)) value = value === undefined ? undefined : member(value, part);
  return value;
}

function parts(pointer: string): string[] {
  if (pointer === "") return [];
  if (!pointer.startsWith("/")) throw new OverrideError(`path "${pointer}" does not begin with a slash`);
  return pointer
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function member(value: Json, part: string): Json | undefined {
  if (Array.isArray(value)) return value[indexOf(value, part)];
  return isObject(value) && Object.hasOwn(value, part) ? value[part] : undefined;
}

/** The place of an item; negative ones count from the end. -1 for what is no place in the list. */
function indexOf(list: readonly Json[], part: string): number {
  if (!/^(0|-?[1-9]\d{0,8})$/.test(part)) return -1;
  const index = Number(part);
  return index < 0 ? list.length + index : index;
}

function apply(document: Json, { operator, path, value = null }: Change): Json {
  const steps = parts(path);
  const last = steps.pop();
  if (last === undefined) {
    if (operator === "remove") throw new OverrideError("the whole document cannot be removed");
    return cloneJson(value);
  }
  let place: Json | undefined = document;
  for (const step of steps) place = place === undefined ? undefined : member(place, step);
  if (Array.isArray(place)) changeItem(place, last, { operator, path, value });
  else if (isObject(place)) changeMember(place, last, { operator, path, value });
  else throw new OverrideError(`${operator} of ${path}: there is nothing to hold it`);
  return document;
}

function changeMember(object: JsonObject, key: string, { operator, path, value = null }: Change): void {
  if (operator !== "add" && (!Object.hasOwn(object, key) || object[key] === undefined))
    throw new OverrideError(`${operator} of ${path}: it is not there`);
  if (operator === "remove") delete object[key];
  else setMember(object, key, cloneJson(value));
}

function changeItem(list: Json[], part: string, { operator, path, value = null }: Change): void {
  const index = operator === "add" && part === "-" ? list.length : indexOf(list, part);
  const end = operator === "add" ? list.length : list.length - 1;
  if (index < 0 || index > end) throw new OverrideError(`${operator} of ${path}: the list has no such place`);
  if (operator === "remove") list.splice(index, 1);
  else list.splice(index, operator === "add" ? 0 : 1, cloneJson(value));
}
