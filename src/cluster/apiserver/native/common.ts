import type { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { asNumber, asObject, asObjects, asString, at } from "../registry/read.js";
import { labelsOf, selectorOf } from "./selectors.js";

export { nonNegative } from "./rules.js";

/** A field that may not change. */
export function immutable(object: JsonObject, old: JsonObject, path: readonly string[], faults: Faults): void {
  if (!equalJson(at(object, ...path), at(old, ...path)))
    faults.invalid(
      path.join("."),
      at(object, ...path) ?? (typeof at(old, ...path) === "string" ? "" : null),
      "field is immutable",
    );
}

/** Text under a path. */
export function textAt(object: JsonObject, ...path: string[]): string {
  return asString(at(object, ...path));
}

/** Number under a path; 0 where there is none. */
export function countAt(object: JsonObject, ...path: string[]): number {
  return asNumber(at(object, ...path)) ?? 0;
}

/** A map as upstream shows it: by its keys. */
export function sortedMap(map: Json | undefined): Json {
  if (map === undefined) return null;
  return Object.fromEntries(Object.entries(asObject(map)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A selector as kubectl shows it: `a=b,c in (d,e)`. */
export function showSelector(selector: Json | undefined): string {
  if (selector === undefined) return "<none>";
  const parts = Object.entries(labelsOf(at(selector, "matchLabels")))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values } of selectorOf(selector).matchExpressions ?? []) {
    if (operator === "Exists") parts.push(key);
    else if (operator === "DoesNotExist") parts.push(`!${key}`);
    else parts.push(`${key} ${operator === "In" ? "in" : "notin"} (${[...(values ?? [])].sort().join(",")})`);
  }
  return parts.length === 0 ? "<none>" : parts.join(",");
}

/** `a=b,c=d` of a map of labels. */
export function showLabels(labels: Json | undefined): string {
  const entries = Object.entries(labelsOf(labels)).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? "<none>" : entries.map(([key, value]) => `${key}=${value}`).join(",");
}

/** Names and images of a template's containers. */
export function showContainers(object: JsonObject, path: readonly string[]): { names: string; images: string } {
  const containers = asObjects(at(object, ...path));
  return {
    names: containers.map((one) => asString(one["name"])).join(","),
    images: containers.map((one) => asString(one["image"])).join(","),
  };
}
