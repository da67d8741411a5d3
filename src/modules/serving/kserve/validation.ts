/** What no schema can say about an InferenceService: each fault with its field, for people. Pure. */
import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString, didYouMean, isObject } from "../../../kernel/schema/index.js";
import { DEPLOYMENT_MODES, KSERVE, modeOf, rawAnnotation } from "./annotations.js";
import { componentFaults } from "./component-validation.js";
import { PROTOCOLS } from "./defaults.js";
import { LEGACY_FRAMEWORKS } from "./inference-service-kind.js";
import { promotionSettings } from "./promotion-settings.js";
import { policyFaults } from "./route-policies.js";
import { storageUriFault } from "./storage-uri.js";
import { workerFaults } from "./worker-validation.js";

/** The container that answers, in pods of the user's own. */
export const MAIN_CONTAINER = "kserve-container";
const MAX_NAME = 63 - "-transformer-00001".length;
const AUTOSCALERS = ["hpa", "keda", "external", "none"];

/** A fault of a value. */
export const invalid = (field: string, message: string): StatusCause => ({
  reason: "FieldValueInvalid",
  field,
  message,
});
const forbidden = (field: string, message: string): StatusCause => ({ reason: "FieldValueForbidden", field, message });

/**
 * A model and a container of the same name beside it: KServe's shape takes it, and its users have such manifests, so it is stored, with a warning, and
 * not carried out.
 */
export function doubleImplementation(object: JsonObject): StatusCause | undefined {
  const predictor = asObject(asObject(object["spec"])["predictor"]);
  const isDouble =
    isObject(predictor["model"]) && asObjects(predictor["containers"]).some(({ name }) => name === MAIN_CONTAINER);
  return isDouble
    ? invalid("spec.predictor", `has model and containers (with ${MAIN_CONTAINER}); give exactly one of them`)
    : undefined;
}

/** Whether a ClusterStorageContainer fetches a URI. */
export type IsFetched = (uri: string) => boolean;

/** All faults of an InferenceService that was completed; `old` is the stored one it replaces. */
export function inferenceServiceFaults(
  object: JsonObject,
  old?: JsonObject,
  isFetched: IsFetched = () => false,
): StatusCause[] {
  const spec = asObject(object["spec"]);
  const predictor = asObject(spec["predictor"]);
  const { transformer, explainer } = spec;
  return [
    ...nameFaults(asString(asObject(object["metadata"])["name"])),
    ...modeFaults(object, old),
    ...autoscalerFaults(object),
    ...metricFaults(object),
    ...promotionSettings(object).faults,
    ...policyFaults(object),
    ...predictorFaults(predictor, "spec.predictor", isFetched),
    ...workerFaults(object, predictor),
    ...(isObject(transformer) ? transformerFaults(transformer) : []),
    ...(isObject(explainer) ? explainerFaults(explainer) : []),
    ...canaryFaults(spec, predictor, isFetched),
    ...renameFaults(predictor, asObject(asObject(asObject(old)["spec"])["predictor"])),
  ];
}

function nameFaults(name: string): StatusCause[] {
  if (!/^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(name))
    return [
      invalid(
        "metadata.name",
        `${JSON.stringify(name)} must begin with a letter and consist of lower case letters, digits and -`,
      ),
    ];
  return name.length > MAX_NAME
    ? [invalid("metadata.name", `is longer than ${MAX_NAME} characters: names of Services are made of it`)]
    : [];
}

function modeFaults(object: JsonObject, old: JsonObject | undefined): StatusCause[] {
  const field = `metadata.annotations[${KSERVE.deploymentMode}]`;
  const asked = rawAnnotation(object, KSERVE.deploymentMode);
  if (asked === undefined) return [];
  const mode = modeOf(asked);
  if (mode === undefined)
    return [invalid(field, `${asked} is none of ${DEPLOYMENT_MODES.join(", ")}${meant(asked, DEPLOYMENT_MODES)}`)];
  const before = modeOf(asString(asObject(asObject(old)["status"])["deploymentMode"]));
  return before === undefined || before === mode
    ? []
    : [
        forbidden(
          field,
          `it is deployed as ${before}, which does not change; delete it and create it again for ${mode}`,
        ),
      ];
}

function autoscalerFaults(object: JsonObject): StatusCause[] {
  const asked = rawAnnotation(object, KSERVE.autoscalerClass);
  return asked === undefined || AUTOSCALERS.includes(asked)
    ? []
    : [
        invalid(
          `metadata.annotations[${KSERVE.autoscalerClass}]`,
          `${asked} is none of ${AUTOSCALERS.join(", ")}${meant(asked, AUTOSCALERS)}`,
        ),
      ];
}

