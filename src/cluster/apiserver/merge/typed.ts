import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { Shape } from "../registry/shape.js";

/** What is known of a value inside an open object: objects are granular, lists are one. */
const deduced: Shape = {
  type: "any",
  name: "",
  format: "",
  fields: new Map(),
  listType: "atomic",
  listKeys: [],
  atomic: false,
  open: true,
  embedded: false,
  nullable: true,
};

/** How a value takes part in merging: as one, or member by member. */
export type Nature = "leaf" | "map" | "list";

/** The nature of a value (of what is there of it on either side). */
export function natureOf(shape: Shape, value: Json | undefined): Nature {
  switch (shape.type) {
    case "object":
      if (shape.atomic) return "leaf";
      return shape.fields.size === 0 && shape.values === undefined && !shape.open ? "leaf" : "map";
    case "map":
      return shape.atomic ? "leaf" : "map";
    case "list":
      return shape.listType === "atomic" ? "leaf" : "list";
    case "any":
      return shape.open && !shape.atomic && isObject(value) ? "map" : "leaf";
    default:
      return "leaf";
  }
}

/** Shape of a member; `undefined` if the shape has no such member. */
export function memberShape(shape: Shape, name: string): Shape | undefined {
  return shape.fields.get(name)?.shape ?? shape.values ?? (shape.open ? deduced : undefined);
}

/** Shape of the items of a list. */
export function itemShape(shape: Shape): Shape {
  return shape.items ?? deduced;
}

/** The path element of an item in a set or a map list. */
export function itemElement(shape: Shape, item: Json): string {
  if (shape.listType === "set" || !isObject(item)) return `v:${JSON.stringify(item)}`;
  return `k:${JSON.stringify(itemKeys(shape, item))}`;
}

/** The keys of an item, defaults filled in, in order of their names. */
export function itemKeys(shape: Shape, item: JsonObject): JsonObject {
  const keys: JsonObject = {};
  for (const name of [...shape.listKeys].sort()) {
    const field = shape.items?.fields.get(name);
    const value = item[name] ?? field?.keyDefault ?? field?.default;
    if (value !== undefined) keys[name] = value;
  }
  return keys;
}

/** Items by path element; of equal ones the first. */
export function indexItems(shape: Shape, list: readonly Json[]): Map<string, Json> {
  const index = new Map<string, Json>();
  for (const item of list) {
    const element = itemElement(shape, item);
    if (!index.has(element)) index.set(element, item);
  }
  return index;
}
