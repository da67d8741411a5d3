import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson, isObject } from "../../../kernel/schema/index.js";
import type { Shape } from "../registry/shape.js";
import { FieldSet } from "./field-set.js";
import { indexItems, itemElement, itemShape, memberShape, natureOf } from "./typed.js";

/** What differs between two objects, field by field. */
export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

/** Compares two objects of one shape as server-side apply does. */
export function compareObjects(shape: Shape, old: JsonObject, now: JsonObject): Comparison {
  const comparer = new Comparer();
  comparer.compare(shape, old, now);
  return comparer;
}

class Comparer implements Comparison {
  readonly added = new FieldSet();
  readonly modified = new FieldSet();
  readonly removed = new FieldSet();
  readonly #path: string[] = [];

  compare(shape: Shape, old: Json | undefined, now: Json | undefined): void {
    const nature = natureOf(shape, now ?? old);
    if (nature === "leaf" || (isVoid(old) && isVoid(now))) this.#leaf(old, now);
    else {
      this.#wholes(old, now);
      if (nature === "map") this.#members(shape, isObject(old) ? old : {}, isObject(now) ? now : {}, isObject(old));
      else this.#items(shape, Array.isArray(old) ? old : [], Array.isArray(now) ? now : []);
    }
  }

  #leaf(old: Json | undefined, now: Json | undefined): void {
    if (old === undefined && now !== undefined) this.added.insert(this.#path);
    else if (now === undefined && old !== undefined) this.removed.insert(this.#path);
    else if (!equalJson(old, now)) this.modified.insert(this.#path);
  }

  #wholes(old: Json | undefined, now: Json | undefined): void {
    if (this.#path.length === 0) return;
    if (old === undefined) this.added.insert(this.#path);
    else if (now === undefined) this.removed.insert(this.#path);
  }

  #members(shape: Shape, old: JsonObject, now: JsonObject, isThere: boolean): void {
    for (const name in old) this.#member(shape, name, old[name], memberOf(now, name));
    for (const name in now) {
      if (memberOf(old, name) !== undefined) continue;
      this.#member(shape, name, memberBefore(shape, name, isThere), now[name]);
    }
  }

  #member(shape: Shape, name: string, old: Json | undefined, now: Json | undefined): void {
    const child = memberShape(shape, name);
    if (child === undefined || old === now) return;
    this.#path.push(`f:${name}`);
    this.compare(child, old, now);
    this.#path.pop();
  }

  #items(shape: Shape, old: readonly Json[], now: readonly Json[]): void {
    const before = indexItems(shape, old);
    const after = indexItems(shape, now);
    const items = itemShape(shape);
    for (const [element, item] of before) this.#item(items, element, item, after.get(element));
    for (const [element, item] of after) if (!before.has(element)) this.#item(items, element, undefined, item);
  }

  #item(shape: Shape, element: string, old: Json | undefined, now: Json | undefined): void {
    this.#path.push(element);
    this.compare(shape, old, now);
    this.#path.pop();
  }
}

/** A member; not what every object has by nature. */
export function memberOf(object: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** What a member that the old object has not counts as. Go has required lists as null in an otherwise empty object: they are changed, not added. */
export function memberBefore(shape: Shape, name: string, isThere: boolean): null | undefined {
  const field = isThere ? shape.fields.get(name) : undefined;
  const isNull = field?.required === true && (field.shape.type === "list" || field.shape.type === "map");
  return isNull ? null : undefined;
}

/** Whether there is nothing in a value. */
export function isVoid(value: Json | undefined): boolean {
  if (value === undefined || value === null) return true;
  if (Array.isArray(value)) return value.length === 0;
  if (!isObject(value)) return false;
  for (const name in value) if (Object.hasOwn(value, name)) return false;
  return true;
}

/** The fields that an applied configuration speaks of. */
export function fieldsOf(shape: Shape, object: JsonObject): FieldSet {
  const set = new FieldSet();
  collect(shape, object, set);
  return set;
}

function collect(shape: Shape, value: Json, node: FieldSet): void {
  const nature = natureOf(shape, value);
  if (nature === "map" && isObject(value)) collectMembers(shape, value, node);
  else if (nature === "list" && Array.isArray(value)) {
    const items = itemShape(shape);
    for (const item of value) {
      const child = node.child(itemElement(shape, item));
      child.member = true;
      if (isObject(item)) collect(items, item, child);
    }
  } else node.member = true;
}

function collectMembers(shape: Shape, value: JsonObject, node: FieldSet): void {
  for (const name in value) {
    const present = value[name];
    const child = memberShape(shape, name);
    if (present === undefined || child === undefined) continue;
    const below = node.child(`f:${name}`);
    collect(child, present, below);
    // An empty list of items that are told apart speaks of none.
    if ((isVoid(present) && !Array.isArray(present)) || !shape.fields.has(name)) below.member = true;
  }
}
