import { type Http1Answer, type Http1Request, HttpError } from "../../kernel/http1/index.js";
import { extensionsOf, SERVER_NAME, type ServerContext } from "./context.js";
import { errorAnswer, jsonAnswer } from "./http.js";
import { openAiFailure } from "./openai/failure.js";
import { isOpenAiPath, noOpenAiPath, openAiEndpoint } from "./openai/routes.js";
import type { Endpoint, Handler } from "./paths.js";
import { pathOf, segmentsOf } from "./paths.js";
import { HttpFollower } from "./payload-log/follow.js";
import { v1Endpoint, v1Models } from "./routes-v1.js";
import { configuredEndpoint, repositoryEndpoint, sharedMemoryEndpoint, v2Endpoint, v2Fixed } from "./routes-v2.js";

/** Both sides of a server: answers, and the answer to what failed. `fail` never throws. */
export interface Routes {
  readonly answer: (request: Http1Request) => Promise<Http1Answer> | Http1Answer;
  readonly fail: (error: unknown, request: Http1Request | undefined) => Http1Answer;
}

/** Endpoints that are kept by path, so that a path that comes again is not taken apart again. */
const MAX_KEPT = 1024;
const LONGEST_KEPT = 256;

/** What the server answers to each path. */
export function createRoutes(context: ServerContext): Routes {
  const find = createEndpoints(context);
  const kept = new Map<string, Endpoint>();
  const { metrics, log, settings, payloads } = context;
  const follower = payloads === undefined ? undefined : new HttpFollower(payloads);
  const look = (target: string): Endpoint | undefined => {
    const known = kept.get(target);
    if (known !== undefined) return known;
    const endpoint = find(pathOf(target));
    if (endpoint === undefined || target.length > LONGEST_KEPT) return endpoint;
    if (kept.size >= MAX_KEPT) kept.clear();
    kept.set(target, endpoint);
    return endpoint;
  };
  return {
    answer(request) {
      const endpoint = look(request.target);
      if (endpoint === undefined) throw noPlace(request.target);
      const { method } = request;
      if (settings.verbosity > 0) log.info("request", { method, path: request.target });
      const handler =
        method === "POST" ? endpoint.POST : method === "GET" || method === "HEAD" ? endpoint.GET : undefined;
      if (handler === undefined) throw notAllowed(method, endpoint);
      if (follower !== undefined && endpoint.isInference === true && method === "POST") follower.begin(request);
      const answer = followed(handler, request, endpoint, context);
      const done = (made: Http1Answer): Http1Answer => {
        metrics.response(made.status, method, endpoint.pattern);
        return follower === undefined ? made : follower.end(request, made);
      };
      return answer instanceof Promise ? answer.then(done) : done(answer);
    },
    fail(error, request) {
      if (!(error instanceof HttpError)) log.error("request failed", { path: request?.target, err: error });
      const refusal = error instanceof HttpError ? error : new HttpError(500, "internal error");
      const endpoint = request === undefined ? undefined : endpointOf(look, request.target);
      metrics.response(
        refusal.status,
        request === undefined ? "" : request.method.slice(0, 10),
        endpoint?.pattern ?? "",
      );
      const isOpenAi = request !== undefined && isOpenAiPath(pathOf(request.target));
      const answer = (endpoint?.fail ?? (isOpenAi ? openAiFailure : errorAnswer))(refusal);
      return follower === undefined || request === undefined ? answer : follower.end(request, answer);
    },
  };
}

/** Runs a handler as a span of the request's trace, where there is a collector. */
function followed(
  handler: Handler,
  request: Http1Request,
  { pattern }: Endpoint,
  { tracer }: ServerContext,
): Promise<Http1Answer> | Http1Answer {
  const { method, target } = request;
  const span = tracer?.begin(request.header("traceparent"), `${method} ${pattern}`);
  if (span === undefined) return handler(request);
  const end = (status: number): void => {
    const path = { "http.request.method": method, "http.route": pattern, "url.path": pathOf(target) };
    span.end({ isError: status >= 500, attributes: { ...path, "http.response.status_code": status } });
  };
  return Promise.resolve()
    .then(() => handler(request))
    .then(
      (made) => {
        end(made.status);
        return made;
      },
      (error: unknown) => {
        end(error instanceof HttpError ? error.status : 500);
        throw error;
      },
    );
}

