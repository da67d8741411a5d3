/** What is filled in and refused when InferenceServices are written. */

import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { Level, ModuleAdmission } from "../../../kernel/module/types.js";
import { asObject, asObjects, asString, compilePattern } from "../../../kernel/schema/index.js";
import { completeInferenceService } from "./defaults.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import { isFetchedBy } from "./storage-containers.js";
import { ClusterStorageContainerKind } from "./storage-kinds.js";
import { doubleImplementation, inferenceServiceFaults, invalid } from "./validation.js";

/** In members, where they are carried out, and in the hub, where they wait for a policy that takes them to members. */
export function inferenceServiceAdmission(level: Level): ModuleAdmission {
  return {
    kind: InferenceServiceKind,
    level,
    complete: (object, old) => completeInferenceService(object, old),
    review: async (object, old, cluster) => {
      const faults = inferenceServiceFaults(object, old);
      if (faults.length === 0) return { faults, warnings: warningsOf(object, level) };
      // Somebody may have brought what fetches it.
      const { items } = await cluster.client.resource(ClusterStorageContainerKind).list();
      const isFetched = (uri: string): boolean => isFetchedBy(items, uri);
      return { faults: inferenceServiceFaults(object, old, isFetched), warnings: warningsOf(object, level) };
    },
  };
}

/** Patterns that are none. */
export function storageContainerAdmission(level: Level): ModuleAdmission {
  return {
    kind: ClusterStorageContainerKind,
    level,
    review: async (object) => {
      const formats = asObjects(asObject(object["spec"])["supportedUriFormats"]);
      const faults = formats.flatMap(({ prefix, regex }, index) => {
        const field = `spec.supportedUriFormats[${index}]`;
        if ((asString(prefix) === "") === (asString(regex) === ""))
          return [invalid(field, "give either a prefix or a regex")];
        return asString(regex) === "" || isPattern(asString(regex))
          ? []
          : [invalid(`${field}.regex`, `${asString(regex)} is no regular expression`)];
      });
      return { faults, warnings: [] };
    },
  };
}

function isPattern(text: string): boolean {
  try {
    compilePattern(text);
    return true;
  } catch {
    return false;
  }
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
