/** V1's paths: KServe's, and TensorFlow Serving's dialect beside them. */

import { type Http1Answer, HttpError } from "../../kernel/http1/index.js";
import type { ServerContext } from "./context.js";
import { jsonAnswer } from "./http.js";
import { predict, type Wanted } from "./http-inference.js";
import type { Endpoint } from "./paths.js";

/** `GET /v1/models`: V1's list of names, with OpenAI's list beside it where there are text models, as both have this path. */
export async function v1Models(context: ServerContext): Promise<Http1Answer> {
  const { describeOpenAiModel } = await import("./openai/models.js");
  const { repository } = context;
  const data = repository.names().flatMap((name) => describeOpenAiModel(context, name) ?? []);
  return jsonAnswer({ models: repository.names(), ...(data.length === 0 ? {} : { object: "list", data }) });
}

const MODEL = "/v1/models/{model_name}";

/** `/v1/models/…`; `segments` are what follows. */
export function v1Endpoint(segments: readonly string[], context: ServerContext): Endpoint | undefined {
  const last = segments.at(-1) ?? "";
  const colon = last.lastIndexOf(":");
  const verb = colon < 0 ? "" : last.slice(colon + 1);
  const [name, ...rest] = [...segments.slice(0, -1), colon < 0 ? last : last.slice(0, colon)];
  if (name === undefined || name === "") return undefined;
  const isMetadata = rest.at(-1) === "metadata" && verb === "";
  const place = isMetadata ? rest.slice(0, -1) : rest;
  if (place.length !== 0 && (place.length !== 2 || (place[0] !== "versions" && place[0] !== "labels")))
    return undefined;
  const wanted = (): Wanted => ({ name, version: versionOf(place, name, context) });
  const base = place.length === 0 ? MODEL : `${MODEL}/${place[0] ?? ""}/{version}`;
  if (isMetadata) {
    const pattern = `${base}/metadata`;
    return { pattern, GET: () => signature(context, wanted()) };
  }
  const pattern = verb === "" ? base : `${base}:${verb}`;
  const isInference = true;
  switch (verb) {
    case "predict":
      return { pattern, isInference, POST: (request) => predict(request, context, wanted()) };
    case "classify":
    case "regress":
      return {
        pattern,
        isInference,
        POST: async (request) => (await import("./tfserving/judge.js")).judge(verb, request, context, wanted()),
      };
    case "explain":
      return {
        pattern,
        isInference,
        POST: async (request) => (await import("./explain-routes.js")).explainInstances(request, context, wanted()),
      };
    case "":
      return { pattern, GET: () => status(context, wanted()) };
    default:
      return undefined;
  }
}

const find = ({ inference }: ServerContext, { name, version }: Wanted) => inference.find(name, version);

/** `/versions/V`, or `/labels/L` by the names that `config.json` gives versions. Throws 404. */
function versionOf(place: readonly string[], name: string, { repository }: ServerContext): string | undefined {
  const [kind, value] = place;
  if (kind !== "labels" || value === undefined) return value;
  const labels = repository.labels(name);
  const version = Object.hasOwn(labels, value) ? labels[value] : undefined;
  if (version !== undefined) return version;
  throw new HttpError(404, `model ${name} has no version with the label ${value.slice(0, 100)}`);
}

async function signature(context: ServerContext, wanted: Wanted): Promise<Http1Answer> {
  const { signatureOf } = await import("./tfserving/metadata.js");
  return jsonAnswer(signatureOf(find(context, wanted)));
}

/** What KServe, TensorFlow Serving and OpenAI say of a model at this path, in one object. */
async function status(context: ServerContext, wanted: Wanted): Promise<Http1Answer> {
  const { describeOpenAiModel } = await import("./openai/models.js");
  const model = find(context, wanted);
  const versions = wanted.version === undefined ? context.repository.versions(model.name) : [model.version];
  return jsonAnswer({
    name: model.name,
    ready: true,
    model_version_status: [...versions].reverse().map((version) => ({
      ...{ version, state: "AVAILABLE", status: { error_code: "OK", error_message: "" } },
    })),
    ...describeOpenAiModel(context, model.name),
  });
}
