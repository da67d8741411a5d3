import {
  Faults,
  type Json,
  type JsonObject,
  labelFaults,
  pathSegmentFaults,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { isObject } from "../../../kernel/schema/index.js";
import { FederatedHPAKind } from "../unserved/kinds.js";
import { ACCEPTED, deniedFor, isUntouched, numberIn, objectIn, objectsIn, textIn } from "./denial.js";

const LONGEST_WINDOW_SECONDS = 3600;
const LONGEST_PERIOD_SECONDS = 1800;
const DEFAULT_UTILIZATION = 80;
const METRIC_TYPES = ["ContainerResource", "Object", "Pods", "Resource"];
/** In the order in which Karmada looks at them. */
const SOURCES = ["object", "pods", "resource", "containerResource"] as const;

const policy = (type: string, value: number): JsonObject => ({ type, value, periodSeconds: 15 });
const SCALE_UP = {
  stabilizationWindowSeconds: 0,
  selectPolicy: "Max",
  policies: [policy("Pods", 4), policy("Percent", 100)],
};
const SCALE_DOWN = { selectPolicy: "Max", policies: [policy("Percent", 100)] };

/** Completes and checks autoscalers over several clusters. */
export function federatedHpaAdmission(): ModuleAdmission {
  return {
    kind: FederatedHPAKind,
    level: "continuum",
    complete: (object) => {
      const spec = objectIn(object, "spec");
      spec["minReplicas"] ??= 1;
      if (objectsIn(spec, "metrics").length === 0)
        spec["metrics"] = [
          {
            type: "Resource",
            resource: { name: "cpu", target: { type: "Utilization", averageUtilization: DEFAULT_UTILIZATION } },
          },
        ];
      const behavior = spec["behavior"];
      if (!isObject(behavior)) return;
      behavior["scaleUp"] = { ...structuredClone(SCALE_UP), ...objectIn(behavior, "scaleUp") };
      behavior["scaleDown"] = { ...structuredClone(SCALE_DOWN), ...objectIn(behavior, "scaleDown") };
    },
    review: async (object, old) =>
      isUntouched(object, old) ? ACCEPTED : deniedFor("federatedhpa.karmada.io", hpaFaults(objectIn(object, "spec"))),
  };
}

function hpaFaults(spec: JsonObject): Faults {
  const faults = new Faults();
  const [least, most] = [numberIn(spec, "minReplicas"), numberIn(spec, "maxReplicas") ?? 0];
  if (least !== undefined && least < 1) faults.invalid("spec.minReplicas", least, "must be greater than or equal to 1");
  if (most < 1) faults.invalid("spec.maxReplicas", most, "must be greater than 0");
  if (least !== undefined && most < least)
    faults.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`");
  referenceFaults(objectIn(spec, "scaleTargetRef"), "spec.scaleTargetRef", faults);
  for (const [index, metric] of objectsIn(spec, "metrics").entries())
    metricFaults(metric, `spec.metrics[${index}]`, faults);
  const behavior = objectIn(spec, "behavior");
  for (const direction of ["scaleUp", "scaleDown"]) {
    const rules = behavior[direction];
    if (isObject(rules)) rulesFaults(rules, `spec.behavior.${direction}`, faults);
  }
  return faults;
}

/** What is wrong with the name of what is scaled. */
export function referenceFaults(reference: JsonObject, path: string, faults: Faults): void {
  for (const field of ["kind", "name"]) {
    const value = textIn(reference, field);
    if (value === "") faults.required(`${path}.${field}`);
    for (const fault of pathSegmentFaults(value)) faults.invalid(`${path}.${field}`, value, fault);
  }
}

function rulesFaults(rules: JsonObject, path: string, faults: Faults): void {
  const window = numberIn(rules, "stabilizationWindowSeconds") ?? 0;
  const windowPath = `${path}.stabilizationWindowSeconds`;
  if (window < 0) faults.invalid(windowPath, window, "must be greater than or equal to zero");
  if (window > LONGEST_WINDOW_SECONDS)
    faults.invalid(windowPath, window, `must be less than or equal to ${LONGEST_WINDOW_SECONDS}`);
  const select = rules["selectPolicy"];
  if (select !== undefined && !["Max", "Min", "Disabled"].includes(textIn(rules, "selectPolicy")))
    faults.unsupported(`${path}.selectPolicy`, select, ["Disabled", "Max", "Min"]);
  const policies = objectsIn(rules, "policies");
  if (policies.length === 0) faults.required(`${path}.policies`, "must specify at least one Policy");
  for (const [index, entry] of policies.entries()) policyFaults(entry, `${path}.policies[${index}]`, faults);
}

function policyFaults(entry: JsonObject, path: string, faults: Faults): void {
  const type = textIn(entry, "type");
  if (type !== "Pods" && type !== "Percent") faults.unsupported(`${path}.type`, type, ["Percent", "Pods"]);
  const [value, period] = [numberIn(entry, "value") ?? 0, numberIn(entry, "periodSeconds") ?? 0];
  if (value <= 0) faults.invalid(`${path}.value`, value, "must be greater than zero");
  if (period <= 0) faults.invalid(`${path}.periodSeconds`, period, "must be greater than zero");
  if (period > LONGEST_PERIOD_SECONDS)
    faults.invalid(`${path}.periodSeconds`, period, `must be less than or equal to ${LONGEST_PERIOD_SECONDS}`);
}

function metricFaults(metric: JsonObject, path: string, faults: Faults): void {
  const type = textIn(metric, "type");
  if (type === "") faults.required(`${path}.type`, "must specify a metric source type");
  if (!METRIC_TYPES.includes(type)) faults.unsupported(`${path}.type`, type, METRIC_TYPES);
  const present = SOURCES.filter((source) => metric[source] !== undefined);
  const [first] = present;
  if (first !== undefined) sourceFaults(first, objectIn(metric, first), `${path}.${first}`, faults);
  const expected = SOURCES.find((source) => source === type.charAt(0).toLowerCase() + type.slice(1));
  if (expected !== undefined && !present.includes(expected))
    faults.required(`${path}.${expected}`, "must populate information for the given metric source");
  if (present.length === 1) return;
  for (const source of present)
    if (source !== expected) faults.forbidden(`${path}.${source}`, "must populate the given metric source only");
}

function sourceFaults(kind: (typeof SOURCES)[number], source: JsonObject, path: string, faults: Faults): void {
  const target = objectIn(source, "target");
  if (kind === "object") referenceFaults(objectIn(source, "describedObject"), `${path}.describedObject`, faults);
  if (kind === "resource" || kind === "containerResource") {
    if (textIn(source, "name") === "") faults.required(`${path}.name`, "must specify a resource name");
    if (kind === "containerResource") containerFaults(textIn(source, "container"), `${path}.container`, faults);
  } else {
    const name = textIn(objectIn(source, "metric"), "name");
    if (name === "") faults.required(`${path}.metric.name`, "must specify a metric name");
    for (const fault of pathSegmentFaults(name)) faults.invalid(`${path}.metric.name`, name, fault);
  }
  targetFaults(target, `${path}.target`, faults);
  goalFaults(kind, target, `${path}.target`, faults);
}

function containerFaults(container: string, path: string, faults: Faults): void {
  if (container === "") faults.required(path, "must specify a container");
  else for (const fault of labelFaults(container)) faults.invalid(path, container, fault);
}

function targetFaults(target: JsonObject, path: string, faults: Faults): void {
  const type = textIn(target, "type");
  if (type === "") faults.required(`${path}.type`, "must specify a metric target type");
  if (!["Utilization", "Value", "AverageValue"].includes(type))
    faults.invalid(`${path}.type`, type, "must be either Utilization, Value, or AverageValue");
  for (const field of ["value", "averageValue"])
    if (target[field] !== undefined && !isPositive(target[field]))
      faults.invalid(`${path}.${field}`, target[field], "must be positive");
  const utilization = numberIn(target, "averageUtilization");
  if (utilization !== undefined && utilization < 1)
    faults.invalid(`${path}.averageUtilization`, utilization, "must be greater than 0");
}

function isPositive(value: Json): boolean {
  const isAmount = typeof value === "string" || typeof value === "number";
  return isAmount && (tryParseQuantity(value)?.nanos ?? 0n) > 0n;
}

function goalFaults(kind: (typeof SOURCES)[number], target: JsonObject, path: string, faults: Faults): void {
  const has = (field: string): boolean => target[field] !== undefined;
  if (kind === "object") {
    if (!has("value") && !has("averageValue"))
      faults.required(`${path}.averageValue`, "must set either a target value or averageValue");
    return;
  }
  if (kind === "pods") {
    if (!has("averageValue")) faults.required(`${path}.averageValue`, "must specify a positive target averageValue");
    return;
  }
  if (!has("averageUtilization") && !has("averageValue"))
    faults.required(`${path}.averageUtilization`, "must set either a target raw value or a target utilization");
  if (has("averageUtilization") && has("averageValue"))
    faults.forbidden(`${path}.averageValue`, "may not set both a target raw value and a target utilization");
}
