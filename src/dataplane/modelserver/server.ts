import { systemRandom } from "../../kernel/clock/index.js";
import type { Clock, Random } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { type BodyHold, createBodyBudget, createHttp1Server, type Http1Server } from "../../kernel/http1/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { createTracer, type Tracer } from "../../kernel/traces/index.js";
import type { ConfiguredModels } from "./configured-models.js";
import type { ServerContext } from "./context.js";
import { DEFAULT_LIMITS, defaultMemoryBudget, type EngineLimits } from "./engines/limits.js";
import { ModelError } from "./failures.js";
import { LateHttp2 } from "./grpc/late.js";
import type { Http2Host } from "./grpc/side.js";
import { createInference } from "./inference.js";
import { createMetrics } from "./metrics.js";
import type { PayloadLog } from "./payload-log/log.js";
import type { ModelSource, Repository } from "./repository.js";
import { createRepository } from "./repository.js";
import { createRoutes, type Routes } from "./routes.js";
import { SentModels } from "./sent-models.js";
import { createSettings, type ServerSettings } from "./settings.js";
import { createTurns, type Turns } from "./turns.js";

/** How to run a model server. */
export interface ModelServerOptions {
  /** What to serve; a function is called (once) for it after the server listens: it may download, reports what holds it up, and rejects with a `ModelError`. The signal says that the server ends. */
  readonly source:
    | ModelSource
    | ((report: (obstacle: ModelError) => void, signal: AbortSignal) => Promise<ModelSource>);
  /** The model that such a function will bring: requests for it are told meanwhile what it waits for, not that there is none. */
  readonly expects?: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0: any free port. */
  readonly port: number;
  /** Also speaks all protocols on this port, for clients that expect gRPC on one of its own; 0: any free port. */
  readonly grpcPort?: number;
  /** Whether gRPC clients may ask what services there are; default false. */
  readonly grpcReflection?: boolean;
  readonly clock: Clock;
  /** Default: the system's. */
  readonly random?: Random;
  readonly log: Logger;
  /** Most inferences that are handed to models at once; default 0: no limit. */
  readonly maxConcurrent?: number;
  /** Most that wait for one of those places; default 1024. */
  readonly maxQueued?: number;
  /** How long a request may take that says nothing itself, milliseconds; default 0: as long as it takes. */
  readonly requestTimeoutMs?: number;
  /** A collector for traces (OTLP over HTTP), `http://host:4318/v1/traces`; default: none. */
  readonly otlpEndpoint?: string;
  /** Keeps copies of requests and answers; closed with the server. */
  readonly payloads?: PayloadLog;
  /** How long its events may still be delivered when everything else has ended; default 5 s. */
  readonly payloadDrainMs?: number;
  /** Largest body in bytes, also after decompression; default 64 MiB. All requests at once may hold twice that. */
  readonly maxBodyBytes?: number;
  /** Most rows of a shared run for models whose configuration does not say; default 64, and 512 while so many take no longer than a millisecond. 1 switches sharing off. */
  readonly maxBatchRows?: number;
  /** How long a request waits for others to share a run, for models whose configuration does not say, milliseconds; default 0: only while the model is busy. */
  readonly maxBatchDelayMs?: number;
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
  /** Further models that a file lists, beside those of a repository; the server starts and ends it. */
  readonly configured?: ConfiguredModels;
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
  /** The second port, where one was asked for. */
  readonly grpcPort: number | undefined;
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
const DEFAULT_VERSION = "0.1.0";

class NodeModelServer implements ModelServer {
  readonly #options: ModelServerOptions;
  readonly #metrics = createMetrics();
  readonly #settings: ServerSettings;
  readonly #turns: Turns;
  readonly #chargeBody: () => BodyHold;
  readonly #servers: readonly Http1Server[];
  readonly #tracer: Tracer | undefined;
  readonly #sent = new SentModels();
  readonly #http2: LateHttp2;
  #context: ServerContext;
  #routes: Routes;
  #repository: Repository;
  /** Why requests should not come; `undefined` when they may. */
  #notReady: string | undefined;
  #draining = false;
  readonly #stop = new AbortController();
  port = 0;
  grpcPort: number | undefined;
  loaded: Promise<void> = Promise.resolve();

  constructor(options: ModelServerOptions) {
    this.#options = options;
    this.#settings = createSettings(options.log);
    this.#turns = createTurns(options.clock);
    this.#tracer = makeTracer(options, this.#settings.log);
    this.#chargeBody = createBodyBudget(2 * (options.maxBodyBytes ?? DEFAULT_BODY_BYTES));
    this.#repository = this.#openRepository({ name: "", folder: "" });
    this.#wait("the model is still being fetched");
    this.#context = this.#makeContext(false);
    this.#routes = createRoutes(this.#context);
    this.#http2 = this.#makeHttp2();
    this.#servers = options.grpcPort === undefined ? [this.#makeHttp1()] : [this.#makeHttp1(), this.#makeHttp1()];
  }

  get url(): string {
    return `http://${this.#options.host ?? "127.0.0.1"}:${this.port}`;
  }

