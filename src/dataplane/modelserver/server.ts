import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../../kernel/clock/types.js";
import { InputError, messageOf } from "../../kernel/errors/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { ModelError } from "./failures.js";
import { createMetrics } from "./metrics.js";
import { createRepository } from "./repository.js";
import type { ModelSource } from "./repository.js";
import { createRoutes } from "./routes.js";

/** How to run a model server. */
export interface ModelServerOptions {
  /** What to serve; a function is called (once) for it after the server listens: it may download, and rejects with a `ModelError`. */
  readonly source: ModelSource | (() => Promise<ModelSource>);
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0: any free port. */
  readonly port: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Largest body in bytes, also after decompression; default 64 MiB. */
  readonly maxBodyBytes?: number;
  /** Most rows of a shared run for models whose configuration does not say; default 64. 1 switches sharing off. */
  readonly maxBatchRows?: number;
  /** Most requests that wait for one model before 503; default 1024. */
  readonly maxWaiting?: number;
  /** Threads of one run; default 1. */
  readonly threads?: number;
  /** Whether models may be loaded and unloaded by request; default: true for a repository. */
  readonly repositoryApi?: boolean;
  /** How long requests are still taken after `drain` began, so that routers notice; default 500 ms. */
  readonly drainDelayMs?: number;
  /** How long requests under way may take after that; default 20 s. */
  readonly drainTimeoutMs?: number;
  readonly version?: string;
}

/** A running server. */
export interface ModelServer {
  /** `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly port: number;
  /** Resolves when the models were tried; rejects with the `ModelError` of a single model. The server answers (503 and why) either way. */
  readonly loaded: Promise<void>;
  /** Stops: not ready at once, requests still taken for a moment, those under way answered. */
  close(): Promise<void>;
}

/** Starts a model server; resolves when it listens, which is before its models answer. Throws `InputError` when the port is taken. */
export async function runModelServer(options: ModelServerOptions): Promise<ModelServer> {
  const { clock, log } = options;
  const metrics = createMetrics();
  let state: { ready: boolean; reason: string } = { ready: false, reason: "the model is still being fetched" };
  let draining = false;
  const server = createServer({ maxHeaderSize: 16_384, keepAliveTimeout: 75_000, requestTimeout: 120_000, headersTimeout: 20_000, requireHostHeader: false });
  const startRoutes = (source: ModelSource): ReturnType<typeof createRepository> =>
    createRepository({
      source,
      threads: options.threads ?? 1,
      maxBatchRows: options.maxBatchRows ?? 64,
      maxWaiting: options.maxWaiting ?? 1024,
      metrics,
      clock,
      log,
    });
  let repository = startRoutes({ name: "", folder: "" });
  const attach = (repositoryApi: boolean): void => {
    server.removeAllListeners("request");
    server.on(
      "request",
      createRoutes({
        repository,
        metrics,
        clock,
        log,
        maxBodyBytes: options.maxBodyBytes ?? 64 * 2 ** 20,
        notReady: () => (draining ? "the server is shutting down" : state.ready ? undefined : state.reason),
        repositoryApi,
        draining: () => draining,
        version: options.version ?? "0.1.0",
      }),
    );
  };
  attach(false);
  const port = await listen(server, options.port, options.host ?? "127.0.0.1");
  log.info("model server listens", { port });

  const load = async (): Promise<void> => {
    try {
      const source = typeof options.source === "function" ? await options.source() : options.source;
      repository = startRoutes(source);
      attach(options.repositoryApi ?? "repository" in source);
      state = { ready: false, reason: "models are still being loaded" };
      await repository.loadAll();
      state = { ready: true, reason: "" };
    } catch (error) {
      const reason = error instanceof ModelError ? error.reason : "ModelLoadFailed";
      state = { ready: false, reason: `${reason}: ${messageOf(error)}` };
      throw error;
    }
  };
  const loaded = load();
  loaded.catch(() => undefined);
  return {
    url: `http://${options.host ?? "127.0.0.1"}:${port}`,
    port,
    loaded,
    async close() {
      draining = true;
      await clock.sleep(options.drainDelayMs ?? 500);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const deadline = clock.setTimer(options.drainTimeoutMs ?? 20_000, () => server.closeAllConnections());
      await closed;
      deadline.cancel();
      await loaded.catch(() => undefined);
      await repository.close();
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new InputError(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error })));
    server.listen(port, host, 1024, () => {
      const address: AddressInfo | string | null = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
