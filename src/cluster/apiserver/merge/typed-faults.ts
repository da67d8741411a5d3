import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { Shape } from "../registry/shape.js";
import { itemKeys } from "./typed.js";

/** What keeps an object from being applied: unknown fields, wrong types, items that cannot be told apart. Worded as upstream. */
export function typedFaults(shape: Shape, object: JsonObject): string[] {
  const faults: string[] = [];
  check(shape, object, "", faults);
  return faults;
}

function check(shape: Shape, value: Json, path: string, faults: string[]): void {
  if (value === null) return;
  switch (shape.type) {
    case "object":
    case "map":
      if (isObject(value)) checkMembers(shape, value, path, faults);
      else faults.push(`${path}: expected map, got ${show(value)}`);
      break;
    case "list":
      if (Array.isArray(value)) checkItems(shape, value, path, faults);
      else faults.push(`${path}: expected list, got ${show(value)}`);
      break;
    case "string":
      if (typeof value !== "string") faults.push(`${path}: expected string, got ${show(value)}`);
      break;
    case "boolean":
      if (typeof value !== "boolean") faults.push(`${path}: expected boolean, got ${show(value)}`);
      break;
    case "integer":
    case "number":
      if (typeof value !== "number") faults.push(`${path}: expected numeric (int or float), got ${typeof value}`);
      break;
    default:
      break;
  }
}

function show(value: Json): string {
  return `&value.valueUnstructured{Value:${JSON.stringify(value)}}`;
}

function checkMembers(shape: Shape, value: JsonObject, path: string, faults: string[]): void {
  const closed = shape.fields.size > 0 && !shape.open && shape.values === undefined;
  for (const name in value) {
    const present = value[name];
    if (present === undefined) continue;
    const child = shape.fields.get(name)?.shape ?? shape.values;
    if (child !== undefined) check(child, present, `${path}.${name}`, faults);
    else if (closed && !(shape.embedded && ["apiVersion", "kind", "metadata"].includes(name)))
      faults.push(`${path}.${name}: field not declared in schema`);
  }
}

function checkItems(shape: Shape, list: readonly Json[], path: string, faults: string[]): void {
  const { items } = shape;
  if (items === undefined) return;
  const seen = new Set<string>();
  for (const [index, item] of list.entries()) {
    check(items, item, `${path}[${index}]`, faults);
    if (shape.listType === "atomic") continue;
    const shown = keyOf(shape, item);
    if (shown === undefined) {
      const missing = shape.listKeys.find((key) => isObject(item) && item[key] === undefined) ?? "";
      faults.push(
        `${path}: element ${index}: associative list with keys has an element that omits key field "${missing}" (and doesn't have default value)`,
      );
    } else if (seen.has(shown)) faults.push(`${path}: duplicate entries for key ${shown}`);
    else seen.add(shown);
  }
}

/** `[name="a"]`, `[="x"]`; `undefined` when every key is missing. */
function keyOf(shape: Shape, item: Json): string | undefined {
  if (shape.listType === "set" || !isObject(item)) return `[=${JSON.stringify(item)}]`;
  const keys = Object.entries(itemKeys(shape, item));
  if (keys.length === 0) return undefined;
  return `[${keys.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(",")}]`;
}
