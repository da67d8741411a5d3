import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { ApiClient } from "../../kernel/client/types.js";
import type { Clock, Random } from "../../kernel/clock/index.js";
import { ArgosyError } from "../../kernel/errors/index.js";
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

export interface Northbound {
  /** Listens; throws `ArgosyError` PortInUse when the port is taken. */
  start(): Promise<{ readonly url: string; readonly port: number }>;
  /** Prometheus text; also at `/metrics` for who may get that path in the hub. */
  metrics(): string;
  /** Lets running calls finish for up to five seconds. */
  close(): Promise<void>;
}

/** The server of all modules' routes: callers by the hub's TokenReview, permissions by its SubjectAccessReview. */
export function createNorthbound(options: NorthboundOptions): Northbound {
  const { hubClient, ...rest } = options;
  return createRouteServer({ ...rest, authority: hubAuthority({ hubClient, clock: options.clock }) });
}

const GRACE_MS = 5000;

/** The same server with another authority; tests use it. */
export function createRouteServer(options: RouteServerOptions): Northbound {
  const { clock, host = "127.0.0.1" } = options;
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
  const server = createServer({
    cert: options.certPem,
    key: options.keyPem,
    minVersion: "TLSv1.2",
    maxHeaderSize: 32 * 1024,
  });
  const handle = (request: IncomingMessage, response: ServerResponse): void =>
    void answerRequest(front, request, response);
  server.on("request", handle);
  // The body is asked for only once the caller is known to be allowed.
  server.on("checkContinue", handle);
  server.on("tlsClientError", (error) => options.log.debug("tls handshake failed", { err: error }));
  server.on("clientError", (_error, socket) => socket.destroy());
  server.headersTimeout = 15_000;
  server.requestTimeout = 0;
  server.keepAliveTimeout = 75_000;
  // A little after the call itself is ended with an answer.
  server.timeout = (options.idleMs ?? 120_000) + 5000;
  return {
    start: async () => {
      const port = await listen(server, host, options.port);
      return { url: `https://${host.includes(":") ? `[${host}]` : host}:${port}`, port };
    },
    metrics: () => metrics.render(),
    close: () =>
      new Promise((resolve) => {
        const timer = clock.setTimer(GRACE_MS, () => server.closeAllConnections());
        server.close(() => {
          timer.cancel();
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException): void => {
      const code = error.code === "EADDRINUSE" ? "PortInUse" : "CannotListen";
      reject(new ArgosyError(code, `cannot listen on ${host}:${port}: ${error.message}`, { cause: error }));
    };
    server.once("error", refuse);
    server.listen(port, host, () => {
      server.off("error", refuse);
      resolve(portOf(server.address()) ?? port);
    });
  });
}

function portOf(address: AddressInfo | string | null): number | undefined {
  return typeof address === "object" && address !== null ? address.port : undefined;
}
