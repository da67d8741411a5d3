import type { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneObject } from "../../../kernel/schema/index.js";
import { validateAnnotations, validateLabels } from "../registry/metadata.js";
import { asObject, asObjects, asString, at, isEmpty } from "../registry/read.js";
import { sortedMap } from "./common.js";
import { validatePodAnnotations } from "./pods/annotations.js";
import { validateEndlessTemplate, validatePodTemplate } from "./pods/spec.js";
import { isSelector, selects, validateSelector } from "./selectors.js";

/** Checks that a workload has a selector, and that it selects something; `kind` is upstream's word for the workload. */
function validateOwnSelector(selector: Json | undefined, kind: string, faults: Faults): void {
  if (selector === undefined) {
    faults.required("spec.selector");
    return;
  }
  validateSelector(selector, "spec.selector", faults);
  if (isEmpty(selector)) faults.invalid("spec.selector", {}, `empty selector is invalid for ${kind}`);
}

/** Reports a template that its own workload would not find. */
export function validateMatch(selector: Json | undefined, template: JsonObject, path: string, faults: Faults): void {
  const labels = at(template, "metadata", "labels");
  if (!selects(selector, labels))
    faults.invalid(`${path}.metadata.labels`, sortedMap(labels), "`selector` does not match template `labels`");
}

/** Checks selector and template of a Deployment or ReplicaSet. */
export function validateSelectedTemplate(spec: JsonObject, faults: Faults): void {
  const { selector } = spec;
  validateOwnSelector(selector, "deployment", faults);
  if (!isSelector(selector)) {
    faults.invalid("spec.selector", selector, "invalid label selector");
    return;
  }
  const template = asObject(spec["template"]);
  if (!isEmpty(selector) || selector === undefined) validateMatch(selector, template, "spec.template", faults);
  validatePodTemplate(template, "spec.template", faults);
  validateEndlessTemplate(template, "spec.template", "ReplicaSet", faults);
}

/** Checks selector and template of a StatefulSet, whose claims become volumes. */
export function validateStatefulTemplate(spec: JsonObject, faults: Faults, skipsTemplate: boolean): void {
  const { selector } = spec;
  validateOwnSelector(selector, "statefulset", faults);
  const template = asObject(spec["template"]);
  if (!isSelector(selector)) faults.invalid("spec.selector", selector, "");
  else {
    if (!isEmpty(selector) || selector === undefined) validateMatch(selector, template, "spec.template", faults);
    const checked = withClaims(template, asObjects(spec["volumeClaimTemplates"]));
    const metadata = asObject(template["metadata"]);
    if (!skipsTemplate) validatePodTemplate(checked, "spec.template", faults);
    // As upstream: a second time.
    validateLabels(metadata["labels"] ?? {}, "spec.template.labels", faults);
    validateAnnotations(asObject(metadata["annotations"]), "spec.template.annotations", faults);
    validatePodAnnotations(metadata, asObject(checked["spec"]), "spec.template.annotations", faults);
  }
  validateEndlessTemplate(template, "spec.template", "StatefulSet", faults);
}

/** The template as its pods will be: with a volume for each claim, and names of their own. */
function withClaims(template: JsonObject, claims: readonly JsonObject[]): JsonObject {
  const result = cloneObject(template);
  const { hostname: _, subdomain: __, ...spec } = asObject(result["spec"]);
  const names = [...new Set(claims.map((claim) => asString(at(claim, "metadata", "name"))))];
  const volumes = names.map((name) => ({ name, persistentVolumeClaim: { claimName: name } }));
  const others = asObjects(spec["volumes"]).filter((volume) => !names.includes(asString(volume["name"])));
  return { ...result, spec: { ...spec, volumes: [...volumes, ...others] } };
}
