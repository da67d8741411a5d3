/** V2's paths beside infer: health, metadata, repository, configuration, statistics, settings. */
import { type Http1Answer, type Http1Request, HttpError, readBody } from "../../kernel/http1/index.js";
import { type ExactJson, parseJson } from "../../kernel/tensors/index.js";
import type { ServerContext } from "./context.js";
import { completeConfig, describeModel, statisticsOf } from "./describe.js";
import { jsonAnswer } from "./http.js";
import { infer, type Wanted } from "./http-inference.js";
import type { Endpoint } from "./paths.js";
import type { ServedModel } from "./repository.js";
import { changeModel, listIndex } from "./repository-api.js";
import type { LoadParameters } from "./sent-models.js";
import { isJsonMap, readText } from "./v2.js";

/** Paths without a name in them. */
export function v2Fixed(context: ServerContext): Readonly<Record<string, Endpoint>> {
  const { repository, settings } = context;
  const at = (pattern: string, endpoint: Omit<Endpoint, "pattern">): Readonly<Record<string, Endpoint>> => ({
    [pattern]: { pattern, ...endpoint },
  });
  return {
    ...at("/v2/models", { GET: () => jsonAnswer({ models: repository.names() }) }),
    ...at("/v2/health/live", { GET: () => jsonAnswer({ live: true }) }),
    ...at("/v2/health/ready", {
      GET: () => {
        const reason = context.notReady();
        if (reason !== undefined) throw new HttpError(503, reason, { "retry-after": "1" });
        return jsonAnswer({ ready: true });
      },
    }),
    ...at("/v2/repository/index", {
      POST: async (request) => {
        const { ready = false } = await readMap(request, 65_536);
        if (typeof ready !== "boolean") throw new HttpError(400, "ready must be true or false");
        return jsonAnswer(listIndex(context, ready));
      },
    }),
    ...at("/v2/models/stats", { GET: () => statistics(context) }),
    ...at("/v2/logging", {
      GET: () => jsonAnswer(settings.logging()),
      POST: async (request) => {
        settings.setLogging(await readMap(request, 65_536));
        return jsonAnswer(settings.logging());
      },
    }),
    ...at("/v2/trace/setting", tracing(context)),
    ...at("/v2/systemsharedmemory/status", { GET: () => jsonAnswer([]) }),
    ...at("/v2/cudasharedmemory/status", { GET: () => jsonAnswer([]) }),
    ...at("/v2/systemsharedmemory/unregister", { POST: () => jsonAnswer({}) }),
    ...at("/v2/cudasharedmemory/unregister", { POST: () => jsonAnswer({}) }),
  };
}

function tracing({ settings }: ServerContext): Omit<Endpoint, "pattern"> {
  return {
    GET: () => jsonAnswer(settings.tracing()),
    POST: async (request) => {
      settings.setTracing(await readMap(request, 65_536));
      return jsonAnswer(settings.tracing());
    },
  };
}

/** A body that is an object, or empty. Throws 400. */
async function readMap(request: Http1Request, limit: number): Promise<{ [key: string]: ExactJson }> {
  const body = await readBody(request, limit);
  const value = body.length === 0 ? {} : parseJson(readText(body));
  if (!isJsonMap(value)) throw new HttpError(400, "the request must be an object");
  return value;
}

function statistics(
  { metrics, inference }: ServerContext,
  wanted?: { name: string; version: string | undefined },
): Http1Answer {
  if (wanted !== undefined) inference.find(wanted.name, wanted.version);
  const chosen = metrics
    .all()
    .filter(({ model }) => wanted === undefined || model === wanted.name)
    .filter(({ version }) => wanted?.version === undefined || version === wanted.version);
  return jsonAnswer({ model_stats: chosen.map(statisticsOf) });
}

/** A model whose worker failed is not ready until it is back; requests may still be sent to it. */
function findHealthy({ inference }: ServerContext, { name, version }: Wanted): ServedModel {
  const model = inference.find(name, version);
  if (model.unhealthy !== undefined)
    throw new HttpError(503, `model ${name}: ${model.unhealthy}`, { "retry-after": "1" });
  return model;
}

const MODEL = "/v2/models/{model_name}";

