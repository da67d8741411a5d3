import { createServer, type ServerResponse } from "node:http";
import { ArgosyError } from "../kernel/errors/index.js";
import type { Metrics } from "../kernel/metrics/index.js";

export interface HealthOptions {
  /** 127.0.0.1 unless told otherwise. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly metrics: Metrics;
  /** Why it is not ready; `undefined` when it is. */
  readonly notReady: () => Promise<string | undefined>;
  /** What cannot be read of the cluster now, by kind, and why. It is told, but does not make it unready: the rest works. */
  readonly unread: () => ReadonlyMap<string, string>;
}

/** What supervisors and scrapers of an agent ask: it tells no object of any cluster, so it asks for no identity. */
export interface HealthEndpoint {
  readonly url: string;
  close(): Promise<void>;
}

const headersMs = 5_000;

/** `/healthz` (the process answers), `/readyz` (its API server answers too; what cannot be read of it) and `/metrics` over plain HTTP. Throws `ArgosyError` (`CannotListen`). */
export async function startHealth(options: HealthOptions): Promise<HealthEndpoint> {
  const { host, port, metrics, notReady, unread } = options;
  const unreadable = metrics.gauge({
    name: "argosy_unread_kinds",
    help: "1 for each kind that cannot be listed or watched now.",
    labels: ["kind"],
  });
  const told = new Set<string>();
  const measure = (): string => {
    for (const kind of told) unreadable.remove({ kind });
    told.clear();
    for (const kind of unread().keys()) {
      unreadable.set({ kind }, 1);
      told.add(kind);
    }
    return metrics.render();
  };
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?")[0];
    request.resume();
    if (request.method !== "GET" && request.method !== "HEAD") answer(response, 405, "only GET\n");
    else if (path === "/healthz" || path === "/livez") answer(response, 200, "ok\n");
    else if (path === "/metrics") answer(response, 200, measure());
    else if (path === "/readyz") {
      notReady().then(
        (reason) =>
          answer(response, reason === undefined ? 200 : 503, `${[reason ?? "ok", ...remarks(unread())].join("\n")}\n`),
        () => answer(response, 503, "not ready\n"),
      );
    } else answer(response, 404, "there are /healthz, /readyz and /metrics\n");
  });
  server.headersTimeout = headersMs;
  server.requestTimeout = headersMs;
  server.on("clientError", (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        new ArgosyError("CannotListen", `cannot listen on ${host}:${port} (--health): ${error.message}`, {
          cause: error,
        }),
      ),
    );
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const remarks = (unread: ReadonlyMap<string, string>): string[] =>
  [...unread].map(([kind, fault]) => `cannot read ${kind}: ${fault}`);

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(text);
}