/** As `look`, for a path that may be what failed. */
function endpointOf(look: (target: string) => Endpoint | undefined, target: string): Endpoint | undefined {
  try {
    return look(target);
  } catch {
    return undefined;
  }
}

function noPlace(target: string): HttpError {
  return isOpenAiPath(pathOf(target)) ? noOpenAiPath() : new HttpError(404, "there is nothing at this path");
}

function notAllowed(method: string, endpoint: Endpoint): HttpError {
  const allow = [
    ...(endpoint.GET === undefined ? [] : ["GET", "HEAD"]),
    ...(endpoint.POST === undefined ? [] : ["POST"]),
  ].join(", ");
  return new HttpError(405, `${method.slice(0, 40)} is not possible here; ${allow} is`, { allow });
}

/** Path → endpoint. */
function createEndpoints(context: ServerContext): (path: string) => Endpoint | undefined {
  const fixed: Readonly<Record<string, Endpoint>> = {
    "/": { pattern: "/", GET: () => jsonAnswer({ status: "alive" }) },
    "/metrics": { pattern: "/metrics", GET: () => metricsPage(context) },
    "/v2": {
      pattern: "/v2",
      GET: () => jsonAnswer({ name: SERVER_NAME, version: context.version, extensions: extensionsOf(context) }),
    },
    "/v1/models": { pattern: "/v1/models", GET: () => v1Models(context) },
    ...v2Fixed(context),
  };
  return (path) => {
    if (Object.hasOwn(fixed, path)) return fixed[path];
    const [version, kind, ...rest] = segmentsOf(path);
    if (kind === undefined) return undefined;
    if (version === "v2") return v2Place(kind, rest, context);
    if (version === "v1")
      return kind === "models" ? v1Endpoint(rest, context) : openAiEndpoint([kind, ...rest], context);
    return version === "openai" && kind === "v1" ? openAiEndpoint(rest, context) : undefined;
  };
}

function v2Place(kind: string, rest: readonly string[], context: ServerContext): Endpoint | undefined {
  if (kind === "models") return v2Endpoint(rest, context);
  if (kind === "repository" && rest[0] === "configured") return configuredEndpoint(rest.slice(1), context);
  if (kind === "repository") return rest[0] === "models" ? repositoryEndpoint(rest.slice(1), context) : undefined;
  return kind === "systemsharedmemory" || kind === "cudasharedmemory"
    ? sharedMemoryEndpoint([kind, ...rest])
    : undefined;
}

function metricsPage({ metrics, repository, inference, tracer, payloads }: ServerContext): Http1Answer {
  const { user, system } = process.cpuUsage();
  const { running, waiting } = inference.load;
  const memory = repository.memory();
  const body = metrics.render({
    models_ready: {
      help: "Model versions that answer.",
      value: repository.index().filter(({ state }) => state === "READY").length,
    },
    inferences_running: { help: "Inferences under a limit that run.", value: running },
    inferences_waiting: { help: "Inferences that wait for a place under the limit.", value: waiting },
    models_resident: { help: "Model versions in memory.", value: memory.resident },
    models_resident_bytes: { help: "Memory that models take, as measured.", value: memory.residentBytes },
    models_budget_bytes: { help: "Memory that models may take.", value: memory.budgetBytes },
    spans_dropped: { help: "Spans of traces that no collector got.", value: tracer?.dropped ?? 0 },
    resident_memory_bytes: { help: "Resident memory of the process.", value: process.memoryUsage.rss() },
    cpu_seconds: { help: "User and system CPU time of the process.", value: (user + system) / 1e6 },
  });
  return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: body + (payloads?.render() ?? "") };
}
