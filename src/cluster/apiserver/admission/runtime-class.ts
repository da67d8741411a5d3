import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { forbidden } from "../failures.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { objectKey } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Store } from "../types.js";
import { amountsIn, toList } from "./quantities.js";

const runtimeClasses = { group: "node.k8s.io", plural: "runtimeclasses" };

/** What a pod's RuntimeClass says of it: what it costs beside its containers, and on which nodes it can run. */
export function runtimeClassAdmission(store: Store): AdmissionPlugin {
  const overheadOf = (request: AdmissionRequest, spec: JsonObject): JsonObject | undefined => {
    const overhead = classOf(store, request, spec)?.["overhead"];
    return isObject(overhead) ? objectAt(overhead, "podFixed") : undefined;
  };
  return {
    name: "RuntimeClass",
    mutate(request) {
      const spec = newPodSpec(request);
      if (spec === undefined) return;
      const found = classOf(store, request, spec);
      const overhead = overheadOf(request, spec);
      if (overhead !== undefined) {
        if (Object.keys(objectAt(spec, "overhead")).length > 0 && !isSame(overhead, objectAt(spec, "overhead")))
          throw refusal(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
        spec["overhead"] = { ...overhead };
      }
      if (isObject(found?.["scheduling"])) restrict(request, spec, found["scheduling"]);
    },
    validate(request) {
      const spec = newPodSpec(request);
      if (spec === undefined) return;
      const overhead = overheadOf(request, spec);
      if (overhead !== undefined && !isSame(overhead, objectAt(spec, "overhead")))
        throw refusal(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
      if (overhead === undefined && spec["overhead"] !== undefined)
        throw refusal(request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    },
  };
}

function refusal({ name }: AdmissionRequest, why: string): Error {
  return forbidden({ group: "", plural: "pods" }, name, why);
}

function isSame(a: JsonObject, b: JsonObject): boolean {
  return equalJson(toList(amountsIn(a)), toList(amountsIn(b)));
}

function classOf(store: Store, request: AdmissionRequest, spec: JsonObject): JsonObject | undefined {
  if (typeof spec["runtimeClassName"] !== "string") return undefined;
  const name = spec["runtimeClassName"];
  const found = store.get(objectKey(runtimeClasses, "", name))?.value;
  if (found === undefined) throw refusal(request, `pod rejected: RuntimeClass "${name}" not found`);
  return found;
}

/** The class's node selector and tolerations beside the pod's own. */
function restrict(request: AdmissionRequest, spec: JsonObject, scheduling: JsonObject): void {
  const own = objectAt(spec, "nodeSelector");
  const wanted = objectAt(scheduling, "nodeSelector");
  for (const [key, value] of Object.entries(wanted)) {
    if (own[key] === undefined || own[key] === value) continue;
    const where = `runtimeClass.scheduling.nodeSelector[${key}] = ${stringAt(wanted, key)}`;
    throw refusal(request, `conflict: ${where}; pod.spec.nodeSelector[${key}] = ${stringAt(own, key)}`);
  }
  if (Object.keys(wanted).length > 0) spec["nodeSelector"] = { ...own, ...wanted };
  const merged = mergeTolerations([...listAt(spec, "tolerations"), ...listAt(scheduling, "tolerations")]);
  if (merged.length > 0) spec["tolerations"] = merged;
}

function listAt(object: JsonObject, field: string): JsonObject[] {
  const list = object[field];
  return Array.isArray(list) ? list.filter(isObject) : [];
}

/** Tolerations without those that another one includes; of equal ones the first stays. */
function mergeTolerations(all: readonly JsonObject[]): JsonObject[] {
  const merged: JsonObject[] = [];
  for (const [index, one] of all.entries()) {
    const isRedundant =
      merged.some((other) => includes(other, one)) ||
      all.slice(index + 1).some((other) => !equalJson(one, other) && includes(other, one));
    if (!isRedundant) merged.push(one);
  }
  return merged;
}

/** Whether everything that `one` tolerates is tolerated by `other`. */
function includes(other: JsonObject, one: JsonObject): boolean {
  if (equalJson(one, other)) return true;
  const [key, operator, effect] = [stringAt(other, "key"), stringAt(other, "operator"), stringAt(other, "effect")];
  if (stringAt(one, "key") !== key && (key !== "" || operator !== "Exists")) return false;
  if (stringAt(one, "effect") !== effect && effect !== "") return false;
  const [seconds, limit] = [one["tolerationSeconds"], other["tolerationSeconds"]];
  if (effect === "NoExecute" && typeof limit === "number" && !(typeof seconds === "number" && seconds <= limit))
    return false;
  if (operator === "Exists") return true;
  return stringAt(one, "operator") === "Equal" && stringAt(one, "value") === stringAt(other, "value");
}

/** The spec of a pod that is being made. */
function newPodSpec({ operation, type, subresource, object }: AdmissionRequest): JsonObject | undefined {
  if (operation !== "CREATE" || type.group !== "" || type.plural !== "pods" || subresource !== "") return undefined;
  const spec = object?.["spec"];
  return isObject(spec) ? spec : undefined;
}
