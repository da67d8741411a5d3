import type { Faults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { cloneObject, equalJson } from "../../../../kernel/schema/index.js";
import { asList, asNumber, asObject, asObjects, asString, at, isEmpty } from "../../registry/read.js";
import type { WriteContext } from "../../types.js";
import { qosClass } from "../pod-defaults.js";
import {
  mirrorAnnotation,
  validateAnnotatedProfiles,
  validateAnnotationUpdates,
  validatePodAnnotations,
} from "./annotations.js";
import { validateImagePadding } from "./containers.js";
import { nonNegativeDeadline } from "./deadlines.js";
import { validateTolerations } from "./scheduling.js";
import { validatePodSpec } from "./spec.js";
import { validatePodStatus } from "./status.js";

/** Checks a pod, new or changed. */
export function validatePod(pod: JsonObject, faults: Faults): void {
  const [metadata, spec] = [asObject(pod["metadata"]), asObject(pod["spec"])];
  validatePodAnnotations(metadata, spec, "metadata.annotations", faults);
  validatePodSpec(spec, "spec", faults, { isPod: true, podName: asString(metadata["name"]) });
  if (asString(spec["serviceAccountName"]) === "")
    for (const [index, volume] of asObjects(spec["volumes"]).entries())
      for (const [place, source] of asObjects(at(volume, "projected", "sources")).entries())
        if (source["serviceAccountToken"] !== undefined)
          faults.forbidden(
            `spec.volumes[${index}].projected.sources[${place}].serviceAccountToken`,
            "must not be specified when serviceAccountName is not set",
          );
  for (const field of ["containers", "initContainers"])
    for (const [index, container] of asObjects(spec[field]).entries())
      validateImagePadding(container, `spec.${field}[${index}]`, faults);
}

/** Checks what only new pods must not have. */
export function validateNewPod(pod: JsonObject, faults: Faults): void {
  const spec = asObject(pod["spec"]);
  if (!isEmpty(spec["ephemeralContainers"])) faults.forbidden("spec.ephemeralContainers", "cannot be set on create");
  if (asString(spec["nodeName"]) !== "" && !isEmpty(spec["schedulingGates"]))
    faults.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
  validateAnnotatedProfiles(asObject(pod["metadata"]), spec, "spec", faults);
}

/** Fields of a pod that may change once it is there, in upstream's words. */
const changeable =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

/** Checks a change of a pod, or of a part of it. */
export function validatePodUpdate(object: JsonObject, old: JsonObject, faults: Faults, context: WriteContext): void {
  if (context.subresource === "status") validatePodStatus(object, old, faults);
  else if (context.subresource === "resize") validateResize(object, old, faults);
  else if (context.subresource === "ephemeralcontainers") {
    validateAnnotationUpdates(object, old, faults);
    validateEphemeral(object, old, faults);
  } else {
    validateAnnotationUpdates(object, old, faults);
    validateSpecUpdate(asObject(object["spec"]), asObject(old["spec"]), faults);
  }
}

function validateSpecUpdate(spec: JsonObject, old: JsonObject, faults: Faults): void {
  for (const field of ["containers", "initContainers"])
    if (!validateImages(asObjects(spec[field]), asObjects(old[field]), `spec.${field}`, faults)) return;
  if (!nonNegativeDeadline(spec, old, faults)) return;
  const missing = asObjects(old["tolerations"]).some(
    (toleration) =>
      !asObjects(spec["tolerations"]).some((one) => equalJson(withoutSeconds(one), withoutSeconds(toleration))),
  );
  if (missing)
    faults.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
  else validateTolerations(spec["tolerations"], "spec.tolerations", faults);
  const gates = asObjects(old["schedulingGates"]).map((gate) => gate["name"]);
  for (const [index, gate] of asObjects(spec["schedulingGates"]).entries())
    if (!gates.includes(gate["name"]))
      faults.forbidden(
        `spec.schedulingGates[${index}].name`,
        `only deletion is allowed, but found new scheduling gate '${asString(gate["name"])}'`,
      );
  const rest = masked(spec, old);
  if (gates.length > 0) validateGated(rest, old, faults);
  if (!equalJson(comparable(rest), comparable(old))) faults.forbidden("spec", changeable);
}

/** Whether the rest is worth looking at. */
function validateImages(
  containers: readonly JsonObject[],
  old: readonly JsonObject[],
  path: string,
  faults: Faults,
): boolean {
  if (containers.length !== old.length) {
    faults.forbidden(path, "pod updates may not add or remove containers");
    return false;
  }
  for (const [index, container] of containers.entries()) {
    if (asString(container["image"]) === "") faults.required(`${path}[${index}].image`);
    validateImagePadding(container, `${path}[${index}]`, faults);
  }
  return true;
}

function withoutSeconds(toleration: JsonObject): JsonObject {
  const { tolerationSeconds: _, ...rest } = toleration;
  return rest;
}

/** The new spec with what may change as it was. */
function masked(spec: JsonObject, old: JsonObject): JsonObject {
  const result = cloneObject(spec);
  for (const field of ["activeDeadlineSeconds", "schedulingGates", "tolerations"]) keep(result, old, field);
  for (const field of ["containers", "initContainers"])
    for (const [index, container] of asObjects(result[field]).entries())
      keep(container, asObject(asList(old[field])[index]), "image");
  const grace = asNumber(old["terminationGracePeriodSeconds"]);
  if (grace !== undefined && grace < 0 && result["terminationGracePeriodSeconds"] === 1)
    result["terminationGracePeriodSeconds"] = grace;
  return result;
}

function keep(object: JsonObject, from: JsonObject, field: string): void {
  const value = from[field];
  if (value === undefined) delete object[field];
  else object[field] = value;
}

/** Empty lists and maps are none. */
function comparable(spec: JsonObject): Json {
  const strip = (value: Json | undefined): Json | undefined => {
    if (Array.isArray(value)) return value.length === 0 ? undefined : value.map((item) => strip(item) ?? null);
    if (typeof value !== "object" || value === null) return value;
    const result: JsonObject = {};
    for (const [key, inner] of Object.entries(value)) {
      const kept = strip(inner);
      if (kept !== undefined) result[key] = kept;
    }
    return result;
  };
  return strip(spec) ?? {};
}

const required = "requiredDuringSchedulingIgnoredDuringExecution";

/** A pod that waits for its gates may become choosier about nodes. */
function validateGated(rest: JsonObject, old: JsonObject, faults: Faults): void {
  const [selector, before] = [asObject(rest["nodeSelector"]), asObject(old["nodeSelector"])];
  if (Object.entries(before).some(([key, value]) => selector[key] !== value))
    faults.invalid(
      "spec.nodeSelector",
      selector,
      "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
    );
  keep(rest, old, "nodeSelector");
  const [affinity, oldAffinity] = [at(rest, "affinity", "nodeAffinity"), at(old, "affinity", "nodeAffinity")];
  if (equalJson(affinity, oldAffinity)) return;
  validateTerms(at(affinity, required), at(oldAffinity, required), faults);
  const others = Object.keys(asObject(rest["affinity"])).filter((field) => field !== "nodeAffinity");
  if (oldAffinity === undefined && old["affinity"] === undefined && others.length === 0) delete rest["affinity"];
  else if (rest["affinity"] !== undefined || oldAffinity !== undefined) {
    const changed = { ...asObject(rest["affinity"]) };
    keep(changed, asObject(old["affinity"]), "nodeAffinity");
    rest["affinity"] = changed;
  }
}

function validateTerms(now: Json | undefined, before: Json | undefined, faults: Faults): void {
  if (before === undefined) return;
  const path = `spec.affinity.nodeAffinity.${required}.nodeSelectorTerms`;
  const [terms, oldTerms] = [asObjects(at(now, "nodeSelectorTerms")), asObjects(at(before, "nodeSelectorTerms"))];
  if (oldTerms.length > 0 && oldTerms.length !== terms.length) {
    faults.invalid(
      path,
      terms.length === 0 ? null : [...terms],
      "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
    );
    return;
  }
  for (const [index, term] of oldTerms.entries())
    if (!onlyAdds(asObject(terms[index]), term))
      faults.invalid(`${path}[${index}]`, terms[index], "only additions are allowed (no mutations or deletions)");
}

function onlyAdds(term: JsonObject, old: JsonObject): boolean {
  const lists = ["matchExpressions", "matchFields"].map((field) => [asList(term[field]), asList(old[field])] as const);
  if (lists.every(([, before]) => before.length === 0)) return lists.every(([now]) => now.length === 0);
  return lists.every(([now, before]) => equalJson(now.slice(0, before.length), [...before]));
}

function validateEphemeral(object: JsonObject, old: JsonObject, faults: Faults): void {
  if (at(old, "metadata", "annotations", mirrorAnnotation) !== undefined) {
    faults.causes.length = 0;
    faults.forbidden("", "static pods do not support ephemeral containers");
    return;
  }
  const now = asObjects(at(object, "spec", "ephemeralContainers"));
  for (const before of asObjects(at(old, "spec", "ephemeralContainers"))) {
    const same = now.findLast((one) => one["name"] === before["name"]);
    const name = JSON.stringify(before["name"]);
    if (same === undefined)
      faults.forbidden("spec.ephemeralContainers", `existing ephemeral containers ${name} may not be removed\n`);
    else if (!equalJson(same, before))
      faults.forbidden("spec.ephemeralContainers", `existing ephemeral containers ${name} may not be changed\n`);
  }
}

function hasOwnResources(pod: JsonObject): boolean {
  const resources = at(pod, "spec", "resources");
  return !isEmpty(at(resources, "requests")) || !isEmpty(at(resources, "limits"));
}

/** Checks a change of what containers ask for and may use. */
function validateResize(object: JsonObject, old: JsonObject, faults: Faults): void {
  const which = unresizable(object, old);
  if (which !== undefined) {
    faults.causes.length = 0;
    faults.forbidden("", `${which} cannot be resized`);
    return;
  }
  const [spec, before] = [asObject(object["spec"]), asObject(old["spec"])];
  const quality = asString(at(old, "status", "qosClass")) || qosClass(before);
  if (qosClass(spec) !== quality)
    faults.invalid(
      "spec",
      asString(at(object, "status", "qosClass")),
      "Pod QOS Class may not change as a result of resizing",
    );
  const running = asObjects(at(old, "status", "containerStatuses")).find(
    (one) => at(one, "state", "running") !== undefined,
  );
  if (running !== undefined && running["resources"] === undefined)
    faults.forbidden("spec", "Pod running on node without support for resize");
  if (!validateOrder(spec, before, faults)) return;
  validateKept(spec, before, faults);
  validateOnlyCompute(spec, before, faults);
}

function unresizable(object: JsonObject, old: JsonObject): string | undefined {
  if (hasOwnResources(old) || hasOwnResources(object)) return "pods with pod-level resources";
  if (at(old, "metadata", "annotations", mirrorAnnotation) !== undefined) return "static pods";
  return at(old, "spec", "os", "name") === "windows" ? "windows pods" : undefined;
}

/** What is asked for may change, but not go. */
function validateKept(spec: JsonObject, before: JsonObject, faults: Faults): void {
  for (const field of ["initContainers", "containers"])
    for (const [index, container] of asObjects(before[field]).entries()) {
      if (field === "initContainers" && container["restartPolicy"] !== "Always") continue;
      const now = asObject(asList(spec[field])[index]);
      for (const kind of ["requests", "limits"]) {
        const [has, had] = [asObject(at(now, "resources", kind)), asObject(at(container, "resources", kind))];
        if (Object.keys(had).some((name) => has[name] === undefined))
          faults.forbidden(`spec.${field}[${index}].resources.${kind}`, `resource ${kind} cannot be removed`);
      }
    }
}

function validateOrder(spec: JsonObject, before: JsonObject, faults: Faults): boolean {
  const count = faults.causes.length;
  for (const field of ["containers", "initContainers"]) {
    const [now, then] = [asObjects(spec[field]), asObjects(before[field])];
    if (now.length !== then.length) faults.forbidden(`spec.${field}`, `${field} may not be added or removed on resize`);
    else
      for (const [index, container] of then.entries())
        if (now[index]?.["name"] !== container["name"])
          faults.forbidden(`spec.${field}[${index}].name`, `${field} may not be renamed or reordered on resize`);
  }
  return faults.causes.length === count;
}

function validateOnlyCompute(spec: JsonObject, before: JsonObject, faults: Faults): void {
  const others = (container: JsonObject): Json => {
    const strip = (list: Json | undefined): JsonObject =>
      Object.fromEntries(Object.entries(asObject(list)).filter(([name]) => name !== "cpu" && name !== "memory"));
    const resources = asObject(container["resources"]);
    return { ...container, resources: { limits: strip(resources["limits"]), requests: strip(resources["requests"]) } };
  };
  for (const [index, container] of asObjects(spec["containers"]).entries())
    if (!equalJson(others(container), others(asObject(asList(before["containers"])[index]))))
      faults.forbidden("spec", "only cpu and memory resources are mutable");
  for (const [index, container] of asObjects(spec["initContainers"]).entries()) {
    const then = asObject(asList(before["initContainers"])[index]);
    if (container["restartPolicy"] === "Always") {
      if (!equalJson(others(container), others(then)))
        faults.forbidden("spec", "only cpu and memory resources for sidecar containers are mutable");
    } else if (!equalJson(container, then))
      faults.forbidden("spec", "resources for non-sidecar init containers are immutable");
  }
}
