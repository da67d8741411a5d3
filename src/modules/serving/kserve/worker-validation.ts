/** What no schema can say about a predictor over several nodes. Pure. */
import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { KSERVE, modeOf, rawAnnotation } from "./annotations.js";
import { PARALLEL_ENV } from "./workers.js";

const PATH = "spec.predictor";
const MAX_NAME = 63 - "-predictor-00001-worker".length;
/** One head speaks for all pods: nobody else says how many there are. */
const SCALED = ["scaleTarget", "scaleMetric", "autoScaling"];

const fault = (field: string, message: string): StatusCause => ({ reason: "FieldValueInvalid", field, message });

/** Faults of `workerSpec`, where there is one. */
export function workerFaults(object: JsonObject, predictor: JsonObject): StatusCause[] {
  const worker = predictor["workerSpec"];
  if (!isObject(worker)) return [];
  const at = `${PATH}.workerSpec`;
  const faults: StatusCause[] = [];
  for (const name of ["pipelineParallelSize", "tensorParallelSize"]) {
    const size = asNumber(worker[name]);
    if (size !== undefined && size < 1) faults.push(fault(`${at}.${name}`, `must be at least 1, not ${size}`));
  }
  // Pods of several nodes read the same volume.
  const uri = asString(asObject(predictor["model"])["storageUri"]);
  if (uri !== "" && !/^(pvc|oci)/.test(uri))
    faults.push(fault(at, `needs a model that all nodes have, from pvc:// or oci://, not ${uri}`));
  if (asString(asObject(object["metadata"])["name"]).length > MAX_NAME)
    faults.push(fault("metadata.name", `is longer than ${MAX_NAME} characters: labels of workers are made of it`));
  return [...faults, ...scaleFaults(object, predictor), ...environmentFaults(predictor, worker)];
}

function scaleFaults(object: JsonObject, predictor: JsonObject): StatusCause[] {
  const faults: StatusCause[] = [];
  const why = "with workerSpec there is one head with its workers";
  for (const name of ["minReplicas", "maxReplicas"]) {
    const count = asNumber(predictor[name]);
    const least = name === "maxReplicas" ? 0 : 1;
    if (count !== undefined && (count < least || count > 1)) faults.push(fault(`${PATH}.${name}`, `must be 1: ${why}`));
  }
  for (const name of SCALED)
    if (predictor[name] !== undefined) faults.push(fault(`${PATH}.${name}`, `cannot be given: ${why}`));
  const autoscaler = rawAnnotation(object, KSERVE.autoscalerClass) ?? "none";
  if (autoscaler !== "none" && autoscaler !== "external")
    faults.push(fault(`metadata.annotations[${KSERVE.autoscalerClass}]`, `must be none, not ${autoscaler}: ${why}`));
  if (modeOf(rawAnnotation(object, KSERVE.deploymentMode)) === "Knative")
    faults.push(
      fault(`metadata.annotations[${KSERVE.deploymentMode}]`, "must be Standard for a predictor with workerSpec"),
    );
  return faults;
}

function environmentFaults(predictor: JsonObject, worker: JsonObject): StatusCause[] {
  const said = (container: unknown, path: string): StatusCause[] =>
    asObjects(asObject(container)["env"]).flatMap(({ name }) =>
      name === PARALLEL_ENV.pipeline || name === PARALLEL_ENV.tensor
        ? [
            fault(
              `${path}.env`,
              `must not set ${name}: pipelineParallelSize and tensorParallelSize of workerSpec say that`,
            ),
          ]
        : [],
    );
  return [
    ...said(predictor["model"], `${PATH}.model`),
    ...asObjects(worker["containers"]).flatMap((container, index) =>
      said(container, `${PATH}.workerSpec.containers[${index}]`),
    ),
  ];
}
