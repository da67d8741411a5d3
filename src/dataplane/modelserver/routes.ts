import type { Clock } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { type Http1Answer, type Http1Request, HttpError } from "../../kernel/http1/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { parseJson } from "./exact-json.js";
import { ModelError } from "./failures.js";
import type { BodyCharge } from "./http.js";
import { errorAnswer, jsonAnswer, readBody } from "./http.js";
import type { ServerMetrics } from "./metrics.js";
import type { Repository, ServedModel } from "./repository.js";
import { readPredictRequest, writePredictAnswer } from "./v1.js";
import { readInferRequest, readText, writeInferAnswer } from "./v2.js";

/** What the routes answer from. */
export interface RouteOptions {
  readonly repository: Repository;
  readonly metrics: ServerMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly maxBodyBytes: number;
  /** Opens a charge on the memory for bodies. */
  readonly chargeBody: () => BodyCharge;
  /** `undefined` when the server may get requests, otherwise why not. */
  readonly notReady: () => string | undefined;
  /** Whether models may be loaded and unloaded by request. */
  readonly repositoryApi: boolean;
  readonly version: string;
}

type Method = "GET" | "POST";
type Handler = (request: Http1Request) => Promise<Http1Answer> | Http1Answer;
/** What a path offers, by method. */
type Endpoint = Partial<Record<Method, Handler>>;

/** Both sides of a server: answers, and the answer to what failed. `fail` never throws. */
export interface Routes {
  readonly answer: (request: Http1Request) => Promise<Http1Answer> | Http1Answer;
  readonly fail: (error: unknown, request: Http1Request | undefined) => Http1Answer;
}

/** What the server answers to each path. */
export function createRoutes(options: RouteOptions): Routes {
  const find = createEndpoints(options);
  const { metrics, log } = options;
  return {
    answer(request) {
      const endpoint = find(request.target);
      if (endpoint === undefined) throw new HttpError(404, "there is nothing at this path");
      const { method } = request;
      const handler =
        method === "POST" ? endpoint.POST : method === "GET" || method === "HEAD" ? endpoint.GET : undefined;
      if (handler !== undefined) return counting(handler(request), metrics);
      const allow = [
        ...(endpoint.GET === undefined ? [] : ["GET", "HEAD"]),
        ...(endpoint.POST === undefined ? [] : ["POST"]),
      ].join(", ");
      throw new HttpError(405, `${method} is not possible here; ${allow} is`, { allow });
    },
    fail(error, request) {
      if (!(error instanceof HttpError)) log.error("request failed", { path: request?.target, err: error });
      const refusal = error instanceof HttpError ? error : new HttpError(500, "internal error");
      metrics.response(refusal.status);
      return errorAnswer(refusal);
    },
  };
}

function counting(
  answer: Promise<Http1Answer> | Http1Answer,
  metrics: ServerMetrics,
): Promise<Http1Answer> | Http1Answer {
  if (answer instanceof Promise) {
    return answer.then((made) => {
      metrics.response(made.status);
      return made;
    });
  }
  metrics.response(answer.status);
  return answer;
}

/** Path → endpoint. */
function createEndpoints(options: RouteOptions): (url: string) => Endpoint | undefined {
  const { repository } = options;
  const fixed: Readonly<Record<string, Endpoint>> = {
    "/": { GET: () => jsonAnswer({ status: "alive" }) },
    "/metrics": { GET: () => metricsPage(options) },
    "/v1/models": { GET: () => jsonAnswer({ models: repository.names() }) },
    "/v2": { GET: () => jsonAnswer({ name: "argosy", version: options.version, extensions: extensionsOf(options) }) },
    "/v2/models": { GET: () => jsonAnswer({ models: repository.names() }) },
    "/v2/health/live": { GET: () => jsonAnswer({ live: true }) },
    "/v2/health/ready": {
      GET: () => {
        const reason = options.notReady();
        if (reason !== undefined) throw new HttpError(503, reason, { "retry-after": "1" });
        return jsonAnswer({ ready: true });
      },
    },
    "/v2/repository/index": { POST: async (request) => listIndex(options, await readBody(request, 65_536)) },
  };
  return (url) => {
    const path = pathOf(url);
    if (Object.hasOwn(fixed, path)) return fixed[path];
    const segments = path.split("/").slice(1);
    if (segments[0] === "v2" && segments[1] === "models") return v2Endpoint(segments.slice(2), options);
    if (segments[0] === "v1" && segments[1] === "models") return v1Endpoint(segments.slice(2), options);
    if (path.startsWith("/v2/repository/models/")) return repositoryEndpoint(segments.slice(3), options);
    return undefined;
  };
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

function decodeSegment(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new HttpError(400, "the path is malformed");
  }
}

