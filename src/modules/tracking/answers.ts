import { messageOf } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { HttpRoute, RouteRequest, RouteResponse } from "../../kernel/module/types.js";
import { BlobError } from "../../stores/blobs/index.js";
import { RecordsError } from "../../stores/records/index.js";
import type { Endpoint } from "./context.js";
import { invalid, TrackingError } from "./errors.js";
import { paramsOfBody, paramsOfQuery } from "./params.js";

/** The virtual API group that hub RBAC grants tracking's resources in. */
export const TRACKING_GROUP = "tracking.argosy.dev";

/** Largest JSON body of a call that says nothing else. */
const MAX_JSON_BYTES = 1024 * 1024;

/** A route of tracking: its errors leave as the protocol's JSON. */
export interface RouteSpec {
  readonly method: string;
  readonly path: string;
  readonly verb: Endpoint["verb"];
  readonly resource: Endpoint["resource"];
  readonly maxBodyBytes?: number;
  handle(request: RouteRequest): Promise<RouteResponse>;
}

export function route(spec: RouteSpec): HttpRoute {
  return {
    method: spec.method,
    path: spec.path,
    permission: { verb: spec.verb, group: TRACKING_GROUP, resource: spec.resource },
    ...(spec.maxBodyBytes === undefined ? {} : { maxBodyBytes: spec.maxBodyBytes }),
    handle: (request) => guarded(() => spec.handle(request)),
  };
}

/** The two routes of a call: for clients, and for web pages. */
export function endpointRoutes(endpoint: Endpoint): HttpRoute[] {
  const { method, verb, resource, version = "2.0", maxBodyBytes = MAX_JSON_BYTES } = endpoint;
  return ["/api", "/ajax-api"].map((prefix) =>
    route({
      method,
      path: `${prefix}/${version}/mlflow/${endpoint.path}`,
      verb,
      resource,
      maxBodyBytes,
      handle: async (request) => {
        // Reads take their parameters from the query; a few clients send a body instead.
        const inQuery =
          method === "GET" && (request.query.size > 0 || (request.headers["content-length"] ?? "0") === "0");
        const params = inQuery ? paramsOfQuery(request.query) : paramsOfBody(await readJsonText(request, endpoint));
        return jsonAnswer(200, await endpoint.call(params, request.parameters));
      },
    }),
  );
}

async function readJsonText(request: RouteRequest, endpoint: Endpoint): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request.body) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  if (!(endpoint.method === "DELETE" && text === "")) checkContentType(request.headers["content-type"]);
  return text;
}

function checkContentType(contentType: string | undefined): void {
  if (contentType === undefined) throw invalid("Bad Request. Content-Type header is missing.");
  const [type = ""] = contentType.split(";");
  if (type.trim().toLowerCase() !== "application/json") {
    throw invalid("Bad Request. Content-Type must be one of ['application/json'].");
  }
}

/** A JSON answer. */
export function jsonAnswer(status: number, body: JsonObject): RouteResponse {
  return {
    status,
    headers: { "content-type": "application/json", "x-content-type-options": "nosniff" },
    body: JSON.stringify(body),
  };
}

/** A text answer. */
export function answer(status: number, body: string): RouteResponse {
  return {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" },
    body,
  };
}

async function guarded(work: () => Promise<RouteResponse>): Promise<RouteResponse> {
  try {
    return await work();
  } catch (error) {
    const failure = toTrackingError(error);
    // What is nobody's request's fault is the server's to log, which northbound does.
    if (failure === undefined) throw error;
    return jsonAnswer(failure.status, { error_code: failure.code, message: failure.message });
  }
}

function toTrackingError(error: unknown): TrackingError | undefined {
  if (error instanceof TrackingError) return error;
  const text = messageOf(error);
  if (error instanceof RecordsError) return new TrackingError("TEMPORARILY_UNAVAILABLE", text, { cause: error });
  if (!(error instanceof BlobError)) return undefined;
  switch (error.reason) {
    case "NoSpace":
    case "Refused":
    case "Unavailable":
      return new TrackingError("TEMPORARILY_UNAVAILABLE", text, { cause: error });
    default:
      return new TrackingError("INVALID_PARAMETER_VALUE", text, { cause: error });
  }
}
