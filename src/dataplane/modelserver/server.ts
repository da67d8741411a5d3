import type { Clock } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { createHttp1Server, type Http1Server } from "../../kernel/http1/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { DEFAULT_LIMITS, defaultMemoryBudget, type EngineLimits } from "./engines/limits.js";
import { ModelError } from "./failures.js";
import { type BodyCharge, createBodyBudget } from "./http.js";
import { createMetrics } from "./metrics.js";
import type { ModelSource, Repository } from "./repository.js";
import { createRepository } from "./repository.js";
import { createRoutes, type Routes } from "./routes.js";

/** How to run a model server. */
export interface ModelServerOptions {
  /** What to serve; a function is called (once) for it after the server listens: it may download, reports what holds it up, and rejects with a `ModelError`. */
  readonly source: ModelSource | ((report: (obstacle: ModelError) => void) => Promise<ModelSource>);
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0: any free port. */
  readonly port: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Largest body in bytes, also after decompression; default 64 MiB. All requests at once may hold twice that. */
  readonly maxBodyBytes?: number;
  /** Most rows of a shared run for models whose configuration does not say; default 64. 1 switches sharing off. */
  readonly maxBatchRows?: number;
  /** Most requests that wait for one model before 503; default 1024. */
  readonly maxWaiting?: number;
  /** Threads of one run; default 1. */
  readonly threads?: number;
  /** What models may take, and which kinds may be run. */
  readonly limits?: Partial<EngineLimits>;
  /** Most bytes of all models in memory; default 70 % of what the machine or container has. */
  readonly memoryBudgetBytes?: number;
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
  const server = new NodeModelServer(options);
  await server.listen();
  return server;
}

const DEFAULT_BODY_BYTES = 64 * 2 ** 20;

class NodeModelServer implements ModelServer {
  readonly #options: ModelServerOptions;
  readonly #metrics = createMetrics();
  readonly #chargeBody: () => BodyCharge;
  readonly #http: Http1Server;
  #routes: Routes;
  #repository: Repository;
  /** Why requests should not come; `undefined` when they may. */
  #notReady: string | undefined = "the model is still being fetched";
  #draining = false;
  port = 0;
  loaded: Promise<void> = Promise.resolve();

  constructor(options: ModelServerOptions) {
    this.#options = options;
    this.#chargeBody = createBodyBudget(2 * (options.maxBodyBytes ?? DEFAULT_BODY_BYTES));
    this.#repository = this.#openRepository({ name: "", folder: "" });
    this.#routes = this.#makeRoutes(false);
    this.#http = createHttp1Server({
      clock: options.clock,
      answer: (request) => this.#routes.answer(request),
      fail: (error, request) => this.#routes.fail(error, request),
    });
  }

  get url(): string {
    return `http://${this.#options.host ?? "127.0.0.1"}:${this.port}`;
  }

  async listen(): Promise<void> {
    this.port = await this.#http.listen(this.#options.port, this.#options.host ?? "127.0.0.1");
    this.#options.log.info("model server listens", { port: this.port });
    this.loaded = this.#load();
    this.loaded.catch(() => undefined);
  }

  async close(): Promise<void> {
    const { clock, drainDelayMs = 500, drainTimeoutMs = 20_000 } = this.#options;
    this.#draining = true;
    this.#http.drain();
    await clock.sleep(drainDelayMs);
    await this.#http.close(drainTimeoutMs);
    await this.loaded.catch(() => undefined);
    await this.#repository.close();
  }

  async #load(): Promise<void> {
    const { source, repositoryApi } = this.#options;
    try {
      const found = typeof source === "function" ? await source((obstacle) => this.#explain(obstacle)) : source;
      this.#repository = this.#openRepository(found);
      this.#routes = this.#makeRoutes(repositoryApi ?? "repository" in found);
      this.#notReady = "models are still being loaded";
      await this.#repository.loadAll();
      this.#notReady = undefined;
    } catch (error) {
      this.#explain(error);
      throw error;
    }
  }

  #explain(error: unknown): void {
    this.#notReady = `${error instanceof ModelError ? error.reason : "ModelLoadFailed"}: ${messageOf(error)}`;
  }

  #openRepository(source: ModelSource): Repository {
    const { clock, log, threads = 1, maxBatchRows = 64, maxWaiting = 1024 } = this.#options;
    const { limits, memoryBudgetBytes = defaultMemoryBudget() } = this.#options;
    return createRepository({
      ...{ source, threads, maxBatchRows, maxWaiting, memoryBudgetBytes, metrics: this.#metrics, clock, log },
      limits: { ...DEFAULT_LIMITS, ...limits },
    });
  }

  #makeRoutes(repositoryApi: boolean): Routes {
    const { clock, log, maxBodyBytes = DEFAULT_BODY_BYTES, version = "0.1.0" } = this.#options;
    return createRoutes({
      ...{ repository: this.#repository, metrics: this.#metrics, clock, log, maxBodyBytes, repositoryApi, version },
      chargeBody: this.#chargeBody,
      notReady: () => (this.#draining ? "the server is shutting down" : this.#notReady),
    });
  }
}
