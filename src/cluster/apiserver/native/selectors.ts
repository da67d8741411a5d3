import type { Faults } from "../../../kernel/kinds/index.js";
import { labelSelectorMatches, labelValueFaults, qualifiedNameFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { validateLabels } from "../registry/metadata.js";
import { asList, asObject, asObjects, asString, at, isEmpty } from "../registry/read.js";
import { follows, qualifiedName } from "./rules.js";

const listed = ["In", "NotIn"];
const bare = ["Exists", "DoesNotExist"];

/** Checks a label selector, if there is one. */
export function validateSelector(selector: Json | undefined, path: string, faults: Faults): void {
  const labels = at(selector, "matchLabels");
  if (labels !== undefined) validateLabels(labels, `${path}.matchLabels`, faults);
  for (const [index, requirement] of asObjects(at(selector, "matchExpressions")).entries())
    validateRequirement(requirement, `${path}.matchExpressions[${index}]`, faults);
}

function validateRequirement(requirement: JsonObject, path: string, faults: Faults): void {
  const operator = asString(requirement["operator"]);
  const values = asList(requirement["values"]).map(asString);
  if (listed.includes(operator)) {
    if (values.length === 0) faults.required(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
  } else if (bare.includes(operator)) {
    if (values.length > 0)
      faults.forbidden(`${path}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  } else faults.invalid(`${path}.operator`, operator, "not a valid selector operator");
  qualifiedName(requirement["key"], `${path}.key`, faults);
  for (const [index, value] of values.entries()) follows(labelValueFaults, value, `${path}.values[${index}]`, faults);
}

/** Whether upstream can make a selector of it: operators, keys and values are such. */
export function isSelector(selector: Json | undefined): boolean {
  const pairs = Object.entries(asObject(at(selector, "matchLabels")));
  const isSound = (key: string, values: readonly string[]): boolean =>
    qualifiedNameFaults(key).length === 0 && values.every((value) => labelValueFaults(value).length === 0);
  if (!pairs.every(([key, value]) => isSound(key, [asString(value)]))) return false;
  return asObjects(at(selector, "matchExpressions")).every((one) => {
    const [operator, values] = [asString(one["operator"]), asList(one["values"]).map(asString)];
    if (listed.includes(operator) ? values.length === 0 : !bare.includes(operator) || values.length > 0) return false;
    return isSound(asString(one["key"]), values);
  });
}

/** Whether a sound selector selects these labels. None selects nothing, an empty one everything. */
export function selects(selector: Json | undefined, labels: Json | undefined): boolean {
  if (selector === undefined) return false;
  return isEmpty(selector) || labelSelectorMatches(selectorOf(selector), labelsOf(labels));
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
