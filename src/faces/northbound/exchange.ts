import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Timer } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import type { HttpRoute, RouteRequest, RouteResponse } from "../../kernel/module/types.js";
import type { Permission, User } from "./authority.js";
import { boundedBody, checkStatedLength, drain } from "./body.js";
import { Refusal } from "./errors.js";
import type { RequestMetrics } from "./metrics.js";
import type { Resolution, RouteMatch } from "./router.js";
import type { RouteServerOptions } from "./server.js";

/** What all exchanges of a server share. */
export interface Front {
  readonly options: RouteServerOptions;
  readonly metrics: RequestMetrics;
  readonly resolve: (method: string, rawPath: string) => Resolution;
}

const MAX_BODY_BYTES = 1024 * 1024;
const IDLE_MS = 120_000;

/** One request from its first line to the last byte of its answer. Never rejects. */
export async function answerRequest(front: Front, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { clock, log, random } = front.options;
  const startedMs = clock.monotonicMs();
  const id = requestIdOf(request) ?? random.uuid();
  const method = request.method ?? "GET";
  const [rawPath = "/", ...query] = (request.url ?? "/").split("?");
  response.setHeader("x-request-id", id);
  response.on("error", () => {});
  let routePath = "none";
  try {
    const match = matchOf(front, method, rawPath);
    routePath = match.route.path;
    await runRoute(front, { match, request, response, rawPath, query: query.join("?") });
  } catch (error) {
    const refusal = error instanceof Refusal ? error : undefined;
    if (refusal === undefined && !request.destroyed)
      log.error("request failed", { err: error, request: id, route: routePath });
    await refuse(
      response,
      refusal ??
        new Refusal("INTERNAL_ERROR", `the server failed to answer; its log has the cause under request ${id}`),
    );
  } finally {
    drain(request);
    const seconds = (clock.monotonicMs() - startedMs) / 1000;
    front.metrics.observe({ route: routePath, method, status: response.statusCode, seconds });
    log.debug("request answered", { request: id, method, route: routePath, status: response.statusCode });
  }
}

function requestIdOf(request: IncomingMessage): string | undefined {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? given : undefined;
}

function matchOf(front: Front, method: string, rawPath: string): RouteMatch {
  if (rawPath === "/metrics") return { route: metricsRoute(front), parameters: {} };
  const found = front.resolve(method, rawPath);
  if (found === "not-found") throw new Refusal("ENDPOINT_NOT_FOUND", `there is nothing at ${rawPath.slice(0, 200)}`);
  if (found === "malformed") throw new Refusal("BAD_REQUEST", "the path is not valid percent-encoding");
  if ("allowed" in found) {
    const allow = found.allowed.join(", ");
    throw new Refusal("METHOD_NOT_ALLOWED", `${method} is not possible here; use ${allow}`, { headers: { allow } });
  }
  return found;
}

function metricsRoute(front: Front): HttpRoute {
  return {
    method: "GET",
    path: "/metrics",
    handle: async () => ({
      status: 200,
      headers: { "content-type": "text/plain; version=0.0.4" },
      body: front.metrics.render(),
    }),
  };
}

interface Exchange {
  readonly match: RouteMatch;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly rawPath: string;
  readonly query: string;
}

async function runRoute(front: Front, exchange: Exchange): Promise<void> {
  const { match, request, response, rawPath, query } = exchange;
  const { route, parameters } = match;
  const user = route.anonymous === true ? ANONYMOUS : await admit(front, request, route);
  const maxBytes = route.maxBodyBytes ?? MAX_BODY_BYTES;
  checkStatedLength(request, maxBytes);
  const silence = watchSilence(front, request, response);
  try {
    if (request.headers.expect !== undefined) response.writeContinue();
    const answer = await silence.race(
      route.handle({
        method: request.method ?? "GET",
        path: rawPath,
        parameters,
        query: new URLSearchParams(query),
        headers: headersOf(request),
        user,
        body: boundedBody(request, { maxBytes, onChunk: silence.heard }),
        signal: silence.signal,
      } satisfies RouteRequest),
    );
    silence.done();
    await send(request, response, answer);
  } finally {
    silence.done();
  }
}

const ANONYMOUS: User = { username: "system:anonymous", groups: ["system:unauthenticated"] };

