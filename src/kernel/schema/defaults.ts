import type { Json, JsonObject } from "../kinds/object.js";
import { cloneJson, isObject, setMember } from "./json.js";
import type { Schema } from "./types.js";

const withDefaults = new WeakMap<Schema, boolean>();

/** Whether a schema or anything below it has a default. Cached by schema. */
export function hasDefaults(schema: Schema): boolean {
  const known = withDefaults.get(schema);
  if (known !== undefined) return known;
  withDefaults.set(schema, false);
  const below = [
    ...Object.values(schema.properties ?? {}),
    ...(typeof schema.additionalProperties === "object" ? [schema.additionalProperties] : []),
    ...(schema.items === undefined ? [] : [schema.items]),
  ];
  const found = below.some((child) => child.default !== undefined || hasDefaults(child));
  withDefaults.set(schema, found);
  return found;
}

/** Fills in what the schema gives defaults for, in place; a `null` that is not allowed gives way to the default. Objects that are absent stay absent unless they have a default themselves. */
export function applyDefaults(schema: Schema, value: Json | undefined): void {
  if (!hasDefaults(schema)) return;
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) defaultItems(items, value);
  } else if (isObject(value)) defaultMembers(schema, value);
}

function defaultItems(items: Schema, list: Json[]): void {
  for (const [index, item] of list.entries()) {
    if (item === null && items.nullable !== true && items.default !== undefined) list[index] = cloneJson(items.default);
    else applyDefaults(items, item);
  }
}

function defaultMembers(schema: Schema, object: JsonObject): void {
  const { properties } = schema;
  if (properties !== undefined) for (const name in properties) defaultMember(properties[name], object, name);
  if (typeof schema.additionalProperties === "object")
    for (const name in object)
      if (properties?.[name] === undefined) defaultMember(schema.additionalProperties, object, name);
}

function defaultMember(schema: Schema | undefined, object: JsonObject, name: string): void {
  if (schema === undefined) return;
  const present = object[name];
  const absent = present === undefined || (present === null && schema.nullable !== true);
  if (absent && schema.default !== undefined) setMember(object, name, cloneJson(schema.default));
  applyDefaults(schema, object[name]);
}

/** Takes away, in place, every `null` that is not allowed and that no default takes the place of. */
export function dropNulls(schema: Schema | undefined, value: Json | undefined): void {
  if (Array.isArray(value)) for (const item of value) dropNulls(schema?.items, item);
  else if (isObject(value)) for (const name in value) dropNull(schema, value, name);
}

function dropNull(schema: Schema | undefined, object: JsonObject, name: string): void {
  const { properties, additionalProperties } = schema ?? {};
  const child =
    properties !== undefined && Object.hasOwn(properties, name)
      ? properties[name]
      : typeof additionalProperties === "object"
        ? additionalProperties
        : undefined;
  const isRefused = child !== undefined && child.nullable !== true && (child.default ?? null) === null;
  if (object[name] === null && isRefused) delete object[name];
  else dropNulls(child, object[name]);
}
