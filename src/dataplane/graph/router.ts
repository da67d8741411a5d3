/** The router's server: requests come in, go through the graph, and are answered. */
import type { ConnectionOptions } from "node:tls";
import { systemRandom } from "../../kernel/clock/index.js";
import type { Clock, Random } from "../../kernel/clock/types.js";
import {
  type BodyHold,
  createBodyBudget,
  createHttp1Server,
  type Http1Answer,
  type Http1Request,
  type Http1Server,
  HttpError,
  readBody,
} from "../../kernel/http1/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { createTracer, type Span, type Tracer } from "../../kernel/traces/index.js";
import { StepClient } from "./client.js";
import { Message } from "./message.js";
import { createRouterMetrics } from "./metrics.js";
import { createPropagation } from "./patterns.js";
import type { Graph } from "./read.js";
import { type Answer, failureBody, GraphFailure, runGraph } from "./run.js";
import { Slots } from "./slots.js";
import { createAsk, type StepTools } from "./steps.js";

/** How to run a router. */
export interface RouterOptions {
  readonly graph: Graph;
  /** In spans and logs: `namespace/name`. */
  readonly name: string;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly clock: Clock;
  readonly random?: Random;
  readonly log: Logger;
  /** Patterns of header names that go on to every step. */
  readonly propagate?: readonly string[];
  /** Largest request, and answer of a step that is not the last, in bytes; default 64 MiB. All at once may hold four times that. */
  readonly maxBodyBytes?: number;
  /** Most requests under way before 503; default 1024. */
  readonly maxConcurrent?: number;
  /** Most steps that are asked at once, of all requests; others wait in line. Default 2048. */
  readonly maxSteps?: number;
  /** Whom to trust of services that are asked over https; default the public authorities. */
  readonly trust?: ConnectionOptions;
  /** A collector for traces (OTLP over HTTP); absent: none. */
  readonly otlpEndpoint?: string;
  /** How long requests are still taken after stopping began; default 500 ms. */
  readonly drainDelayMs?: number;
  /** How long requests under way may take after that; default 25 s. */
  readonly drainTimeoutMs?: number;
}

/** A router that listens. */
export interface Router {
  readonly port: number;
  /** Not ready at once; requests under way are answered. */
  close(): Promise<void>;
}

const DEFAULT_BODY_BYTES = 64 * 2 ** 20;
const VERSION = "0.1.0";
/** Through how many graphs a request came. */
const HOPS = "x-argosy-graph-hops";
const MAX_HOPS = 16;

/** Starts a router. Throws `InputError` when the port is taken, or a header pattern is none. */
export async function runRouter(options: RouterOptions): Promise<Router> {
  const router = new GraphRouter(options);
  await router.listen();
  return router;
}

class GraphRouter implements Router {
  readonly #options: RouterOptions;
  readonly #metrics = createRouterMetrics();
  readonly #client: StepClient;
  readonly #server: Http1Server;
  readonly #tracer: Tracer | undefined;
  readonly #propagate: ReturnType<typeof createPropagation>;
  readonly #hold: () => BodyHold;
  readonly #tools: StepTools;
  readonly #requests = new Set<AbortController>();
  #isStopping = false;
  port = 0;

