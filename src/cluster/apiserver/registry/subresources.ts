import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, cloneObject } from "../../../kernel/schema/index.js";
import { asObject, at, ensureObject } from "./read.js";

/** A write to one field (`status`): everything else of the body is as it was. Of the metadata, labels, annotations, finalizers and owners may still change, as upstream. */
export function carryOver(object: JsonObject, old: JsonObject, written: string): void {
  for (const field of Object.keys(object))
    if (!isHeader(field) && field !== written && old[field] === undefined) delete object[field];
  for (const [field, value] of Object.entries(old))
    if (!isHeader(field) && field !== written && value !== undefined) object[field] = cloneJson(value);
}

function isHeader(field: string): boolean {
  return field === "apiVersion" || field === "kind" || field === "metadata";
}

/** A write to some paths: the object becomes the old one with those paths (and resourceVersion and managedFields) from the new one. */
export function copyPaths(object: JsonObject, old: JsonObject, paths: readonly (readonly string[])[]): void {
  const result = cloneObject(old);
  const wanted: readonly (readonly string[])[] = [
    ...paths,
    ["metadata", "resourceVersion"],
    ["metadata", "managedFields"],
  ];
  for (const path of wanted) setAt(result, path, at(object, ...path));
  for (const field of Object.keys(object)) delete object[field];
  Object.assign(object, result);
}

/** A write to a part of the old object; `rewrite` changes a copy of it. */
export function writePart(
  object: JsonObject,
  old: JsonObject,
  rewrite: (result: JsonObject, sent: JsonObject) => void,
): void {
  const result = cloneObject(old);
  for (const path of [
    ["metadata", "resourceVersion"],
    ["metadata", "managedFields"],
  ])
    setAt(result, path, at(object, ...path));
  rewrite(result, cloneObject(object));
  for (const field of Object.keys(object)) delete object[field];
  Object.assign(object, result);
}

function setAt(object: JsonObject, path: readonly string[], value: Json | undefined): void {
  let parent = object;
  for (const field of path.slice(0, -1))
    parent = value === undefined ? asObject(parent[field]) : ensureObject(parent, field);
  const last = path.at(-1) ?? "";
  if (value === undefined) delete parent[last];
  else parent[last] = cloneJson(value);
}
