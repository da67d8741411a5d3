import { Faults, type JsonObject, labelValueFaults, qualifiedNameFaults } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { isObject } from "../../../kernel/schema/index.js";
import { ClusterOverridePolicyKind, OverridePolicyKind } from "../policies/kinds.js";
import { ACCEPTED, deniedFor, isUntouched, metadataOf, objectIn, objectsIn, textIn } from "./denial.js";
import { affinityFaults, completeSelectors } from "./propagation.js";
import { SHAPES, shown } from "./shown.js";

const FLAVOURS = [
  { kind: OverridePolicyKind, webhook: "overridepolicy.karmada.io" },
  { kind: ClusterOverridePolicyKind, webhook: "clusteroverridepolicy.karmada.io" },
] as const;

/** All annotations of an object together. */
const MAX_ANNOTATION_BYTES = 256 * 1024;
const POINTER_FAULT = 'JSON pointer must be empty or start with a "/';

/** Completes and checks override policies. */
export function overrideAdmission(): ModuleAdmission[] {
  return FLAVOURS.map(({ kind, webhook }) => ({
    kind,
    level: "continuum",
    complete: (object) => {
      const namespace = textIn(metadataOf(object), "namespace");
      const spec = objectIn(object, "spec");
      completeSelectors(objectsIn(spec, "resourceSelectors"), namespace);
      // Karmada stores the older form's field in any case, of policies of the whole cluster alone it does not.
      if (kind === OverridePolicyKind && isObject(object["spec"])) spec["overriders"] ??= {};
    },
    review: async (object, old) =>
      isUntouched(object, old) ? ACCEPTED : deniedFor(webhook, overrideFaults(objectIn(object, "spec"))),
  }));
}

/** What is wrong with the spec of an override policy, in Karmada's words. */
function overrideFaults(spec: JsonObject): Faults {
  const faults = new Faults();
  const { targetCluster, overriders, overrideRules } = spec;
  if (isObject(targetCluster)) {
    affinityFaults(targetCluster, "spec.targetCluster", faults);
    if (overrideRules !== undefined)
      faults.invalid(
        "spec.targetCluster",
        shown(targetCluster, SHAPES.affinity),
        "overrideRules and targetCluster can't co-exist",
      );
  }
  if (isObject(overriders) && changesAnything(overriders) && overrideRules !== undefined)
    faults.invalid(
      "spec.overriders",
      shown(overriders, SHAPES.overriders),
      "overrideRules and overriders can't co-exist",
    );
  for (const [index, rule] of objectsIn(spec, "overrideRules").entries())
    ruleFaults(rule, `spec.overrideRules[${index}]`, faults);
  return faults;
}

function changesAnything(overriders: JsonObject): boolean {
  return Object.entries(overriders).some(
    ([name, list]) => name !== "fieldOverrider" && Array.isArray(list) && list.length > 0,
  );
}

function ruleFaults(rule: JsonObject, path: string, faults: Faults): void {
  const overriders = objectIn(rule, "overriders");
  const inside = `${path}.overriders`;
  for (const [index, { value }] of objectsIn(overriders, "annotationsOverrider").entries())
    annotationFaults(isObject(value) ? value : {}, `${inside}.annotationsOverrider[${index}].value`, faults);
  for (const [index, { value }] of objectsIn(overriders, "labelsOverrider").entries())
    labelFaults(isObject(value) ? value : {}, `${inside}.labelsOverrider[${index}].value`, faults);
  for (const [index, image] of objectsIn(overriders, "imageOverrider").entries()) {
    if (isObject(image["predicate"]))
      pointerFaults(image["predicate"], "path", `${inside}.imageOverrider[${index}].predicate`, faults);
  }
  for (const [index, overrider] of objectsIn(overriders, "fieldOverrider").entries())
    fieldFaults(overrider, `${inside}.fieldOverrider[${index}]`, faults);
  if (isObject(rule["targetCluster"])) affinityFaults(rule["targetCluster"], `${path}.targetCluster`, faults);
}

function annotationFaults(annotations: JsonObject, path: string, faults: Faults): void {
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) {
    for (const fault of qualifiedNameFaults(key.toLowerCase())) faults.invalid(path, key, fault);
    bytes += Buffer.byteLength(key) + (typeof value === "string" ? Buffer.byteLength(value) : 0);
  }
  if (bytes > MAX_ANNOTATION_BYTES) faults.tooLong(path, MAX_ANNOTATION_BYTES);
}

function labelFaults(labels: JsonObject, path: string, faults: Faults): void {
  for (const [key, value] of Object.entries(labels)) {
    for (const fault of qualifiedNameFaults(key)) faults.invalid(path, key, fault);
    const text = typeof value === "string" ? value : "";
    for (const fault of labelValueFaults(text)) faults.invalid(path, text, fault);
  }
}

function pointerFaults(object: JsonObject, field: string, path: string, faults: Faults): void {
  const pointer = textIn(object, field);
  if (pointer !== "" && !pointer.startsWith("/")) faults.invalid(`${path}.${field}`, pointer, POINTER_FAULT);
}

function fieldFaults(overrider: JsonObject, path: string, faults: Faults): void {
  const lists = ["json", "yaml"] as const;
  if (lists.every((format) => objectsIn(overrider, format).length > 0))
    faults.invalid(
      path,
      shown(overrider, SHAPES.fieldOverrider),
      "FieldOverrider has both YAML and JSON set. Only one is allowed",
    );
  pointerFaults(overrider, "fieldPath", path, faults);
  for (const format of lists) {
    for (const [index, patch] of objectsIn(overrider, format).entries()) {
      const place = `${path}.${format}[${index}]`;
      pointerFaults(patch, "subPath", place, faults);
      const { value } = patch;
      const hasValue = value !== undefined;
      if (patch["operator"] === "remove") {
        if (hasValue) faults.invalid(`${place}.value`, value, "value is not allowed for remove operation");
      } else if (!hasValue) {
        faults.invalid(`${place}.value`, null, "value is required for add or replace operation");
      }
    }
  }
}