/** Who the caller is, if it may do this; throws 401, 403 or 503. */
async function admit(front: Front, request: IncomingMessage, route: HttpRoute): Promise<User> {
  const { authority, log } = front.options;
  const token = /^Bearer +(\S+)\s*$/i.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined) {
    throw new Refusal("UNAUTHENTICATED", "this call needs a bearer token: Authorization: Bearer <token>", {
      headers: { "www-authenticate": "Bearer" },
    });
  }
  const permission: Permission | undefined =
    route.path === "/metrics" ? { verb: "get", path: "/metrics" } : route.permission;
  try {
    const user = await authority.authenticate(token);
    if (user === undefined) {
      const headers = { "www-authenticate": 'Bearer error="invalid_token"' };
      throw new Refusal("UNAUTHENTICATED", "the bearer token is not valid or has expired", { headers });
    }
    if (permission === undefined) return user;
    const { allowed, reason } = await authority.authorize(user, permission);
    if (allowed) return user;
    throw new Refusal("PERMISSION_DENIED", deniedMessage(user, permission, reason));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    log.warn("the hub could not say whether a caller may do this", { err: error });
    throw new Refusal("TEMPORARILY_UNAVAILABLE", `permissions cannot be checked now: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function deniedMessage(user: User, permission: Permission, reason: string): string {
  const what = "path" in permission ? permission.path : `${permission.resource}.${permission.group}`;
  const why = reason === "" ? "grant it with a ClusterRoleBinding in the hub" : reason;
  return `user "${user.username}" may not ${permission.verb} ${what}: ${why}`;
}

interface Silence {
  readonly signal: AbortSignal;
  /** A piece of the body came. */
  readonly heard: () => void;
  readonly done: () => void;
  /** The result of the work, unless nothing happens for too long or the client goes. */
  race<T>(work: Promise<T>): Promise<T>;
}

function watchSilence(front: Front, request: IncomingMessage, response: ServerResponse): Silence {
  const { clock, idleMs = IDLE_MS } = front.options;
  const controller = new AbortController();
  let timer: Timer | undefined;
  let giveUp: (error: Refusal) => void = () => {};
  const broken = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  broken.catch(() => {});
  const stop = (refusal: Refusal): void => {
    giveUp(refusal);
    controller.abort(refusal);
  };
  const gone = (): void => {
    if (!response.writableEnded) stop(new Refusal("BAD_REQUEST", "the client closed the connection"));
  };
  const start = (): void => {
    timer?.cancel();
    timer = clock.setTimer(idleMs, () =>
      stop(new Refusal("DEADLINE_EXCEEDED", `the call did nothing for ${Math.round(idleMs / 1000)} seconds`)),
    );
  };
  start();
  response.on("close", gone);
  request.on("aborted", gone);
  return {
    signal: controller.signal,
    heard: start,
    done: () => timer?.cancel(),
    race: (work) => Promise.race([work, broken]),
  };
}

function headersOf(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return headers;
}

async function send(request: IncomingMessage, response: ServerResponse, answer: RouteResponse): Promise<void> {
  const { body = "" } = answer;
  const isPiece = typeof body === "string" || body instanceof Uint8Array;
  response.statusCode = answer.status;
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  if (!response.hasHeader("x-content-type-options")) response.setHeader("x-content-type-options", "nosniff");
  // What the client still sends after the answer would be taken for its next request.
  if (!request.complete) response.setHeader("connection", "close");
  if (isPiece) {
    if (!response.hasHeader("content-length")) response.setHeader("content-length", Buffer.byteLength(body));
    await end(response, request.method === "HEAD" ? "" : body);
    return;
  }
  if (request.method === "HEAD") {
    await body[Symbol.asyncIterator]().return?.();
    await end(response, "");
    return;
  }
  try {
    await pipeline(Readable.from(body, { objectMode: false }), response);
  } catch (error) {
    // The head is out: cutting the connection is the only way to say that the body is not whole.
    response.destroy();
    if (!isClosedByClient(error)) throw error;
  }
}

function isClosedByClient(error: unknown): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    (error.code === "ERR_STREAM_PREMATURE_CLOSE" || error.code === "ECONNRESET" || error.code === "EPIPE")
  );
}

function end(response: ServerResponse, body: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    response.once("close", resolve);
    response.end(body, () => resolve());
  });
}

async function refuse(response: ServerResponse, refusal: Refusal): Promise<void> {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  response.statusCode = refusal.status;
  for (const [name, value] of Object.entries(refusal.headers)) response.setHeader(name, value);
  response.setHeader("content-type", "application/json");
  response.setHeader("x-content-type-options", "nosniff");
  // No `connection: close` while the client still sends: that would reset the connection, and the refusal be lost. The rest is drained.
  await end(response, JSON.stringify({ error_code: refusal.code, message: refusal.message }));
}
