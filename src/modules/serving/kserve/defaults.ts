/** What an InferenceService means that its writer did not say. Pure; saying it twice changes nothing. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, isObject } from "../../../kernel/schema/index.js";
import { LEGACY_FRAMEWORKS } from "./inference-service-kind.js";

/** Protocols from the simplest on; the order in which runtimes are preferred. */
export const PROTOCOLS = ["v1", "v2", "grpc-v1", "grpc-v2"] as const;

/** Formats whose servers speak the second protocol unless asked otherwise. */
const SECOND_PROTOCOL = new Set(["triton", "onnx", "huggingface"]);

/** Runtimes that speak the second protocol only. */
const SECOND_PROTOCOL_RUNTIMES = new Set(["kserve-mlserver", "kserve-tritonserver"]);

/** Fills in, in place: frameworks become `model`, a model has a protocol, a logger a mode. Takes any object. */
export function completeInferenceService(object: JsonObject): void {
  const spec = object["spec"];
  if (!isObject(spec)) return;
  completePredictor(spec["predictor"]);
  for (const name of ["transformer", "explainer"]) completeLogger(spec[name]);
  const canaries = spec["canary"];
  if (Array.isArray(canaries)) for (const canary of canaries) completePredictor(asObject(canary)["predictor"]);
}

function completePredictor(predictor: unknown): void {
  if (!isObject(predictor)) return;
  const present = LEGACY_FRAMEWORKS.filter((name) => isObject(predictor[name]));
  const [name] = present;
  // Several implementations are a fault, which is for whoever checks.
  if (name !== undefined && present.length === 1 && predictor["model"] === undefined) {
    predictor["model"] = { modelFormat: { name }, ...asObject(predictor[name]) };
    delete predictor[name];
  }
  const model = predictor["model"];
  if (isObject(model) && model["protocolVersion"] === undefined) model["protocolVersion"] = protocolOf(model);
  completeLogger(predictor);
}

function protocolOf(model: JsonObject): string {
  const format = asObject(model["modelFormat"])["name"];
  const { runtime } = model;
  const second =
    (typeof format === "string" && SECOND_PROTOCOL.has(format)) ||
    (typeof runtime === "string" && SECOND_PROTOCOL_RUNTIMES.has(runtime));
  return second ? "v2" : "v1";
}

function completeLogger(component: unknown): void {
  if (!isObject(component)) return;
  const { logger } = component;
  if (isObject(logger) && logger["mode"] === undefined) logger["mode"] = "all";
}
