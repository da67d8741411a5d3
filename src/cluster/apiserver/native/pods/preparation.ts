import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asObject, asObjects, asString, at, ensureObject } from "../../registry/read.js";
import type { WriteContext } from "../../types.js";
import { appArmorAnnotation } from "./annotations.js";
import { containersOf } from "./containers.js";

const required = "requiredDuringSchedulingIgnoredDuringExecution";
const preferred = "preferredDuringSchedulingIgnoredDuringExecution";

/** What the server makes of a new pod, besides defaults. */
export function prepareNewPod(pod: JsonObject, context: WriteContext): void {
  const spec = asObject(pod["spec"]);
  noteGates(pod, context.now);
  const labels = asObject(at(pod, "metadata", "labels"));
  for (const field of ["podAffinity", "podAntiAffinity"]) {
    const affinity = asObject(at(spec, "affinity", field));
    for (const term of asObjects(affinity[preferred])) selectByOwn(asObject(term["podAffinityTerm"]), labels);
    for (const term of asObjects(affinity[required])) selectByOwn(term, labels);
  }
  for (const constraint of asObjects(spec["topologySpreadConstraints"]))
    selectByOwn({ ...constraint, mismatchLabelKeys: [] }, labels);
  readAppArmorAnnotations(pod, context);
}

/** A pod that waits for its gates says so from the beginning. */
function noteGates(pod: JsonObject, now: string): void {
  if (asList(at(pod, "spec", "schedulingGates")).length === 0) return;
  ensureObject(pod, "status")["conditions"] = [
    {
      type: "PodScheduled",
      status: "False",
      lastProbeTime: null,
      lastTransitionTime: now,
      reason: "SchedulingGated",
      message: "Scheduling is blocked due to non-empty scheduling gates",
    },
  ];
}

/** Keys whose values are the pod's own become requirements of the selector. */
function selectByOwn(term: JsonObject, labels: JsonObject): void {
  const selector = term["labelSelector"];
  if (selector === undefined) return;
  for (const [field, operator] of Object.entries({ matchLabelKeys: "In", mismatchLabelKeys: "NotIn" }))
    for (const key of asList(term[field]).map(asString)) {
      const value = labels[key];
      if (value === undefined) continue;
      const holder = asObject(selector);
      holder["matchExpressions"] = [...asList(holder["matchExpressions"]), { key, operator, values: [value] }];
    }
}

/** The profile that an annotation names, as the field has it. */
function profileOf(annotation: string): JsonObject | undefined {
  if (annotation === "unconfined") return { type: "Unconfined" };
  if (annotation === "runtime/default") return { type: "RuntimeDefault" };
  const [, name = ""] = /^localhost\/(.+)$/s.exec(annotation) ?? [];
  const isSound = name !== "" && name.trim() === name && name.length <= 4095;
  return isSound ? { type: "Localhost", localhostProfile: name } : undefined;
}

/** Annotations of older releases become fields. */
function readAppArmorAnnotations(pod: JsonObject, context: WriteContext): void {
  const spec = asObject(pod["spec"]);
  if (at(spec, "os", "name") === "windows") return;
  const annotations = asObject(at(pod, "metadata", "annotations"));
  const ofPod: Json | undefined = at(spec, "securityContext", "appArmorProfile");
  for (const [container] of containersOf(spec, "")) {
    const key = appArmorAnnotation + asString(container["name"]);
    const annotation = annotations[key];
    if (annotation === undefined || at(container, "securityContext", "appArmorProfile") !== undefined) continue;
    const profile = profileOf(asString(annotation));
    const isOfPod =
      profile !== undefined &&
      at(ofPod, "type") === profile["type"] &&
      at(ofPod, "localhostProfile") === profile["localhostProfile"];
    if (isOfPod) continue;
    if (profile !== undefined) ensureObject(container, "securityContext")["appArmorProfile"] = profile;
    context.warn?.(`metadata.annotations[${key}]: deprecated since v1.30; use the "appArmorProfile" field instead`);
  }
}