function v2Endpoint(segments: readonly string[], options: RouteOptions): Endpoint | undefined {
  const [first = "", ...rest] = segments;
  const name = decodeSegment(first);
  if (name === "") return undefined;
  const version = rest[0] === "versions" && rest[1] !== undefined ? decodeSegment(rest[1]) : undefined;
  const action = version === undefined ? rest : rest.slice(2);
  if (action.length > 1) return undefined;
  const { repository } = options;
  switch (action[0] ?? "") {
    case "infer":
      return { POST: (request) => infer(request, options, { name, version }) };
    case "":
      return { GET: () => describeModel(repository.find(name, version), repository.versions(name)) };
    case "ready":
      return { GET: () => jsonAnswer({ name: findHealthy(repository, name, version).name, ready: true }) };
    case "config":
      return { GET: () => jsonAnswer({ name: repository.find(name, version).name, config: repository.config(name) }) };
    default:
      return undefined;
  }
}

function v1Endpoint(segments: readonly string[], options: RouteOptions): Endpoint | undefined {
  const last = segments.at(-1) ?? "";
  const colon = last.lastIndexOf(":");
  const verb = colon < 0 ? "" : last.slice(colon + 1);
  const [first, ...rest] = [...segments.slice(0, -1), colon < 0 ? last : last.slice(0, colon)];
  const name = decodeSegment(first ?? "");
  const version = rest[0] === "versions" && rest[1] !== undefined ? decodeSegment(rest[1]) : undefined;
  if (name === "" || rest.length !== (version === undefined ? 0 : 2)) return undefined;
  if (verb === "predict") return { POST: (request) => predict(request, options, { name, version }) };
  if (verb === "explain") {
    return {
      POST: () => {
        options.repository.find(name, version);
        throw new HttpError(404, `model ${name} has no explainer`);
      },
    };
  }
  return verb === ""
    ? { GET: () => jsonAnswer({ name: options.repository.find(name, version).name, ready: true }) }
    : undefined;
}

function repositoryEndpoint(segments: readonly string[], options: RouteOptions): Endpoint | undefined {
  const [first = "", action] = segments;
  const name = decodeSegment(first);
  if (segments.length !== 2 || (action !== "load" && action !== "unload")) return undefined;
  return {
    POST: async (request) => {
      const body = await readBody(request, options.maxBodyBytes);
      if (!options.repositoryApi)
        throw new HttpError(403, "this server serves one model; it cannot be loaded or unloaded by request");
      checkLoadParameters(body);
      try {
        await (action === "load" ? options.repository.load(name) : options.repository.unload(name));
      } catch (error) {
        const missing = error instanceof ModelError && error.reason === "ModelNotFound";
        throw new HttpError(missing ? 404 : 400, messageOf(error));
      }
      return jsonAnswer({ name, state: action === "load" ? "READY" : "UNAVAILABLE" });
    },
  };
}

/** A model whose worker failed is not ready until it is back; requests may still be sent to it. */
function findHealthy(repository: Repository, name: string, version: string | undefined): ServedModel {
  const model = repository.find(name, version);
  if (model.unhealthy !== undefined)
    throw new HttpError(503, `model ${name}: ${model.unhealthy}`, { "retry-after": "1" });
  return model;
}

