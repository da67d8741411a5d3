import type { Json, JsonObject } from "../kinds/object.js";
import { isObject } from "./json.js";
import type { Schema } from "./types.js";

/** How pruning treats embedded resources. */
export interface PruneOptions {
  /** Schema of `metadata` in embedded resources; without it their metadata is kept as it is. */
  readonly metadata?: Schema;
}

/** Removes, in place, every field that a structural schema does not know. Returns their paths (`spec.containers[0].foo`), in order of the document. */
export function prune(schema: Schema, value: Json | undefined, path = "", options: PruneOptions = {}): string[] {
  const unknown: string[] = [];
  if (value !== undefined) pruneValue(schema, value, path, { unknown, options });
  return unknown;
}

interface Pruning {
  readonly unknown: string[];
  readonly options: PruneOptions;
}

function pruneValue(schema: Schema, value: Json, path: string, pruning: Pruning): void {
  if (Array.isArray(value)) {
    if (schema.items === undefined) return;
    for (const [index, item] of value.entries()) pruneValue(schema.items, item, `${path}[${index}]`, pruning);
  } else if (isObject(value)) pruneObject(schema, value, path, pruning);
}

const embeddedFields = new Set(["apiVersion", "kind", "metadata"]);

function pruneObject(schema: Schema, value: JsonObject, path: string, pruning: Pruning): void {
  const embedded = schema["x-kubernetes-embedded-resource"] === true;
  const keep = schema["x-kubernetes-preserve-unknown-fields"] === true || schema.additionalProperties === true;
  for (const name in value) {
    const present = value[name];
    if (present === undefined) continue;
    const childPath = path === "" ? name : `${path}.${name}`;
    const child = childSchema(schema, name, embedded ? pruning.options.metadata : undefined);
    if (child !== undefined) pruneValue(child, present, childPath, pruning);
    else if (!keep && !(embedded && embeddedFields.has(name))) {
      delete value[name];
      pruning.unknown.push(childPath);
    }
  }
}

function childSchema(schema: Schema, name: string, metadata: Schema | undefined): Schema | undefined {
  if (metadata !== undefined && name === "metadata") return metadata;
  const { properties } = schema;
  if (properties !== undefined && Object.hasOwn(properties, name)) return properties[name];
  return typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined;
}

/** The names that may stand where the last segment of `path` stands, for suggestions. */
export function knownNames(schema: Schema, path: string): readonly string[] {
  const segments = path.replaceAll(/\[[^\]]*\]/g, "[]").split(".");
  let current: Schema | undefined = schema;
  for (const segment of segments.slice(0, -1)) {
    const [name = "", ...indexes] = segment.split("[]");
    if (current === undefined) return [];
    current = childSchema(current, name, undefined);
    for (let depth = 0; depth < indexes.length; depth += 1) current = current?.items;
  }
  return Object.keys(current?.properties ?? {});
}
