/** What is refused and said when InferenceGraphs are written. */
import {
  graphFaults,
  ineffectiveFields,
  patternFaults,
  patternsOf,
  STEP_URLS,
  stepUrl,
} from "../../../dataplane/graph/index.js";
import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { Level, ModuleAdmission } from "../../../kernel/module/types.js";
import { asObject, asObjects, asString } from "../../../kernel/schema/index.js";
import { OWN, rawAnnotation } from "./annotations.js";
import { componentFaults } from "./component-validation.js";
import { InferenceGraphKind } from "./graph-kind.js";
import { invalid } from "./validation.js";

/** All faults of an InferenceGraph. */
export function inferenceGraphFaults(object: JsonObject): StatusCause[] {
  const spec = asObject(object["spec"]);
  const patterns = patternsOf(rawAnnotation(object, OWN.propagate) ?? "");
  return [
    ...[...graphFaults(spec), ...patternFaults(patterns, `metadata.annotations[${OWN.propagate}]`)].map(
      ({ field, message }) => invalid(field, message),
    ),
    ...componentFaults(spec, "spec"),
    ...Object.entries(asObject(spec["routerTimeouts"])).flatMap(([name, seconds]) =>
      typeof seconds === "number" && seconds < 1 ? [invalid(`spec.routerTimeouts.${name}`, "must be at least 1")] : [],
    ),
  ];
}

/** Steps whose serviceUrl is no address, by field. */
export function wrongUrls(spec: JsonObject): { readonly field: string; readonly url: string }[] {
  const nodes = asObject(spec["nodes"]);
  return Object.keys(nodes).flatMap((name) =>
    asObjects(asObject(nodes[name])["steps"]).flatMap((step, index) => {
      const url = asString(step["serviceUrl"]);
      const field = `spec.nodes[${name}].steps[${index}].serviceUrl`;
      return url === "" || stepUrl(url) !== undefined ? [] : [{ field, url }];
    }),
  );
}

/** In members, where they are carried out, and in the hub, where they wait for a policy that takes them to members. */
export function inferenceGraphAdmission(level: Level): ModuleAdmission {
  return {
    kind: InferenceGraphKind,
    level,
    review: async (object) => {
      const faults = inferenceGraphFaults(object);
      if (faults.length > 0) return { faults, warnings: [] };
      const spec = asObject(object["spec"]);
      const hub =
        level === "continuum"
          ? ["the hub runs no models: this InferenceGraph runs where a PropagationPolicy takes it"]
          : [];
      const urls = wrongUrls(spec).map(
        ({ field, url }) => `${field}: ${url} is no address: ${STEP_URLS}; not ready until it is one`,
      );
      const idle = ineffectiveFields(spec).map((each) => `without effect: ${each}`);
      return { faults, warnings: [...hub, ...urls, ...idle] };
    },
  };
}
