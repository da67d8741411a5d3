import type { Json } from "../../kernel/kinds/index.js";
import { isObject, type Schema } from "../../kernel/schema/index.js";

/** A value as Karmada writes it into annotations: members in the order of their schema, keys of maps by the alphabet. */
export function karmadaJson(value: Json | undefined, schema: Schema): string {
  return escapedJson(inOrder(value, schema) ?? null);
}

/** JSON in which no character means anything in HTML, as servers of the API write it. */
export function escapedJson(value: Json): string {
  return JSON.stringify(value).replaceAll(/[<>&\u2028\u2029]/g, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function inOrder(value: Json | undefined, schema: Schema): Json | undefined {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : value.map((item) => inOrder(item, items) ?? null);
  }
  if (!isObject(value)) return value;
  const { properties, additionalProperties } = schema;
  if (properties === undefined)
    return typeof additionalProperties === "object"
      ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  const known = Object.entries(properties).flatMap(([name, part]) =>
    value[name] === undefined ? [] : [[name, inOrder(value[name], part)]],
  );
  const others = Object.entries(value).filter(([name]) => properties[name] === undefined);
  return Object.fromEntries([...known, ...others]);
}
