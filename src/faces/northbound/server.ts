import type { ApiClient } from "../../kernel/client/types.js";
import type { Clock, Random } from "../../kernel/clock/index.js";
import { createHttpsServer, type HttpsServer } from "../../kernel/https/index.js";
import type { Logger } from "../../kernel/log/index.js";
import type { HttpRoute } from "../../kernel/module/types.js";
import { type Authority, hubAuthority } from "./authority.js";
import { answerRequest, type Front } from "./exchange.js";
import { createRequestMetrics } from "./metrics.js";
import { createRouter } from "./router.js";

/** A server for routes, whoever decides about callers. */
export interface RouteServerOptions {
  readonly routes: readonly HttpRoute[];
  readonly authority: Authority;
  readonly certPem: string;
  readonly keyPem: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** How long a call may stay silent; default 120,000. */
  readonly idleMs?: number;
}

export type NorthboundOptions = Omit<RouteServerOptions, "authority"> & {
  /** May create TokenReviews and SubjectAccessReviews in the hub. */
  readonly hubClient: ApiClient;
};

export interface Northbound extends HttpsServer {
  /** Prometheus text; also at `/metrics` for who may get that path in the hub. */
  metrics(): string;
}

/** The server of all modules' routes: callers by the hub's TokenReview, permissions by its SubjectAccessReview. */
export function createNorthbound(options: NorthboundOptions): Northbound {
  const { hubClient, ...rest } = options;
  return createRouteServer({ ...rest, authority: hubAuthority({ hubClient, clock: options.clock }) });
}

/** The same server with another authority; tests use it. */
export function createRouteServer(options: RouteServerOptions): Northbound {
  const metrics = createRequestMetrics();
  const own: HttpRoute[] = [
    {
      method: "GET",
      path: "/healthz",
      anonymous: true,
      handle: async () => ({ status: 200, headers: { "content-type": "text/plain" }, body: "ok" }),
    },
  ];
  const front: Front = {
    options,
    metrics,
    resolve: createRouter([...own, ...options.routes]),
  };
  const server = createHttpsServer({
    ...options,
    // A little after the call itself is ended with an answer.
    idleMs: (options.idleMs ?? 120_000) + 5000,
    // The body is asked for only once the caller is known to be allowed.
    answer: (request, response) => void answerRequest(front, request, response),
  });
  return { ...server, metrics: () => metrics.render() };
}
