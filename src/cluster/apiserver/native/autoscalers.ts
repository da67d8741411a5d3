import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneObject } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { asNumber, asObject, asObjects, asString, at, ensureObject, isEmpty, setDefault } from "../registry/read.js";
import { countAt, textAt } from "./common.js";

const metricTypes = ["ContainerResource", "External", "Object", "Pods", "Resource"];
const defaultUtilization = 80;

/** `Resource` → `resource`: the field that holds a metric of a type. */
function sourceField(metric: JsonObject): string {
  const type = asString(metric["type"]);
  return type.charAt(0).toLowerCase() + type.slice(1);
}

function validateMetric(metric: JsonObject, path: string, faults: Faults): void {
  const type = asString(metric["type"]);
  if (!metricTypes.includes(type)) {
    // As upstream: it is no known type, and no source goes with it.
    for (let check = 0; check < 2; check += 1) faults.unsupported(`${path}.type`, type, metricTypes);
    return;
  }
  const field = sourceField(metric);
  const source = metric[field];
  if (source === undefined) {
    faults.required(`${path}.${field}`, "must populate information for the given metric source");
    return;
  }
  validateTarget(asObject(at(source, "target")), `${path}.${field}`, type, faults);
}

function validateTarget(target: JsonObject, path: string, type: string, faults: Faults): void {
  const kind = asString(target["type"]);
  if (kind !== "" && !["Utilization", "Value", "AverageValue"].includes(kind)) {
    faults.invalid(`${path}.target.type`, kind, "must be either Utilization, Value, or AverageValue");
    return;
  }
  if (type !== "Resource" && type !== "ContainerResource") return;
  const [utilization, average] = [asNumber(target["averageUtilization"]), target["averageValue"]];
  if (utilization === undefined && average === undefined)
    faults.required(`${path}.target.averageUtilization`, "must set either a target raw value or a target utilization");
  else if (utilization !== undefined && average !== undefined)
    faults.forbidden(`${path}.target.averageValue`, "may not set both a target raw value and a target utilization");
  else if (utilization !== undefined && utilization < 1)
    faults.invalid(`${path}.target.averageUtilization`, utilization, "must be greater than 0");
}

function validateAutoscaler(object: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const [minimum, maximum] = [asNumber(spec["minReplicas"]) ?? 1, asNumber(spec["maxReplicas"]) ?? 0];
  if (minimum < 1) {
    faults.invalid("spec.minReplicas", minimum, "must be greater than or equal to 1");
    if (minimum === 0)
      faults.forbidden(
        "spec.metrics",
        "must specify at least one Object or External metric to support scaling to zero replicas",
      );
  }
  if (maximum < 1) faults.invalid("spec.maxReplicas", maximum, "must be greater than 0");
  if (maximum < minimum) faults.invalid("spec.maxReplicas", maximum, "must be greater than or equal to `minReplicas`");
  for (const [index, metric] of asObjects(spec["metrics"]).entries())
    validateMetric(metric, `spec.metrics[${index}]`, faults);
}

const metricsAnnotation = "autoscaling.alpha.kubernetes.io/metrics";
const isCpu = (metric: JsonObject): boolean =>
  metric["type"] === "Resource" && at(metric, "resource", "name") === "cpu";

/** v2 → v1: the CPU target has a field, other metrics an annotation. */
function toVersionOne(stored: JsonObject): JsonObject {
  const object = cloneObject(stored);
  object["apiVersion"] = "autoscaling/v1";
  const spec = ensureObject(object, "spec");
  const metrics = asObjects(spec["metrics"]);
  delete spec["metrics"];
  const utilization = asNumber(at(metrics.find(isCpu), "resource", "target", "averageUtilization"));
  if (utilization !== undefined) spec["targetCPUUtilizationPercentage"] = utilization;
  const others = metrics.filter((metric) => !isCpu(metric));
  if (others.length > 0)
    ensureObject(ensureObject(object, "metadata"), "annotations")[metricsAnnotation] = JSON.stringify(others);
  const status = asObject(object["status"]);
  const current = asNumber(
    at(asObjects(status["currentMetrics"]).find(isCpu), "resource", "current", "averageUtilization"),
  );
  if (current !== undefined) status["currentCPUUtilizationPercentage"] = current;
  for (const field of ["currentMetrics", "conditions"]) delete status[field];
  return object;
}

