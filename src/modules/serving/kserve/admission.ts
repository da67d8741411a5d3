/** What is filled in and refused when InferenceServices are written. */

import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { Level, ModuleAdmission } from "../../../kernel/module/types.js";
import { asObject, asString } from "../../../kernel/schema/index.js";
import { completeInferenceService } from "./defaults.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import { doubleImplementation, inferenceServiceFaults } from "./validation.js";

/** In members, where they are carried out, and in the hub, where they wait for a policy that takes them to members. */
export function inferenceServiceAdmission(level: Level): ModuleAdmission {
  return {
    kind: InferenceServiceKind,
    level,
    complete: (object) => completeInferenceService(object),
    review: async (object, old) => ({
      faults: inferenceServiceFaults(object, old),
      warnings: warningsOf(object, level),
    }),
  };
}

function warningsOf(object: JsonObject, level: Level): string[] {
  const warnings: string[] = [];
  if (level === "continuum")
    warnings.push(
      "the hub runs no models: this InferenceService runs where a PropagationPolicy takes it, or as a manifest of a HyperMLService",
    );
  const double = doubleImplementation(object);
  if (double !== undefined) warnings.push(`${double.field} ${double.message}: nothing runs until then`);
  const model = asObject(asObject(asObject(object["spec"])["predictor"])["model"]);
  if (asString(model["name"]) !== "")
    warnings.push("spec.predictor.model.name is ignored: the container of a model is named kserve-container");
  return warnings;
}
