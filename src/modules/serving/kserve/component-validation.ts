/** What no schema can say about scaling, traffic, logging and batching of a component. Pure. */
import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";

const fault = (field: string, message: string): StatusCause => ({ reason: "FieldValueInvalid", field, message });
const LOGGED = ["all", "request", "response"];

/** Faults of one component. */
export function componentFaults(component: JsonObject, path: string): StatusCause[] {
  return [
    ...replicaFaults(component, path),
    ...targetFaults(component, path),
    ...metricFaults(component, path),
    ...limitFaults(component, path),
  ];
}

function replicaFaults(component: JsonObject, path: string): StatusCause[] {
  const min = asNumber(component["minReplicas"]);
  const max = asNumber(component["maxReplicas"]) ?? 0;
  const faults: StatusCause[] = [];
  if (min !== undefined && min < 0) faults.push(fault(`${path}.minReplicas`, "must not be below 0"));
  if (max < 0) faults.push(fault(`${path}.maxReplicas`, "must not be below 0"));
  // A writer who gives no minimum means one that fits.
  if (max > 0 && min !== undefined && min > max)
    faults.push(fault(`${path}.minReplicas`, `${min} is more than maxReplicas, ${max}`));
  return faults;
}

function targetFaults(component: JsonObject, path: string): StatusCause[] {
  const target = asNumber(component["scaleTarget"]);
  if (target === undefined) return [];
  const metric = asString(component["scaleMetric"]);
  const utilization = component["scaleMetricType"] !== "AverageValue";
  const field = `${path}.scaleTarget`;
  if ((metric === "" || metric === "cpu") && utilization && (target < 1 || target > 100))
    return [fault(field, `is percent of the requested CPU: 1 to 100, not ${target}`)];
  if (target < 1) return [fault(field, `must be at least 1, not ${target}`)];
  return [];
}

/** Targets of `autoScaling`, by the rules of `scaleTarget`. */
function metricFaults(component: JsonObject, path: string): StatusCause[] {
  return asObjects(asObject(component["autoScaling"])["metrics"]).flatMap((metric, index) => {
    const resource = asObject(metric["resource"]);
    const percent = asNumber(asObject(resource["target"])["averageUtilization"]);
    if (percent === undefined) return [];
    const field = `${path}.autoScaling.metrics[${index}].resource.target.averageUtilization`;
    if (percent < 1) return [fault(field, `must be at least 1, not ${percent}`)];
    return asString(resource["name"]) === "cpu" && percent > 100
      ? [fault(field, `is percent of the requested CPU: 1 to 100, not ${percent}`)]
      : [];
  });
}

function limitFaults(component: JsonObject, path: string): StatusCause[] {
  const faults: StatusCause[] = [];
  const atLeast = (field: string, least: number): void => {
    const value = asNumber(component[field]);
    if (value !== undefined && value < least) faults.push(fault(`${path}.${field}`, `must not be below ${least}`));
  };
  atLeast("containerConcurrency", 0);
  atLeast("timeout", 0);
  const percent = asNumber(component["canaryTrafficPercent"]);
  if (percent !== undefined && (percent < 0 || percent > 100))
    faults.push(fault(`${path}.canaryTrafficPercent`, `must be 0 to 100, not ${percent}`));
  const { logger, batcher } = component;
  if (isObject(logger)) faults.push(...loggerFaults(logger, `${path}.logger`));
  if (isObject(batcher)) faults.push(...batcherFaults(batcher, `${path}.batcher`));
  return faults;
}

function loggerFaults(logger: JsonObject, path: string): StatusCause[] {
  const faults: StatusCause[] = [];
  const mode = asString(logger["mode"] ?? "all");
  if (!LOGGED.includes(mode)) faults.push(fault(`${path}.mode`, `${mode} is none of ${LOGGED.join(", ")}`));
  const url = logger["url"];
  if (typeof url === "string" && !isUrl(url)) faults.push(fault(`${path}.url`, `${url} is no URL`));
  const { storage } = logger;
  const said = ["path", "parameters", "key", "serviceAccountName"];
  if (isObject(storage) && said.every((name) => storage[name] === undefined))
    faults.push(fault(`${path}.storage`, `says nothing: give one of ${said.join(", ")}`));
  const size = asNumber(logger["batchSize"]);
  if (size !== undefined && (size < 1 || size > 10_000))
    faults.push(fault(`${path}.batchSize`, `must be 1 to 10000, not ${size}`));
  return faults;
}

function batcherFaults(batcher: JsonObject, path: string): StatusCause[] {
  return ["maxBatchSize", "maxLatency", "timeout"].flatMap((field) => {
    const value = asNumber(asObject(batcher)[field]);
    return value !== undefined && value < 1 ? [fault(`${path}.${field}`, `must be at least 1, not ${value}`)] : [];
  });
}

function isUrl(text: string): boolean {
  try {
    return new URL(text).host !== "" || /^[a-z]+:/.test(text);
  } catch {
    return false;
  }
}