/** Triton's way of sending configuration or files with the request is not offered; it must not be swallowed. */
function checkLoadParameters(body: Buffer): void {
  if (body.length === 0) return;
  const value = parseJson(readText(body));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new HttpError(400, "the request must be an object");
  const { parameters = {} } = value;
  if (typeof parameters !== "object" || parameters === null || Array.isArray(parameters))
    throw new HttpError(400, "parameters must be an object");
  const sent = Object.keys(parameters).find((key) => key === "config" || key.startsWith("file:"));
  if (sent !== undefined)
    throw new HttpError(400, `parameter ${sent} is not offered: models are loaded from the repository as they are`);
}

function listIndex(options: RouteOptions, body: Buffer): Http1Answer {
  const value = body.length === 0 ? {} : parseJson(readText(body));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new HttpError(400, "the request must be an object");
  const entries = options.repository.index();
  return jsonAnswer(value["ready"] === true ? entries.filter(({ state }) => state === "READY") : entries);
}

const extensionsOf = (options: RouteOptions): string[] => [
  "binary_tensor_data",
  ...(options.repositoryApi ? ["model_repository"] : []),
];

const describeModel = (model: ServedModel, versions: readonly string[]): Http1Answer =>
  jsonAnswer({
    name: model.name,
    versions,
    platform: model.platform,
    inputs: model.inputs,
    outputs: model.outputs,
  });

function metricsPage({ metrics, repository }: RouteOptions): Http1Answer {
  const memory = process.memoryUsage().rss;
  const body = metrics.render({
    models_ready: {
      help: "Model versions that answer.",
      value: repository.index().filter(({ state }) => state === "READY").length,
    },
    models_resident: { help: "Model versions in memory.", value: repository.memory().resident },
    models_resident_bytes: { help: "Memory that models take, as measured.", value: repository.memory().residentBytes },
    models_budget_bytes: { help: "Memory that models may take.", value: repository.memory().budgetBytes },
    resident_memory_bytes: { help: "Resident memory of the process.", value: memory },
    cpu_seconds: {
      help: "User and system CPU time of the process.",
      value: (process.cpuUsage().user + process.cpuUsage().system) / 1e6,
    },
  });
  return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body };
}

interface Wanted {
  readonly name: string;
  readonly version: string | undefined;
}

async function infer(request: Http1Request, options: RouteOptions, wanted: Wanted): Promise<Http1Answer> {
  return counted(request, options, wanted, async (model, body) => {
    const header = request.header("inference-header-content-length");
    const checked = readInferRequest(body, header, model);
    const { body: answer, headLength } = writeInferAnswer(model, checked, await model.batcher.infer(checked.inputs));
    if (headLength === undefined) return { status: 200, body: answer };
    return {
      status: 200,
      type: "application/octet-stream",
      headers: { "inference-header-content-length": String(headLength) },
      body: answer,
    };
  });
}

async function predict(request: Http1Request, options: RouteOptions, wanted: Wanted): Promise<Http1Answer> {
  return counted(request, options, wanted, async (model, body) => {
    const checked = readPredictRequest(body, model);
    return { status: 200, body: writePredictAnswer(checked, await model.batcher.infer(checked.inputs)) };
  });
}

async function counted(
  request: Http1Request,
  { repository, metrics, clock, maxBodyBytes, chargeBody }: RouteOptions,
  { name, version }: Wanted,
  answer: (model: ServedModel, body: Buffer) => Promise<Http1Answer>,
): Promise<Http1Answer> {
  const model = repository.find(name, version);
  const type = request.header("content-type");
  const charge = chargeBody();
  try {
    if (type?.toLowerCase().startsWith("application/cloudevents") === true)
      throw new HttpError(415, "structured CloudEvents are not offered; send application/json");
    const body = await readBody(request, maxBodyBytes, charge);
    const started = clock.monotonicMs();
    const result = await answer(model, body);
    metrics.inference(model.name, model.version, (clock.monotonicMs() - started) / 1000);
    return result;
  } catch (error) {
    metrics.failure(model.name, model.version);
    throw error;
  } finally {
    charge.close();
  }
}
