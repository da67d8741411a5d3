import type { Faults } from "../../../kernel/kinds/index.js";
import { labelFaults, pathSegmentFaults, tryParseQuantity } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asNumber, asObject, asObjects, asString, at, isEmpty } from "../registry/read.js";
import { nonNegative } from "./common.js";
import { checkContainerResourceName } from "./pods/resources.js";
import { needed, optional, quantityOf } from "./rules.js";

const metricTypes = ["ContainerResource", "External", "Object", "Pods", "Resource"];
const longestWindowSeconds = 3600;
const longestPeriodSeconds = 1800;

/** Checks an autoscaler in its stored version; `old` is what it is a change of. */
export function validateAutoscaler(object: JsonObject, old: JsonObject | undefined, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const lowest = at(old, "spec", "minReplicas") === 0 ? 0 : 1;
  const [minimum, maximum] = [asNumber(spec["minReplicas"]), asNumber(spec["maxReplicas"]) ?? 0];
  if (minimum !== undefined && minimum < lowest)
    faults.invalid("spec.minReplicas", minimum, `must be greater than or equal to ${lowest}`);
  if (maximum < 1) faults.invalid("spec.maxReplicas", maximum, "must be greater than 0");
  if (minimum !== undefined && maximum < minimum)
    faults.invalid("spec.maxReplicas", maximum, "must be greater than or equal to `minReplicas`");
  const [reference, before] = [asObject(spec["scaleTargetRef"]), asObject(at(old, "spec", "scaleTargetRef"))];
  const path = "spec.scaleTargetRef";
  validateReference(reference, path, faults);
  const isSame = ["kind", "apiVersion"].every((field) => asString(reference[field]) === asString(before[field]));
  if (old === undefined || !isSame)
    validateVersion(reference, path, { faults, needsGroup: reference["kind"] !== "ReplicationController" });
  const metrics = asObjects(spec["metrics"]);
  for (const [index, metric] of metrics.entries()) validateMetric(metric, `spec.metrics[${index}]`, faults);
  const scalesToZero = metrics.some((metric) => metric["type"] === "Object" || metric["type"] === "External");
  if (minimum === 0 && !scalesToZero)
    faults.forbidden(
      "spec.metrics",
      "must specify at least one Object or External metric to support scaling to zero replicas",
    );
  for (const direction of ["scaleUp", "scaleDown"]) {
    const rules = at(spec, "behavior", direction);
    if (rules !== undefined) validateRules(asObject(rules), `spec.behavior.${direction}`, faults);
  }
}

/** Checks what an autoscaler's controller wrote. */
export function validateAutoscalerStatus(object: JsonObject, faults: Faults): void {
  for (const field of ["currentReplicas", "desiredReplicas"])
    nonNegative(asObject(object["status"]), field, "status", faults);
}

function validateReference(reference: JsonObject, path: string, faults: Faults): void {
  for (const field of ["kind", "name"]) {
    const value = needed(reference, field, path, faults);
    optional(pathSegmentFaults, value, `${path}.${field}`, faults);
  }
}

function validateVersion(
  reference: JsonObject,
  path: string,
  { faults, needsGroup }: { readonly faults: Faults; readonly needsGroup: boolean },
): void {
  const version = asString(reference["apiVersion"]);
  const parts = version.split("/");
  if (parts.length > 2) faults.invalid(`${path}.apiVersion`, version, `unexpected GroupVersion string: ${version}`);
  else if (needsGroup && (parts.length < 2 || parts[0] === ""))
    faults.invalid(`${path}.apiVersion`, version, "apiVersion must specify API group");
}

function validateRules(rules: JsonObject, path: string, faults: Faults): void {
  const window = asNumber(rules["stabilizationWindowSeconds"]);
  const windowPath = `${path}.stabilizationWindowSeconds`;
  if (window !== undefined && window < 0) faults.invalid(windowPath, window, "must be greater than or equal to zero");
  if (window !== undefined && window > longestWindowSeconds)
    faults.invalid(windowPath, window, `must be less than or equal to ${longestWindowSeconds}`);
  const select = rules["selectPolicy"];
  const selects = ["Disabled", "Max", "Min"];
  if (select !== undefined && !selects.includes(asString(select)))
    faults.unsupported(`${path}.selectPolicy`, select, selects);
  if (isEmpty(rules["policies"])) faults.required(`${path}.policies`, "must specify at least one Policy");
  for (const [index, policy] of asObjects(rules["policies"]).entries())
    validatePolicy(policy, `${path}.policies[${index}]`, faults);
  const tolerance = quantityOf(rules["tolerance"]);
  if (tolerance !== undefined && tolerance.nanos < 0n)
    faults.invalid(`${path}.tolerance`, rules["tolerance"], "must be greater than or equal to 0");
}