/** `/v2/models/…`; `segments` are what follows. */
export function v2Endpoint(segments: readonly string[], context: ServerContext): Endpoint | undefined {
  const [name = "", ...rest] = segments;
  if (name === "") return undefined;
  const version = rest[0] === "versions" && rest[1] !== undefined ? rest[1] : undefined;
  const action = (version === undefined ? rest : rest.slice(2)).join("/");
  const wanted = { name, version };
  const base = version === undefined ? MODEL : `${MODEL}/versions/{model_version}`;
  const pattern = action === "" ? base : `${base}/${action}`;
  const { repository, inference } = context;
  const isInference = true;
  switch (action) {
    case "infer":
      return { pattern, isInference, POST: (request) => infer(request, context, wanted) };
    case "explain":
      return {
        pattern,
        isInference,
        POST: async (request) => (await import("./explain-routes.js")).explainTensors(request, context, wanted),
      };
    case "":
      return {
        pattern,
        GET: () => jsonAnswer(describeModel(inference.find(name, version), repository.versions(name))),
      };
    case "ready":
      return { pattern, GET: () => jsonAnswer({ name: findHealthy(context, wanted).name, ready: true }) };
    case "config":
      return {
        pattern,
        GET: () => jsonAnswer(completeConfig(inference.find(name, version), repository.config(name))),
      };
    case "stats":
      return { pattern, GET: () => statistics(context, wanted) };
    case "trace/setting":
      return { pattern, ...tracing(context) };
    case "generate":
      return {
        pattern,
        isInference,
        POST: async (request) => (await import("./text/generate.js")).generate(request, context, wanted),
      };
    case "generate_stream":
      return {
        pattern,
        isInference,
        POST: async (request) => (await import("./text/generate.js")).generateStream(request, context, wanted),
      };
    default:
      return undefined;
  }
}

/** `/v2/repository/configured/…`: how a model is that a file lists. */
export function configuredEndpoint(segments: readonly string[], { configured }: ServerContext): Endpoint | undefined {
  const [name = ""] = segments;
  if (segments.length !== 1 || configured === undefined) return undefined;
  return {
    pattern: "/v2/repository/configured/{model_name}",
    GET: () => {
      const state = configured.state(name);
      if (state === undefined) throw new HttpError(404, `no model ${name.slice(0, 60)} is listed`);
      return jsonAnswer({ ...state });
    },
  };
}

/** `/v2/repository/models/…`; `segments` are what follows. */
export function repositoryEndpoint(segments: readonly string[], context: ServerContext): Endpoint | undefined {
  const [name = "", action] = segments;
  if (segments.length !== 2 || (action !== "load" && action !== "unload")) return undefined;
  return {
    pattern: `/v2/repository/models/{model_name}/${action}`,
    POST: async (request) => {
      const { parameters = {} } = await readMap(request, context.maxBodyBytes);
      if (!isJsonMap(parameters)) throw new HttpError(400, "parameters must be an object");
      await changeModel(context, action, name, loadParameters(parameters));
      return jsonAnswer({ name, state: action === "load" ? "READY" : "UNAVAILABLE" });
    },
  };
}

function loadParameters(parameters: { [key: string]: ExactJson }): LoadParameters {
  const values: [string, string | number | bigint | boolean][] = [];
  for (const [key, value] of Object.entries(parameters)) {
    if (typeof value === "object")
      throw new HttpError(400, `parameter ${JSON.stringify(key.slice(0, 60))} must be a value`);
    values.push([key, value]);
  }
  return Object.fromEntries(values);
}

/** `/v2/systemsharedmemory/…` and `/v2/cudasharedmemory/…`: there is none, and nothing to end. */
export function sharedMemoryEndpoint(segments: readonly string[]): Endpoint | undefined {
  const [kind, region, name, action] = segments;
  const pattern = `/v2/${kind === "cudasharedmemory" ? kind : "systemsharedmemory"}/region/{region_name}/{action}`;
  if (region !== "region" || name === undefined) return undefined;
  if (action === "unregister") return { pattern, POST: () => jsonAnswer({}) };
  if (action === "status") return { pattern, GET: () => jsonAnswer([]) };
  if (action !== "register") return undefined;
  return {
    pattern,
    POST: () => {
      throw new HttpError(400, "shared memory is not offered; send tensors with the request");
    },
  };
}