/** Metrics that a class does not go by, and annotations that are figures. */
function metricFaults(object: JsonObject): StatusCause[] {
  const asked = rawAnnotation(object, KSERVE.autoscalerClass);
  const faults: StatusCause[] = [];
  for (const name of ["predictor", "transformer", "explainer"]) {
    const metric = asString(asObject(asObject(object["spec"])[name])["scaleMetric"]);
    const field = `spec.${name}.scaleMetric`;
    if (asked === "keda" && metric !== "")
      faults.push(forbidden(field, "autoscalerClass keda goes by autoScaling.metrics: name the metric there"));
    if (asked === "hpa" && (metric === "concurrency" || metric === "rps"))
      faults.push(
        invalid(
          field,
          `autoscalerClass hpa goes by cpu or memory, not ${metric}: leave the class out to scale by requests`,
        ),
      );
  }
  const metric = rawAnnotation(object, KSERVE.metrics) ?? "cpu";
  if (!["cpu", "memory"].includes(metric))
    faults.push(
      invalid(
        `metadata.annotations[${KSERVE.metrics}]`,
        `${metric} is none of cpu, memory; requests are counted with scaleMetric concurrency or rps`,
      ),
    );
  const target = rawAnnotation(object, KSERVE.targetUtilization) ?? "80";
  if (!/^([1-9]\d?|100)$/.test(target))
    faults.push(
      invalid(
        `metadata.annotations[${KSERVE.targetUtilization}]`,
        `must be a whole percentage, 1 to 100, not ${target}`,
      ),
    );
  return faults;
}

const meant = (word: string, known: readonly string[]): string => {
  const near = didYouMean(word, known);
  return near === undefined ? "" : `; did you mean ${near}?`;
};

function predictorFaults(predictor: JsonObject, path: string, isFetched: IsFetched): StatusCause[] {
  const named = [...LEGACY_FRAMEWORKS, "model"].filter((name) => isObject(predictor[name]));
  const containers = asObjects(predictor["containers"]);
  const custom =
    containers.some(({ name }) => name === MAIN_CONTAINER) || (named.length === 0 && containers.length > 0);
  const found = [...named, ...(custom ? [`containers (with ${MAIN_CONTAINER})`] : [])];
  const faults: StatusCause[] = [];
  if (found.length === 0) faults.push(invalid(path, "needs a model, or containers of its own"));
  if (found.length > 1 && !(named.length === 1 && custom))
    faults.push(invalid(path, `has ${found.join(" and ")}; give exactly one of them`));
  const { model } = predictor;
  if (isObject(model)) faults.push(...modelFaults(model, `${path}.model`));
  return [...faults, ...storageFaults(predictor, path, isFetched), ...componentFaults(predictor, path)];
}

function modelFaults(model: JsonObject, path: string): StatusCause[] {
  const faults: StatusCause[] = [];
  const format = asString(asObject(model["modelFormat"])["name"]);
  if (format === "") faults.push(invalid(`${path}.modelFormat.name`, "must say what the model is written in"));
  const protocol = model["protocolVersion"];
  if (typeof protocol === "string" && !PROTOCOLS.some((known) => known === protocol))
    faults.push(
      invalid(`${path}.protocolVersion`, `${protocol} is none of ${PROTOCOLS.join(", ")}${meant(protocol, PROTOCOLS)}`),
    );
  return faults;
}

function storageFaults(predictor: JsonObject, path: string, isFetched: IsFetched): StatusCause[] {
  const model = asObject(predictor["model"]);
  const uri = model["storageUri"];
  const several = asObjects(predictor["storageUris"]);
  const faults: StatusCause[] = [];
  if (typeof uri === "string") {
    const fault = storageUriFault(uri, isFetched);
    if (fault !== undefined) faults.push(invalid(`${path}.model.storageUri`, `${uri}: ${fault}`));
    if (several.length > 0) faults.push(invalid(`${path}.storageUris`, "cannot be given beside model.storageUri"));
  }
  return [...faults, ...mountFaults(several, path, isFetched)];
}

