import type { JsonObject } from "../../kernel/kinds/object.js";
import { isObject } from "./fields.js";

/** Texts of values that many objects share, and that nobody changes. */
const texts = new WeakMap<object, string>();

/** Keeps the JSON text of a value that many objects will have (the fields that a manager owns), so that it is written once. It must not change. */
export function keepText(value: JsonObject): void {
  texts.set(value, JSON.stringify(value));
}

/** JSON text of an object of the API: kind, apiVersion and metadata first. What it shares with others is not written anew. */
export function objectText(object: JsonObject): string {
  const { kind, apiVersion, metadata, ...body } = object;
  if (!isObject(metadata) || typeof kind !== "string" || typeof apiVersion !== "string") return JSON.stringify(object);
  const { managedFields, ...rest } = metadata;
  if (!Array.isArray(managedFields) || !managedFields.some(hasText)) return JSON.stringify(object);
  const own = JSON.stringify(rest);
  const separator = own === "{}" ? "" : ",";
  const entries = managedFields.map(entryText).join(",");
  const others = JSON.stringify(body);
  const head = `{"kind":${JSON.stringify(kind)},"apiVersion":${JSON.stringify(apiVersion)},"metadata":`;
  const tail = others === "{}" ? "}" : `,${others.slice(1)}`;
  return `${head}${own.slice(0, -1)}${separator}"managedFields":[${entries}]}${tail}`;
}

function hasText(entry: unknown): boolean {
  return isObject(entry) && isObject(entry["fieldsV1"]) && texts.has(entry["fieldsV1"]);
}

function entryText(entry: unknown): string {
  if (!isObject(entry)) return JSON.stringify(entry);
  const { fieldsV1, ...rest } = entry;
  const text = isObject(fieldsV1) ? texts.get(fieldsV1) : undefined;
  return text === undefined ? JSON.stringify(entry) : `${JSON.stringify(rest).slice(0, -1)},"fieldsV1":${text}}`;
}
