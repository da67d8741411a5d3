import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, isObject, setMember } from "../../../kernel/schema/index.js";
import type { Shape } from "../registry/shape.js";
import { FieldSet } from "./field-set.js";
import { indexItems, itemElement, itemShape, memberShape, natureOf } from "./typed.js";

/** The live value overlaid with what is applied: granular maps and lists item by item, everything else as a whole. Shares nothing with its inputs. */
export function overlay(shape: Shape, live: Json | undefined, applied: Json): Json {
  if (live === undefined || live === null || applied === null) return cloneJson(applied);
  const nature = natureOf(shape, applied);
  if (nature === "map" && isObject(live) && isObject(applied)) return overlayMembers(shape, live, applied);
  if (nature === "list" && Array.isArray(live) && Array.isArray(applied)) return overlayItems(shape, live, applied);
  return cloneJson(applied);
}

/** `overlay` of two objects. */
export function overlayMembers(shape: Shape, live: JsonObject, applied: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const name in live) {
    const present = live[name];
    if (present === undefined) continue;
    const over = Object.hasOwn(applied, name) ? applied[name] : undefined;
    const child = memberShape(shape, name);
    setMember(
      result,
      name,
      over === undefined || child === undefined ? cloneJson(present) : overlay(child, present, over),
    );
  }
  for (const name in applied) {
    const over = applied[name];
    if (over !== undefined && !Object.hasOwn(live, name)) setMember(result, name, cloneJson(over));
  }
  return result;
}

/** Applied items keep their order among themselves; items that are only live keep their place before the next shared one. */
function overlayItems(shape: Shape, live: readonly Json[], applied: readonly Json[]): Json[] {
  const liveIndex = indexItems(shape, live);
  const appliedElements = applied.map((item) => itemElement(shape, item));
  const wanted = new Set(appliedElements);
  const items = itemShape(shape);
  const result: Json[] = [];
  let next = 0;
  const takeApplied = (): void => {
    const item = applied[next];
    const element = appliedElements[next];
    next += 1;
    if (item !== undefined && element !== undefined) result.push(overlay(items, liveIndex.get(element), item));
  };
  for (const item of live) {
    const element = itemElement(shape, item);
    if (!wanted.has(element)) {
      result.push(cloneJson(item));
      continue;
    }
    const place = appliedElements.indexOf(element);
    while (next <= place) takeApplied();
  }
  while (next < applied.length) takeApplied();
  return result;
}

/** Adds the named fields on the way to each member: owning `a.b.c` then also means owning the field `a`, but not the items of maps and lists in between. */
export function withNamedFields(shape: Shape, set: FieldSet): FieldSet {
  const result = new FieldSet();
  result.member = set.member;
  for (const [element, child] of set.children) {
    const named = element.startsWith("f:") && shape.fields.has(element.slice(2));
    const below = element.startsWith("f:") ? memberShape(shape, element.slice(2)) : itemShape(shape);
    const extended = below === undefined ? child : withNamedFields(below, child);
    if (named && !extended.member) {
      const copy = new FieldSet();
      copy.member = true;
      for (const [key, value] of extended.children) copy.put(key, value);
      result.put(element, copy);
    } else result.put(element, extended);
  }
  return result;
}

/** Takes every member of the set out of an object, in place. */
export function removeFields(shape: Shape, value: Json | undefined, set: FieldSet): void {
  if (isObject(value)) {
    for (const [element, child] of set.children) {
      if (!element.startsWith("f:")) continue;
      const name = element.slice(2);
      if (!Object.hasOwn(value, name)) continue;
      if (child.member) delete value[name];
      else removeFields(memberShape(shape, name) ?? shape, value[name], child);
    }
  } else if (Array.isArray(value)) removeItems(shape, value, set);
}

function removeItems(shape: Shape, list: Json[], set: FieldSet): void {
  const items = itemShape(shape);
  for (let index = list.length - 1; index >= 0; index -= 1) {
    const item = list[index];
    if (item === undefined) continue;
    const node = set.children.get(itemElement(shape, item));
    if (node?.member === true) list.splice(index, 1);
    else if (node !== undefined) removeFields(items, item, node);
  }
}
