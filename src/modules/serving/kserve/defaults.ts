/** What an InferenceService means that its writer did not say. Pure; saying it twice changes nothing. */
import { isDeepStrictEqual } from "node:util";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, isObject, parseJson } from "../../../kernel/schema/index.js";
import { OWN, rawAnnotation } from "./annotations.js";
import { LEGACY_FRAMEWORKS } from "./inference-service-kind.js";

/** Protocols from the simplest on; the order in which runtimes are preferred. */
export const PROTOCOLS = ["v1", "v2", "grpc-v1", "grpc-v2"] as const;

/** Formats whose servers speak the second protocol unless asked otherwise. */
const SECOND_PROTOCOL = new Set(["triton", "onnx", "huggingface"]);

/** Runtimes that speak the second protocol only. */
const SECOND_PROTOCOL_RUNTIMES = new Set(["kserve-mlserver", "kserve-tritonserver"]);

/**
 * Fills in, in place: frameworks become `model`, a model has a protocol, a logger a mode. Takes any object; `old` is the stored one that it replaces:
 * who applies a manifest with a framework's key again adds that key to the `model` that was made of it, and means the key.
 */
export function completeInferenceService(object: JsonObject, old?: JsonObject): void {
  const spec = object["spec"];
  if (!isObject(spec)) return;
  const before = asObject(asObject(old)["spec"]);
  const chosen = asObject(parseJson(rawAnnotation(object, OWN.chosenRuntime) ?? ""))["runtime"];
  completePredictor(spec["predictor"], before["predictor"], chosen);
  for (const name of ["transformer", "explainer"]) completeLogger(spec[name]);
  const canaries = predictorsIn(spec);
  const canariesBefore = predictorsIn(before);
  for (const canary of canaries)
    completePredictor(
      canary,
      canariesBefore.find(({ name }) => name === canary["name"]),
    );
}

const predictorsIn = (spec: JsonObject): JsonObject[] =>
  asObjects(spec["canary"]).flatMap(({ predictor }) => (isObject(predictor) ? [predictor] : []));

/** `chosen` is the runtime that nobody wrote into the model but the controller: it stays while it serves it. */
function completePredictor(predictor: unknown, before: unknown, chosen?: unknown): void {
  if (!isObject(predictor)) return;
  const present = LEGACY_FRAMEWORKS.filter((name) => isObject(predictor[name]));
  const [name] = present;
  if (isRemainder(predictor)) delete predictor["model"];
  const written = predictor["model"];
  const isLeftOver = isObject(written) && isDeepStrictEqual(written, asObject(before)["model"]);
  // Several implementations are a fault, which is for whoever checks.
  if (name !== undefined && present.length === 1 && (written === undefined || isLeftOver)) {
    const { runtime } = asObject(written);
    const kept = runtime !== undefined && runtime === chosen ? { runtime } : {};
    predictor["model"] = { modelFormat: { name }, ...kept, ...asObject(predictor[name]) };
    delete predictor[name];
  }
  const model = predictor["model"];
  if (isObject(model) && model["protocolVersion"] === undefined) model["protocolVersion"] = protocolOf(model);
  completeLogger(predictor);
}

/** Who replaces a model that he applied by something else takes back what he wrote, not what was filled in. */
function isRemainder(predictor: JsonObject): boolean {
  const model = predictor["model"];
  const others = ["containers", ...LEGACY_FRAMEWORKS].some((name) => predictor[name] !== undefined);
  if (!isObject(model) || !others || asObject(model["modelFormat"])["name"]) return false;
  return Object.keys(model).every((name) => ["modelFormat", "runtime", "protocolVersion"].includes(name));
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