  #makeHttp1(): Http1Server {
    return createHttp1Server({
      clock: this.#options.clock,
      answer: (request) => this.#routes.answer(request),
      fail: (error, request) => this.#routes.fail(error, request),
      takeOver: (socket, first) => this.#http2.take(socket, first),
    });
  }

  #makeHttp2(): LateHttp2 {
    const host: Http2Host = {
      context: () => this.#context,
      reflection: this.#options.grpcReflection === true,
      answer: (request) => this.#routes.answer(request),
      fail: (error, request) => this.#routes.fail(error, request),
    };
    return new LateHttp2(async () => (await import("./grpc/side.js")).openHttp2(host));
  }

  async listen(): Promise<void> {
    const { host = "127.0.0.1", port, grpcPort = 0, log } = this.#options;
    const [first, second] = this.#servers;
    this.port = (await first?.listen(port, host)) ?? port;
    try {
      this.grpcPort = await second?.listen(grpcPort, host);
    } catch (error) {
      await first?.close(0);
      throw error;
    }
    const grpc = this.grpcPort === undefined ? {} : { grpcPort: this.grpcPort };
    log.info("model server listens", { port: this.port, ...grpc });
    this.loaded = this.#load();
    this.loaded.catch(() => undefined);
  }

  async close(): Promise<void> {
    const { clock, drainDelayMs = 500, drainTimeoutMs = 20_000, payloadDrainMs = 5_000 } = this.#options;
    this.#draining = true;
    // What is not there yet will not answer any more.
    this.#stop.abort();
    for (const server of this.#servers) server.drain();
    await clock.sleep(drainDelayMs);
    this.#http2.drain();
    const deadline = clock.setTimer(drainTimeoutMs, () => this.#http2.destroy());
    await Promise.all(this.#servers.map((server) => server.close(drainTimeoutMs)));
    deadline.cancel();
    this.#http2.destroy();
    await this.loaded.catch(() => undefined);
    await this.#options.configured?.close();
    await this.#repository.close();
    await this.#sent.close();
    await this.#tracer?.close();
    await this.#options.payloads?.close(payloadDrainMs);
  }

  async #load(): Promise<void> {
    const { source, repositoryApi } = this.#options;
    try {
      const found =
        typeof source === "function"
          ? await source((obstacle) => this.#wait(whyOf(obstacle)), this.#stop.signal)
          : source;
      this.#repository = this.#openRepository(found);
      this.#wait("models are still being loaded");
      this.#context = this.#makeContext(repositoryApi ?? "repository" in found);
      this.#routes = createRoutes(this.#context);
      await this.#repository.loadAll();
      this.#options.configured?.start(this.#repository);
      this.#notReady = undefined;
    } catch (error) {
      this.#wait(whyOf(error), "UNAVAILABLE");
      throw error;
    }
  }

  /** Says what requests, and whoever asks whether they may come, are told from now on. */
  #wait(reason: string, state: "LOADING" | "UNAVAILABLE" = "LOADING"): void {
    this.#notReady = reason;
    const { expects } = this.#options;
    if (expects !== undefined) this.#repository.announce(expects, reason, state);
  }

  #openRepository(source: ModelSource): Repository {
    const { clock, threads = 1, maxBatchRows = 64, maxWaiting = 1024 } = this.#options;
    const { limits, memoryBudgetBytes = defaultMemoryBudget(), maxBatchDelayMs = 0 } = this.#options;
    const maxShortBatchRows = this.#options.maxBatchRows ?? 512;
    const log = this.#settings.log;
    return createRepository({
      ...{
        source,
        threads,
        maxBatchRows,
        maxBatchDelayMs,
        maxShortBatchRows,
        maxWaiting,
        memoryBudgetBytes,
        metrics: this.#metrics,
        clock,
        turns: this.#turns,
        log,
      },
      limits: { ...DEFAULT_LIMITS, ...limits },
    });
  }

  #makeContext(repositoryApi: boolean): ServerContext {
    const {
      clock,
      random = systemRandom,
      maxBodyBytes = DEFAULT_BODY_BYTES,
      version = DEFAULT_VERSION,
    } = this.#options;
    const { maxConcurrent = 0, maxQueued = 1024, requestTimeoutMs: timeoutMs = 0 } = this.#options;
    return {
      configured: this.#options.configured,
      ...{ repository: this.#repository, metrics: this.#metrics, settings: this.#settings, log: this.#settings.log },
      ...{
        clock,
        random,
        maxBodyBytes,
        repositoryApi,
        version,
        chargeBody: this.#chargeBody,
        tracer: this.#tracer,
        payloads: this.#options.payloads,
        sent: this.#sent,
      },
      inference: createInference(this.#repository, clock, { maxConcurrent, maxQueued, timeoutMs }),
      notReady: () => (this.#draining ? "the server is shutting down" : this.#notReady),
    };
  }
}

function makeTracer(options: ModelServerOptions, log: Logger): Tracer | undefined {
  const { otlpEndpoint: endpoint, clock, random = systemRandom, version = DEFAULT_VERSION } = options;
  return endpoint === undefined ? undefined : createTracer({ endpoint, clock, random, log, version });
}

const whyOf = (error: unknown): string =>
  `${error instanceof ModelError ? error.reason : "ModelLoadFailed"}: ${messageOf(error)}`;
