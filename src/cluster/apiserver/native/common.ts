import { labelSelectorMatches } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Faults } from "../registry/faults.js";
import { validateLabels } from "../registry/metadata.js";
import { asNumber, asObject, asObjects, asString, at, isEmpty } from "../registry/read.js";
import { validatePodSpec, validateSelector } from "./pod-validation.js";

/** A number that may not be negative. */
export function nonNegative(object: JsonObject, field: string, path: string, faults: Faults): void {
  const value = asNumber(object[field]);
  if (value !== undefined && value < 0) faults.invalid(`${path}.${field}`, value, "must be greater than or equal to 0");
}

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

/** Checks selector and template of a workload; `words` ends "empty selector is invalid for …". */
export function validateTemplate(spec: JsonObject, words: string, faults: Faults): void {
  const selector = spec["selector"];
  const template = asObject(spec["template"]);
  const labels = at(template, "metadata", "labels");
  if (selector === undefined) faults.required("spec.selector");
  else {
    validateSelector(selector, "spec.selector", faults);
    if (isEmpty(selector)) faults.invalid("spec.selector", {}, `empty selector is invalid for ${words}`);
  }
  const matches = selector !== undefined && (isEmpty(selector) || matchesOrBroken(selector, labels));
  if (!matches)
    faults.invalid("spec.template.metadata.labels", sortedMap(labels), "`selector` does not match template `labels`");
  if (labels !== undefined) validateLabels(labels, "spec.template.labels", faults);
  const claims = asObjects(spec["volumeClaimTemplates"]).map((claim) => asString(at(claim, "metadata", "name")));
  validatePodSpec(asObject(template["spec"]), "spec.template.spec", faults, claims);
}

/** A selector that is none was reported already. */
function matchesOrBroken(selector: Json, labels: Json | undefined): boolean {
  try {
    return labelSelectorMatches(selectorOf(selector), labelsOf(labels));
  } catch {
    return true;
  }
}

/** A map as upstream shows it: by its keys. */
function sortedMap(map: Json | undefined): Json {
  if (map === undefined) return null;
  return Object.fromEntries(Object.entries(asObject(map)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Workloads that run for ever restart their containers always. */
export function alwaysRestarts(spec: JsonObject, faults: Faults): void {
  const policy = asString(at(spec, "template", "spec", "restartPolicy"));
  if (policy !== "" && policy !== "Always") faults.unsupported("spec.template.spec.restartPolicy", policy, ["Always"]);
}

/** The texts of a map of labels. */
export function labelsOf(labels: Json | undefined): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [key, value] of Object.entries(asObject(labels))) result[key] = asString(value);
  return result;
}

/** A label selector out of JSON. */
export function selectorOf(selector: Json | undefined): {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
} {
  return {
    matchLabels: labelsOf(at(selector, "matchLabels")),
    matchExpressions: asObjects(at(selector, "matchExpressions")).map((one) => ({
      key: asString(one["key"]),
      operator: asString(one["operator"]),
      values: Array.isArray(one["values"]) ? one["values"].map(asString) : [],
    })),
  };
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

/** A number that is not negative, or a percentage up to 100%. */
export function validatePercent(value: Json | undefined, path: string, faults: Faults): void {
  if (typeof value === "number" && value < 0) faults.invalid(path, value, "must be greater than or equal to 0");
  if (typeof value !== "string") return;
  if (!/^\d+%$/.test(value))
    faults.invalid(
      path,
      value,
      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    );
  else if (Number(value.slice(0, -1)) > 100) faults.invalid(path, value, "must not be greater than 100%");
}
