import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson, isObject } from "../../../kernel/schema/index.js";
import type { Shape } from "../registry/shape.js";
import { isVoid, memberBefore, memberOf } from "./compare.js";
import { itemKeys, itemShape, memberShape, natureOf } from "./typed.js";

/** Two states of an object, or of a part of one, that are compared. */
export interface Pair {
  readonly old: Json | undefined;
  readonly now: Json | undefined;
}

/** Longer lists are not looked through: each item is sought among all. */
const maxItems = 64;

/**
 * Whether two comparisons (`compareObjects`) go the same way, step by step, so that both find the same paths. It ends at the first step that
 * differs, and makes nothing; of what it does not follow to the end it says no.
 */
export function differAlike(shape: Shape, a: Pair, b: Pair): boolean {
  if ((a.old === undefined) !== (b.old === undefined) || (a.now === undefined) !== (b.now === undefined)) return false;
  const nature = natureOf(shape, a.now ?? a.old);
  if (nature !== natureOf(shape, b.now ?? b.old)) return false;
  const isLeaf = nature === "leaf" || (isVoid(a.old) && isVoid(a.now));
  if (isLeaf !== (nature === "leaf" || (isVoid(b.old) && isVoid(b.now)))) return false;
  if (isLeaf) return a.old === undefined || a.now === undefined || equalJson(a.old, a.now) === equalJson(b.old, b.now);
  return nature === "map" ? membersDifferAlike(shape, a, b) : itemsDifferAlike(shape, a, b);
}

const nothing: JsonObject = {};

function membersOf(value: Json | undefined): JsonObject {
  return isObject(value) ? value : nothing;
}

function membersDifferAlike(shape: Shape, a: Pair, b: Pair): boolean {
  const isThere = isObject(a.old);
  const beforeA = membersOf(a.old);
  const beforeB = membersOf(b.old);
  const afterA = membersOf(a.now);
  const afterB = membersOf(b.now);
  if (isThere !== isObject(b.old) || !sameNames(beforeA, beforeB) || !sameNames(afterA, afterB)) return false;
  for (const name in beforeA) {
    const child = memberShape(shape, name);
    const one = { old: beforeA[name], now: memberOf(afterA, name) };
    const other = { old: beforeB[name], now: memberOf(afterB, name) };
    const isAlike = one.old === one.now ? equalJson(other.old, other.now) : child && differAlike(child, one, other);
    if (child !== undefined && isAlike !== true) return false;
  }
  for (const name in afterA) {
    const child = memberOf(beforeA, name) === undefined ? memberShape(shape, name) : undefined;
    if (child === undefined) continue;
    const old = memberBefore(shape, name, isThere);
    if (!differAlike(child, { old, now: afterA[name] }, { old, now: afterB[name] })) return false;
  }
  return true;
}

/** Whether both have members of the same names. */
function sameNames(a: JsonObject, b: JsonObject): boolean {
  let more = 0;
  for (const name in a) {
    if (!Object.hasOwn(b, name) || (a[name] === undefined) !== (b[name] === undefined)) return false;
    more += 1;
  }
  for (const _ in b) more -= 1;
  return more === 0;
}

function itemsDifferAlike(shape: Shape, a: Pair, b: Pair): boolean {
  const beforeA = listOf(a.old);
  const beforeB = listOf(b.old);
  const afterA = listOf(a.now);
  const afterB = listOf(b.now);
  if (!sameItems(shape, beforeA, beforeB) || !sameItems(shape, afterA, afterB)) return false;
  const items = itemShape(shape);
  for (let index = 0; index < beforeA.length; index += 1) {
    const old = beforeA[index];
    const place = placeOf(shape, afterA, old);
    const one = { old, now: afterA[place] };
    if (!differAlike(items, one, { old: beforeB[index], now: afterB[place] })) return false;
  }
  for (let index = 0; index < afterA.length; index += 1) {
    const now = afterA[index];
    if (placeOf(shape, beforeA, now) >= 0) continue;
    if (!differAlike(items, { old: undefined, now }, { old: undefined, now: afterB[index] })) return false;
  }
  return true;
}

const empty: readonly Json[] = [];

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : empty;
}

/** Whether both lists have the same path elements in the same order, each once. */
function sameItems(shape: Shape, a: readonly Json[], b: readonly Json[]): boolean {
  if (a.length !== b.length || a.length > maxItems) return false;
  for (let index = 0; index < a.length; index += 1)
    if (!isSameElement(shape, a[index], b[index]) || placeOf(shape, a, a[index]) !== index) return false;
  return true;
}

function placeOf(shape: Shape, list: readonly Json[], item: Json | undefined): number {
  for (let place = 0; place < list.length; place += 1) if (isSameElement(shape, list[place], item)) return place;
  return -1;
}

/** Whether `itemElement` of both is the same. */
function isSameElement(shape: Shape, a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (shape.listType === "set" || !isObject(a) || !isObject(b))
    return isObject(a) === isObject(b) && JSON.stringify(a) === JSON.stringify(b);
  for (const name of shape.listKeys) {
    const key = a[name];
    if (key !== b[name] || key === undefined || key === null)
      return JSON.stringify(itemKeys(shape, a)) === JSON.stringify(itemKeys(shape, b));
  }
  return true;
}

/** Whether two objects speak of the same fields (`fieldsOf`); of what it does not follow to the end it says no. */
export function speakAlike(shape: Shape, a: Json, b: Json): boolean {
  const nature = natureOf(shape, a);
  if (nature !== natureOf(shape, b)) return false;
  if (nature === "leaf") return true;
  if (nature === "map") return isObject(a) && isObject(b) && membersSpeakAlike(shape, a, b);
  if (!Array.isArray(a) || !Array.isArray(b) || !sameItems(shape, a, b)) return false;
  const items = itemShape(shape);
  return a.every((item, index) => {
    const other = b[index];
    return isObject(item) && isObject(other) ? speakAlike(items, item, other) : isObject(item) === isObject(other);
  });
}

function membersSpeakAlike(shape: Shape, a: JsonObject, b: JsonObject): boolean {
  if (!sameNames(a, b)) return false;
  for (const name in a) {
    const one = a[name];
    const other = b[name];
    const child = memberShape(shape, name);
    if (one === undefined || other === undefined || child === undefined) continue;
    if (isVoid(one) !== isVoid(other) || Array.isArray(one) !== Array.isArray(other)) return false;
    if (!speakAlike(child, one, other)) return false;
  }
  return true;
}
