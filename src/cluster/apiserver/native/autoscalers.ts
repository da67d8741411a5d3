import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneObject } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import { asNumber, asObject, asObjects, asString, at, ensureObject, isEmpty, setDefault } from "../registry/read.js";
import { validateAutoscaler, validateAutoscalerStatus } from "./autoscaler-validation.js";
import { countAt, textAt } from "./common.js";

const defaultUtilization = 80;

/** `Resource` → `resource`: the field that holds a metric of a type. */
function sourceField(metric: JsonObject): string {
  const type = asString(metric["type"]);
  return type.charAt(0).toLowerCase() + type.slice(1);
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

/** In the version that is checked. */
function inVersionTwo(object: JsonObject): JsonObject {
  return object["apiVersion"] === "autoscaling/v1" ? toVersionTwo(object) : object;
}

function parseMetrics(text: Json | undefined): JsonObject[] {
  try {
    const value: Json = JSON.parse(asString(text) || "[]");
    return [...asObjects(value)];
  } catch {
    return [];
  }
}

function showTargets(shown: JsonObject): string {
  const object = inVersionTwo(shown);
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

const scaleUpRules: JsonObject = {
  stabilizationWindowSeconds: 0,
  selectPolicy: "Max",
  policies: [
    { type: "Pods", value: 4, periodSeconds: 15 },
    { type: "Percent", value: 100, periodSeconds: 15 },
  ],
};
const scaleDownRules: JsonObject = {
  selectPolicy: "Max",
  policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
};

/** Where rules are given at all, what they leave open is filled in. */
function defaultBehaviour(spec: JsonObject): void {
  if (spec["behavior"] === undefined) return;
  const behaviour = asObject(spec["behavior"]);
  for (const [direction, rules] of Object.entries({ scaleUp: scaleUpRules, scaleDown: scaleDownRules }))
    behaviour[direction] = { ...cloneObject(rules), ...asObject(behaviour[direction]) };
}

const autoscaler: Behaviour = {
  complete: true,
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefault(spec, "minReplicas", 1);
    if (object["apiVersion"] === "autoscaling/v1")
      setDefault(spec, "targetCPUUtilizationPercentage", defaultUtilization);
    else defaultBehaviour(spec);
    if (object["apiVersion"] !== "autoscaling/v1" && isEmpty(spec["metrics"]))
      spec["metrics"] = [
        {
          type: "Resource",
          resource: { name: "cpu", target: { type: "Utilization", averageUtilization: defaultUtilization } },
        },
      ];
  },
  statusOnly: true,
  updateChecks: { "": [0, 1], status: [0, 1] },
  validateCreate: (object, faults) => validateAutoscaler(inVersionTwo(object), undefined, faults),
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") validateAutoscalerStatus(object, faults);
    else validateAutoscaler(inVersionTwo(object), inVersionTwo(old), faults);
  },
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
