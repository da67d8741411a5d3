/** What is refused when TrainedModels are written. */
import type { StatusCause } from "../../../kernel/errors/index.js";
import { type JsonObject, tryParseQuantity } from "../../../kernel/kinds/index.js";
import type { Level, ModuleAdmission } from "../../../kernel/module/types.js";
import { asObject, asString } from "../../../kernel/schema/index.js";
import { TrainedModelKind } from "./storage-kinds.js";
import { storageUriFault } from "./storage-uri.js";
import { invalid } from "./validation.js";

/** All faults of a TrainedModel; `old` is the stored one it replaces. */
export function trainedModelFaults(object: JsonObject, old?: JsonObject): StatusCause[] {
  const faults: StatusCause[] = [];
  const name = asString(asObject(object["metadata"])["name"]);
  const modelOf = (of: JsonObject): JsonObject => asObject(asObject(of["spec"])["model"]);
  const { storageUri, framework, memory } = modelOf(object);
  if (name !== "" && !/^[a-zA-Z0-9_-]+$/.test(name))
    faults.push(
      invalid("metadata.name", `${name} must be letters, digits, - and _: it is the model's name in addresses`),
    );
  if (asString(asObject(object["spec"])["inferenceService"]) === "")
    faults.push(invalid("spec.inferenceService", "must name the InferenceService whose pods load it"));
  if (asString(framework) === "") faults.push(invalid("spec.model.framework", "must say what the model is written in"));
  const uri = asString(storageUri);
  const fault = storageUriFault(uri);
  if (fault !== undefined) faults.push(invalid("spec.model.storageUri", `${uri} ${fault}`));
  const bytes = typeof memory === "string" || typeof memory === "number" ? tryParseQuantity(memory) : undefined;
  if (bytes !== undefined && bytes.nanos <= 0n) faults.push(invalid("spec.model.memory", "must be more than 0"));
  const before = old === undefined ? undefined : modelOf(old)["memory"];
  if (before !== undefined && (typeof before === "string" || typeof before === "number")) {
    const was = tryParseQuantity(before);
    if (was !== undefined && bytes !== undefined && was.nanos !== bytes.nanos)
      faults.push(
        invalid("spec.model.memory", `does not change: it is ${before}; delete the TrainedModel and make it anew`),
      );
  }
  return faults;
}

/** In members and in the hub. */
export const trainedModelAdmission = (level: Level): ModuleAdmission => ({
  kind: TrainedModelKind,
  level,
  review: async (object, old) => ({
    faults: trainedModelFaults(object, old),
    warnings:
      level === "continuum"
        ? ["the hub runs no models: this TrainedModel is loaded where a PropagationPolicy takes it"]
        : [],
  }),
});