/** Where several things are put: each elsewhere, below one folder. Those of claims are volumes of their own. */
function mountFaults(several: readonly JsonObject[], path: string, isFetched: IsFetched): StatusCause[] {
  const faults: StatusCause[] = [];
  const seen = new Set<string>();
  const fetched: string[] = [];
  for (const [index, entry] of several.entries()) {
    const [uri, mountPath] = [asString(entry["uri"]), asString(entry["mountPath"] ?? "/mnt/models")];
    const at = `${path}.storageUris[${index}]`;
    const fault = storageUriFault(uri, isFetched);
    if (fault !== undefined) faults.push(invalid(`${at}.uri`, `${uri}: ${fault}`));
    if (!mountPath.startsWith("/")) faults.push(invalid(`${at}.mountPath`, "must begin with /"));
    if (mountPath.split("/").includes("..")) faults.push(invalid(`${at}.mountPath`, "must not lead upwards (`..`)"));
    if (seen.has(mountPath)) faults.push(invalid(`${at}.mountPath`, `${mountPath} is given twice`));
    seen.add(mountPath);
    if (!uri.startsWith("pvc://")) fetched.push(mountPath);
  }
  const [first] = fetched[0]?.split("/").filter((part) => part !== "") ?? [];
  if (
    fetched.some((place) => place.split("/").find((part) => part !== "") !== first) ||
    (fetched.length > 0 && first === undefined)
  )
    faults.push(invalid(`${path}.storageUris`, `mount paths need a common folder below /: ${fetched.join(", ")}`));
  return faults;
}

function transformerFaults(transformer: JsonObject): StatusCause[] {
  const path = "spec.transformer";
  const none = asObjects(transformer["containers"]).length === 0;
  return [...(none ? [invalid(path, "needs containers")] : []), ...componentFaults(transformer, path)];
}

function explainerFaults(explainer: JsonObject): StatusCause[] {
  const path = "spec.explainer";
  const found = [isObject(explainer["art"]), asObjects(explainer["containers"]).length > 0].filter(Boolean).length;
  const fault =
    found === 0 ? "needs art, or containers of its own" : "has art and containers; give exactly one of them";
  return [...(found === 1 ? [] : [invalid(path, fault)]), ...componentFaults(explainer, path)];
}

const OF_THE_STABLE = ["maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec"];

function canaryFaults(spec: JsonObject, stable: JsonObject, isFetched: IsFetched): StatusCause[] {
  const canaries = asObjects(spec["canary"]);
  const faults: StatusCause[] = [];
  const names = new Set([asString(stable["name"])]);
  const stableMin = asNumber(stable["minReplicas"]) ?? 1;
  for (const [index, canary] of canaries.entries()) {
    const path = `spec.canary[${index}].predictor`;
    const predictor = asObject(canary["predictor"]);
    const name = asString(predictor["name"]);
    if (name === "") faults.push(invalid(`${path}.name`, "is needed: it tells the canary from the others"));
    else if (!/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/.test(name))
      faults.push(invalid(`${path}.name`, `${name} must be lower case letters, digits and -, at most 22`));
    else if (names.has(name)) faults.push(invalid(`${path}.name`, `${name} is the name of another predictor`));
    names.add(name);
    for (const field of OF_THE_STABLE)
      if (predictor[field] !== undefined) faults.push(forbidden(`${path}.${field}`, "follows from spec.predictor's"));
    if ((asNumber(predictor["minReplicas"]) ?? 0) > stableMin)
      faults.push(invalid(`${path}.minReplicas`, `must not be more than spec.predictor's, ${stableMin}`));
    faults.push(...predictorFaults(predictor, path, isFetched));
  }
  const sum = canaries.reduce((total, canary) => total + (asNumber(canary["trafficPercent"]) ?? 0), 0);
  if (sum > 100) faults.push(invalid("spec.canary", `shares add up to ${sum} %; they must not exceed 100`));
  if (canaries.length > 0 && stable["canaryTrafficPercent"] !== undefined)
    faults.push(
      invalid("spec.predictor.canaryTrafficPercent", "cannot be given beside spec.canary: use one of the two ways"),
    );
  return faults;
}

/** The name is that of a Deployment: giving the same model another one would start it again for nothing. */
function renameFaults(predictor: JsonObject, old: JsonObject): StatusCause[] {
  if (Object.keys(old).length === 0 || asString(predictor["name"]) === asString(old["name"])) return [];
  const uri = (of: JsonObject): unknown => asObject(of["model"])["storageUri"];
  return typeof uri(predictor) === "string" && uri(predictor) === uri(old)
    ? [invalid("spec.predictor.name", "changes without model.storageUri: the same model would be started again")]
    : [];
}