  constructor(options: RouterOptions) {
    const { clock, random = systemRandom, log, graph, maxBodyBytes = DEFAULT_BODY_BYTES, otlpEndpoint } = options;
    this.#options = options;
    this.#client = new StepClient(options.trust);
    this.#propagate = createPropagation(options.propagate ?? []);
    this.#hold = createBodyBudget(4 * maxBodyBytes);
    this.#tracer =
      otlpEndpoint === undefined
        ? undefined
        : createTracer({
            endpoint: otlpEndpoint,
            clock,
            random,
            log,
            version: VERSION,
            service: "argosy-inference-router",
          });
    const { times } = graph;
    this.#tools = {
      ...{ client: this.#client, clock, random, metrics: this.#metrics, tracer: this.#tracer, times, maxBodyBytes },
      slots: new Slots(options.maxSteps ?? 2048),
    };
    this.#server = createHttp1Server({
      clock,
      answer: (request) => this.#answer(request),
      fail: (error, request) => this.#fail(error, request),
      limits: {
        bodyMs: times.readMs,
        headMs: Math.min(20_000, times.readMs),
        writeMs: times.writeMs,
        idleMs: times.idleMs,
      },
    });
  }

  async listen(): Promise<void> {
    const { port, host, log, name } = this.#options;
    this.port = await this.#server.listen(port, host);
    log.info("inference router listens", { graph: name, port: this.port });
  }

  async close(): Promise<void> {
    const { clock, drainDelayMs = 500, drainTimeoutMs = 25_000 } = this.#options;
    this.#isStopping = true;
    this.#server.drain();
    await clock.sleep(drainDelayMs);
    await this.#server.close(drainTimeoutMs);
    for (const controller of this.#requests) controller.abort(new GraphFailure(503, "the router stops"));
    this.#client.close();
    await this.#tracer?.close();
  }

  #answer(request: Http1Request): Http1Answer | Promise<Http1Answer> {
    const path = request.target.split("?", 1)[0];
    if (request.method === "GET" || request.method === "HEAD") {
      if (path === "/readyz")
        return this.#isStopping ? { status: 503, body: "shutting down" } : { status: 200, body: "" };
      if (path === "/livez") return { status: 200, body: "" };
      if (path === "/metrics")
        return {
          status: 200,
          type: "text/plain; version=0.0.4; charset=utf-8",
          body: this.#metrics.render(this.#tracer?.dropped ?? 0),
        };
    }
    if (request.method !== "POST")
      throw new HttpError(405, `${request.method.slice(0, 40)} is not possible here; POST is`, { allow: "POST" });
    const { maxConcurrent = 1024 } = this.#options;
    if (this.#requests.size >= maxConcurrent)
      throw new HttpError(503, `${maxConcurrent} requests are under way`, { "retry-after": "1" });
    return this.#route(request);
  }

  async #route(request: Http1Request): Promise<Http1Answer> {
    const { clock, graph, name } = this.#options;
    const begun = clock.monotonicMs();
    const controller = new AbortController();
    this.#requests.add(controller);
    this.#metrics.underWay(1);
    request.onAway(() => controller.abort(new GraphFailure(499, "the client went away")));
    const limitMs = Math.min(
      graph.times.requestMs ?? Number.POSITIVE_INFINITY,
      toldLimit(request) ?? Number.POSITIVE_INFINITY,
    );
    const timer = Number.isFinite(limitMs)
      ? clock.setTimer(limitMs, () => controller.abort(new GraphFailure(504, `no answer within ${limitMs} ms`)))
      : undefined;
    const span = this.#tracer?.begin(request.header("traceparent"), `graph ${name}`);
    const hold = this.#hold();
    const end = (code: number): void => {
      timer?.cancel();
      hold.close();
      this.#requests.delete(controller);
      this.#metrics.underWay(-1);
      this.#metrics.answered(code, (clock.monotonicMs() - begun) / 1000);
      span?.end({
        isError: code >= 500,
        attributes: { "http.request.method": "POST", "http.response.status_code": code },
      });
    };
    try {
      const answer = await this.#through(request, { controller, hold, span, deadlineMs: begun + limitMs });
      const { status, stream } = answer;
      if (stream === undefined) end(status);
      return answerOf(answer, stream === undefined ? undefined : ending(stream, status, end));
    } catch (error) {
      const failed = this.#fail(error, request);
      end(failed.status);
      return failed;
    }
  }

  async #through(
    request: Http1Request,
    {
      controller,
      hold,
      span,
      deadlineMs,
    }: { controller: AbortController; hold: BodyHold; span: Span | undefined; deadlineMs: number },
  ): Promise<Answer> {
    const { maxBodyBytes } = this.#tools;
    const body = await readBody(request, maxBodyBytes, hold);
    const traceparent = span?.traceparent ?? request.header("traceparent");
    const tracestate = request.header("tracestate");
    const told = Number(request.header(HOPS));
    const hops = (Number.isInteger(told) && told > 0 ? told : 0) + 1;
    // Graphs may lead to each other by addresses, which nobody can follow when they are written.
    if (hops > MAX_HOPS)
      throw new HttpError(508, `the request came through ${MAX_HOPS} graphs already: do they lead to each other?`);
    const fields = {
      ...this.#propagate(request.headers()),
      [HOPS]: String(hops),
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(tracestate === undefined ? {} : { tracestate }),
    };
    const ask = createAsk(this.#tools, { fields, traceparent, deadlineMs, hold });
    const { graph } = this.#options;
    return runGraph(graph, new Message(body, bodyFields(request)), {
      ask,
      random: this.#tools.random,
      signal: controller.signal,
    });
  }

  /** KServe's words for what failed. */
  #fail(error: unknown, request: Http1Request | undefined): Http1Answer {
    if (error instanceof GraphFailure) return { status: error.status, body: failureBody(error.message) };
    if (error instanceof HttpError)
      return { status: error.status, headers: error.headers, body: failureBody(error.message) };
    this.#options.log.error("request failed", { path: request?.target ?? "", err: error });
    return { status: 500, body: failureBody("the router failed; its log says why") };
  }
}

const LIMITS = ["x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms"];

/** How long the sender waits, milliseconds. */
function toldLimit(request: Http1Request): number | undefined {
  for (const name of LIMITS) {
    const value = Number(request.header(name) ?? Number.NaN);
    if (Number.isFinite(value) && value > 0) return value;
  }
  return undefined;
}

/** What belongs to the body. */
function bodyFields(request: Http1Request): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const name of ["content-type", "inference-header-content-length"]) {
    const value = request.header(name);
    if (value !== undefined) fields[name] = value;
  }
  return fields;
}

function answerOf({ status, message }: Answer, stream: AsyncIterable<Uint8Array> | undefined): Http1Answer {
  const { "content-type": type, ...headers } = message.fields;
  const { body } = message;
  const isJson = type === undefined && stream === undefined && message.document() !== undefined;
  return {
    status,
    headers,
    type: type ?? (isJson ? "application/json" : "text/plain; charset=utf-8"),
    body: stream ?? body,
  };
}

/** Tells at the end how it went: as begun, given up by its reader, or broken. */
async function* ending(
  pieces: AsyncIterable<Uint8Array>,
  status: number,
  end: (code: number) => void,
): AsyncGenerator<Uint8Array> {
  let code = 499;
  try {
    yield* pieces;
    code = status;
  } catch (error) {
    code = error instanceof GraphFailure ? error.status : 500;
    throw error;
  } finally {
    end(code);
  }
}
