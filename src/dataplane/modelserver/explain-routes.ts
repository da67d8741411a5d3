/** Explanations over HTTP: the body of an inference request, V1's or V2's, and how to explain in its `parameters`. */
import { type Http1Answer, type Http1Request, HttpError } from "../../kernel/http1/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { didYouMean } from "../../kernel/schema/index.js";
import { parseJson, type TensorValue } from "../../kernel/tensors/index.js";
import type { ServerContext } from "./context.js";
import { jsonAnswer } from "./http.js";
import { counted, type Wanted } from "./http-inference.js";
import type { ServedModel } from "./repository.js";
import { readPredictRequest } from "./v1.js";
import { readInferRequest, readText } from "./v2.js";

/** V1's `:explain`. */
export function explainInstances(request: Http1Request, context: ServerContext, wanted: Wanted): Promise<Http1Answer> {
  return explainWith(request, context, wanted, (body, model) => readPredictRequest(body, model).inputs);
}

/** `/v2/models/NAME/explain`: an inference request, answered with an explanation. */
export function explainTensors(request: Http1Request, context: ServerContext, wanted: Wanted): Promise<Http1Answer> {
  const header = request.header("inference-header-content-length");
  return explainWith(request, context, wanted, (body, model) => readInferRequest(body, header, model).inputs);
}

function explainWith(
  request: Http1Request,
  context: ServerContext,
  wanted: Wanted,
  read: (body: Buffer, model: ServedModel) => readonly TensorValue[],
): Promise<Http1Answer> {
  return counted(request, context, wanted, async ({ model, body, caller, marks }) => {
    if (model.explain === undefined)
      throw new HttpError(404, `model ${model.name} has no explainer: it does not take and give rows of numbers`);
    const inputs = read(body, model);
    const length = Number(request.header("inference-header-content-length") ?? body.length);
    const parameters = withMethod(parametersOf(body.subarray(0, length)), model);
    marks.read = context.clock.monotonicMs();
    const explanation = await model.explain({ inputs, parameters, isGone: caller.isGone });
    marks.ran = context.clock.monotonicMs();
    return jsonAnswer({ model_name: model.name, model_version: model.version, ...explanation });
  });
}

const KNOWN = ["method", "output", "background", "max_evaluations", "seed", "labels", "loss", "repeats"];

/** An explainer is the model's, by `parameters.explainer` of its configuration, or what the request's parameters ask for: none is guessed. */
function withMethod(parameters: JsonObject, { name, config }: ServedModel): JsonObject {
  // Others may be a client's own; one that is nearly ours is a slip, and would be explained otherwise than was meant.
  for (const given of Object.keys(parameters)) {
    const meant = KNOWN.includes(given) ? undefined : didYouMean(given, KNOWN);
    if (meant !== undefined) throw new HttpError(400, `there is no parameter ${given}; did you mean ${meant}?`);
  }
  if (parameters["method"] !== undefined) return parameters;
  const entry = member(member(config, "parameters"), "explainer");
  const method = typeof entry === "string" ? entry : member(entry, "string_value");
  if (typeof method === "string") return { ...parameters, method };
  if (Object.keys(parameters).length > 0) return parameters;
  throw new HttpError(
    404,
    `model ${name} has no explainer; name shapley or permutation_importance in parameters.method, or in its config.json as parameters.explainer`,
  );
}

const member = (value: Json | undefined, key: string): Json | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value[key] : undefined;

function parametersOf(body: Buffer): JsonObject {
  const request = parseJson(readText(body));
  const { parameters = {} } = typeof request === "object" && request !== null && !Array.isArray(request) ? request : {};
  if (typeof parameters !== "object" || parameters === null || Array.isArray(parameters))
    throw new HttpError(400, "parameters must be an object");
  return JSON.parse(JSON.stringify(parameters));
}