function validatePolicy(policy: JsonObject, path: string, faults: Faults): void {
  const type = asString(policy["type"]);
  if (type !== "Pods" && type !== "Percent") faults.unsupported(`${path}.type`, type, ["Percent", "Pods"]);
  for (const field of ["value", "periodSeconds"]) {
    const value = asNumber(policy[field]) ?? 0;
    if (value <= 0) faults.invalid(`${path}.${field}`, value, "must be greater than zero");
    if (field === "periodSeconds" && value > longestPeriodSeconds)
      faults.invalid(`${path}.${field}`, value, `must be less than or equal to ${longestPeriodSeconds}`);
  }
}

/** In the order in which upstream looks at them. */
const sources = ["object", "external", "pods", "resource", "containerResource"];

function validateMetric(metric: JsonObject, path: string, faults: Faults): void {
  const type = asString(metric["type"]);
  if (type === "") faults.required(`${path}.type`, "must specify a metric source type");
  if (!metricTypes.includes(type)) faults.unsupported(`${path}.type`, type, metricTypes);
  const present = sources.filter((source) => metric[source] !== undefined);
  const [first] = present;
  if (first !== undefined) validateSource(first, asObject(metric[first]), `${path}.${first}`, faults);
  const expected = type.charAt(0).toLowerCase() + type.slice(1);
  if (!metricTypes.includes(type)) faults.unsupported(`${path}.type`, type, metricTypes);
  else if (!present.includes(expected))
    faults.required(`${path}.${expected}`, "must populate information for the given metric source");
  if (present.length === 1) return;
  for (const source of present)
    if (source !== expected) faults.forbidden(`${path}.${source}`, "must populate the given metric source only");
}

function validateSource(kind: string, source: JsonObject, path: string, faults: Faults): void {
  const target = asObject(source["target"]);
  if (kind === "object") {
    const [described, place] = [asObject(source["describedObject"]), `${path}.describedObject`];
    validateReference(described, place, faults);
    validateVersion(described, place, { faults, needsGroup: false });
  }
  if (kind === "resource" || kind === "containerResource") validateResource(kind, source, path, faults);
  else {
    const name = asString(at(source, "metric", "name"));
    if (name === "") faults.required(`${path}.metric.name`, "must specify a metric name");
    optional(pathSegmentFaults, name, `${path}.metric.name`, faults);
  }
  validateTarget(target, `${path}.target`, faults);
  validateGoal(kind, target, `${path}.target`, faults);
}

function validateResource(kind: string, source: JsonObject, path: string, faults: Faults): void {
  const name = asString(source["name"]);
  if (name === "") faults.required(`${path}.name`, "must specify a resource name");
  if (kind === "resource") return;
  if (name !== "") checkContainerResourceName(name, `${path}.name`, faults);
  const container = asString(source["container"]);
  if (container === "") faults.required(`${path}.container`, "must specify a container");
  else for (const fault of labelFaults(container)) faults.invalid(`${path}.container`, container, fault);
}

function validateTarget(target: JsonObject, path: string, faults: Faults): void {
  const type = asString(target["type"]);
  if (type === "") faults.required(`${path}.type`, "must specify a metric target type");
  if (!["Utilization", "Value", "AverageValue"].includes(type))
    faults.invalid(`${path}.type`, type, "must be either Utilization, Value, or AverageValue");
  for (const field of ["value", "averageValue"])
    if (target[field] !== undefined && !isPositive(target[field]))
      faults.invalid(`${path}.${field}`, target[field], "must be positive");
  const utilization = asNumber(target["averageUtilization"]);
  if (utilization !== undefined && utilization < 1)
    faults.invalid(`${path}.averageUtilization`, utilization, "must be greater than 0");
}

function isPositive(quantity: Json | undefined): boolean {
  return (tryParseQuantity(asString(quantity))?.nanos ?? 0n) > 0n;
}

function validateGoal(kind: string, target: JsonObject, path: string, faults: Faults): void {
  const [value, average] = [target["value"], target["averageValue"]];
  const utilization = target["averageUtilization"];
  if (kind === "pods") {
    if (average === undefined) faults.required(`${path}.averageValue`, "must specify a positive target averageValue");
  } else if (kind === "object") {
    if (value === undefined && average === undefined)
      faults.required(`${path}.averageValue`, "must set either a target value or averageValue");
  } else if (kind === "external") {
    if (value === undefined && average === undefined)
      faults.required(`${path}.averageValue`, "must set either a target value for metric or a per-pod target");
    if (value !== undefined && average !== undefined)
      faults.forbidden(`${path}.value`, "may not set both a target value for metric and a per-pod target");
  } else if (utilization === undefined && average === undefined)
    faults.required(`${path}.averageUtilization`, "must set either a target raw value or a target utilization");
  else if (utilization !== undefined && average !== undefined)
    faults.forbidden(`${path}.averageValue`, "may not set both a target raw value and a target utilization");
}
