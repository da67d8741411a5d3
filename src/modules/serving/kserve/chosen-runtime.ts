/** The runtime that was chosen for a model is written into its spec, as KServe does, with what it was chosen for: a model that changes its format is chosen for anew. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asString, isObject, parseJson } from "../../../kernel/schema/index.js";
import { annotationOf, OWN } from "./annotations.js";
import type { InferenceService } from "./inference-service-kind.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import type { ModelRequest } from "./selection.js";
import type { Tools } from "./tools.js";

const MANAGER = "inferenceservice-runtime";

/** What a runtime was chosen for. */
const keyOf = ({ format, version, protocol, multiNode, multiModel }: ModelRequest): string =>
  [format, version ?? "", protocol, ...(multiNode ? ["nodes"] : []), ...(multiModel ? ["models"] : [])].join("/");

/** The runtime in a predictor's model that nobody wrote but this controller; `undefined` for others. */
export function chosenRuntime(service: InferenceService, model: JsonObject): string | undefined {
  const runtime = asString(model["runtime"]);
  const noted = asObject(parseJson(annotationOf(service, OWN.chosenRuntime) ?? ""));
  return runtime !== "" && noted["runtime"] === runtime ? runtime : undefined;
}

/** Whether it was chosen for what is asked for now. */
export function isChosenFor(service: InferenceService, request: ModelRequest): boolean {
  return asObject(parseJson(annotationOf(service, OWN.chosenRuntime) ?? ""))["for"] === keyOf(request);
}

/** Writes it, once. */
export async function writeChosenRuntime(
  service: InferenceService,
  { request, runtime }: { readonly request: ModelRequest; readonly runtime: string },
  { context }: Tools,
): Promise<void> {
  const { name, namespace = "" } = service.metadata;
  const model = asObject(asObject(service.spec.predictor)["model"]);
  // What is still a framework's key becomes a model where it is admitted.
  if (!isObject(asObject(service.spec.predictor)["model"])) return;
  const noted = JSON.stringify({ runtime, for: keyOf(request) });
  if (model["runtime"] === runtime && annotationOf(service, OWN.chosenRuntime) === noted) return;
  const metadata = { name, annotations: { [OWN.chosenRuntime]: noted } };
  const options = { namespace, fieldManager: MANAGER, force: true };
  await context.cluster.client
    .resource(InferenceServiceKind)
    .apply({ metadata, spec: { predictor: { model: { runtime } } } }, options);
}

/** A predictor as its writer asked for it. */
export function withoutChosen(service: InferenceService, predictor: JsonObject): JsonObject {
  const { model } = predictor;
  if (!isObject(model) || chosenRuntime(service, model) === undefined) return predictor;
  const { runtime: _chosen, ...rest } = model;
  return { ...predictor, model: rest };
}