function toVersionTwo(sent: JsonObject): JsonObject {
  const object = cloneObject(sent);
  object["apiVersion"] = "autoscaling/v2";
  const spec = ensureObject(object, "spec");
  const utilization = asNumber(spec["targetCPUUtilizationPercentage"]);
  delete spec["targetCPUUtilizationPercentage"];
  delete asObject(object["status"])["currentCPUUtilizationPercentage"];
  const annotations = asObject(at(object, "metadata", "annotations"));
  const others = parseMetrics(annotations[metricsAnnotation]);
  delete annotations[metricsAnnotation];
  const cpu: Json[] =
    utilization === undefined
      ? []
      : [
          {
            type: "Resource",
            resource: { name: "cpu", target: { type: "Utilization", averageUtilization: utilization } },
          },
        ];
  if (cpu.length + others.length > 0) spec["metrics"] = [...others, ...cpu];
  return object;
}

function parseMetrics(text: Json | undefined): JsonObject[] {
  try {
    const value: Json = JSON.parse(asString(text) || "[]");
    return [...asObjects(value)];
  } catch {
    return [];
  }
}

function showTargets(object: JsonObject): string {
  const current = asObjects(at(object, "status", "currentMetrics"));
  const parts = asObjects(at(object, "spec", "metrics")).map((metric, index) => {
    const field = sourceField(metric);
    const [target, seen] = [asObject(at(metric, field, "target")), asObject(at(current[index], field, "current"))];
    const name = asString(at(metric, field, "name"));
    const utilization = asNumber(target["averageUtilization"]);
    const percentage = asNumber(seen["averageUtilization"]);
    const now =
      utilization === undefined
        ? asString(seen["averageValue"] ?? seen["value"])
        : percentage === undefined
          ? ""
          : `${percentage}%`;
    const goal = utilization === undefined ? asString(target["averageValue"] ?? target["value"]) : `${utilization}%`;
    return `${name === "" ? "" : `${name}: `}${now === "" ? "<unknown>" : now}/${goal}`;
  });
  return parts.length === 0 ? "<none>" : parts.join(", ");
}

const autoscaler: Behaviour = {
  ownChecks: ["spec.metrics.type"],
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefault(spec, "minReplicas", 1);
    if (object["apiVersion"] === "autoscaling/v1")
      setDefault(spec, "targetCPUUtilizationPercentage", defaultUtilization);
    else if (isEmpty(spec["metrics"]))
      spec["metrics"] = [
        {
          type: "Resource",
          resource: { name: "cpu", target: { type: "Utilization", averageUtilization: defaultUtilization } },
        },
      ];
  },
  validate: validateAutoscaler,
  conversions: { v1: { fromStorage: toVersionOne, toStorage: toVersionTwo } },
  columns: [
    column(
      "Reference",
      (object) =>
        `${textAt(object, "spec", "scaleTargetRef", "kind")}/${textAt(object, "spec", "scaleTargetRef", "name")}`,
    ),
    column("Targets", showTargets),
    column("MinPods", (object) => String(asNumber(at(object, "spec", "minReplicas")) ?? "<unset>")),
    column("MaxPods", (object) => countAt(object, "spec", "maxReplicas")),
    column("Replicas", (object) => countAt(object, "status", "currentReplicas")),
  ],
};

/** Horizontal pod autoscalers in both versions. */
export const autoscalerBehaviours: BehaviourTable = { "autoscaling/HorizontalPodAutoscaler": autoscaler };
