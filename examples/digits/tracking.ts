/** The few MLflow REST calls that a training program needs, made so that an outage or a restart repeats nothing. */
import { readFile } from "node:fs/promises";
import { Agent, request } from "undici";
import type { Clock, Random } from "../../src/kernel/clock/types.js";
import { ArgosyError, InputError, messageOf } from "../../src/kernel/errors/index.js";
import type { Json, JsonObject } from "../../src/kernel/kinds/object.js";

/** Where and as whom. */
export interface TrackingOptions {
  /** `MLFLOW_TRACKING_URI`. */
  readonly uri: string;
  /** `MLFLOW_TRACKING_TOKEN`; sent as a bearer token. */
  readonly token?: string;
  /** `MLFLOW_TRACKING_SERVER_CERT_PATH`: PEM file of the CA that signed the server's certificate. */
  readonly caFile?: string;
  readonly clock: Clock;
  readonly random: Random;
  /** How long one step is retried while the server is away; default 10 minutes. */
  readonly retryForMs?: number;
  readonly log: (message: string) => void;
}

/** A run as the server knows it. */
export interface Run {
  readonly id: string;
  readonly experimentId: string;
  readonly status: string;
  readonly artifactUri: string;
}

/** One value of a metric. */
export interface MetricPoint {
  readonly key: string;
  readonly value: number;
  readonly step: number;
  readonly timestamp: number;
}

/** The tag by which a restarted program finds the run that it began. */
export const RUN_KEY_TAG = "digits_run_key";

/** An answer other than 200. */
export class TrackingError extends ArgosyError {
  readonly httpCode: number;

  constructor(code: string, message: string, httpCode: number) {
    super(code, message);
    this.httpCode = httpCode;
  }
}

/** Calls on a tracking server. Every one is idempotent and retried through outages; failures that retrying cannot mend are `TrackingError`. */
export interface Tracking {
  /** The run with this key in the experiment; both are made if they are not there. */
  findOrCreateRun(experiment: string, runKey: string, runName: string): Promise<Run>;
  /** The run's last step of a metric, 0 if it has none. */
  lastStep(runId: string, metric: string): Promise<number>;
  logBatch(
    runId: string,
    batch: {
      metrics?: readonly MetricPoint[];
      params?: Readonly<Record<string, string>>;
      tags?: Readonly<Record<string, string>>;
    },
  ): Promise<void>;
  setStatus(run: Run, status: "RUNNING" | "FINISHED" | "FAILED"): Promise<void>;
  putArtifact(run: Run, path: string, content: Uint8Array): Promise<void>;
  /** The run's version of the registered model; both are made if they are not there. Returns the version. */
  findOrCreateVersion(model: string, run: Run, source: string): Promise<string>;
  close(): Promise<void>;
}

/** Connects to a tracking server (nothing is sent yet). */
export async function createTracking(options: TrackingOptions): Promise<Tracking> {
  const http = await createHttp(options);
  const post = (path: string, body: JsonObject): Promise<Json> => http.call("POST", path, body);
  const get = (path: string, query: Record<string, string>): Promise<Json> =>
    http.call("GET", `${path}?${new URLSearchParams(query).toString()}`);

  return {
    ...runCalls(http, get, post, options.clock),
    ...registryCalls(http, get, post),
    close: () => http.close(),
  };
}

function runCalls(http: Http, get: Get, post: Call, clock: Clock): Omit<Tracking, "findOrCreateVersion" | "close"> {
  return {
    findOrCreateRun: (experiment, runKey, runName) =>
      http.retrying(`run ${runKey}`, async () => {
        const experimentId = await experimentIdOf(experiment, get, post);
        const filter = `tags.${RUN_KEY_TAG} = '${runKey.replaceAll("'", "")}'`;
        const found = at(
          await post("runs/search", { experiment_ids: [experimentId], filter, max_results: 1 }),
          "runs",
          0,
        );
        if (found !== undefined) return parseRun(found);
        const tags = [{ key: RUN_KEY_TAG, value: runKey.replaceAll("'", "") }];
        const created = await post("runs/create", {
          experiment_id: experimentId,
          run_name: runName,
          start_time: clock.now(),
          tags,
        });
        return parseRun(at(created, "run"));
      }),
    lastStep: (runId, metric) =>
      http.retrying(`history of ${metric}`, async () => {
        const points = list(
          at(await get("metrics/get-history", { run_id: runId, metric_key: metric, max_results: "25000" }), "metrics"),
        );
        return points.reduce<number>((last, point) => Math.max(last, Number(at(point, "step") ?? 0)), 0);
      }),
    logBatch: async (runId, batch) => {
      const body: JsonObject = {
        run_id: runId,
        metrics: (batch.metrics ?? []).map((point) => ({ ...point })),
        params: pairs(batch.params),
        tags: pairs(batch.tags),
      };
      await http.retrying("log-batch", () => post("runs/log-batch", body));
    },
    setStatus: async (run, status) => {
      const end = status === "RUNNING" ? {} : { end_time: clock.now() };
      await http.retrying("run status", () => post("runs/update", { run_id: run.id, status, ...end }));
    },
    putArtifact: async (run, path, content) => {
      const target = `${artifactPath(run)}/${path}`.split("/").map(encodeURIComponent).join("/");
      await http.retrying(`artifact ${path}`, () => http.put(`/api/2.0/mlflow-artifacts/artifacts/${target}`, content));
    },
  };
}

function registryCalls(http: Http, get: Get, post: Call): Pick<Tracking, "findOrCreateVersion"> {
  return {
    findOrCreateVersion: (model, run, source) =>
      http.retrying(`model version of ${model}`, async () => {
        await unless("RESOURCE_ALREADY_EXISTS", () => post("registered-models/create", { name: model }));
        const filter = `name = '${model}'`;
        const found = list(at(await get("model-versions/search", { filter, max_results: "1000" }), "model_versions"));
        const own = found.find((version) => at(version, "run_id") === run.id);
        const version =
          own ?? at(await post("model-versions/create", { name: model, source, run_id: run.id }), "model_version");
        return text(at(version, "version"), "model_version.version");
      }),
  };
}

type Call = (path: string, body: JsonObject) => Promise<Json>;
type Get = (path: string, query: Record<string, string>) => Promise<Json>;

async function experimentIdOf(name: string, get: Get, post: Call): Promise<string> {
  try {
    return text(
      at(await get("experiments/get-by-name", { experiment_name: name }), "experiment", "experiment_id"),
      "experiment_id",
    );
  } catch (error) {
    if (!(error instanceof TrackingError && error.code === "RESOURCE_DOES_NOT_EXIST")) throw error;
  }
  await unless("RESOURCE_ALREADY_EXISTS", () => post("experiments/create", { name }));
  return text(
    at(await get("experiments/get-by-name", { experiment_name: name }), "experiment", "experiment_id"),
    "experiment_id",
  );
}

interface Http {
  call(method: "GET" | "POST", path: string, body?: JsonObject): Promise<Json>;
  put(path: string, content: Uint8Array): Promise<Json>;
  /** Repeats the whole step while the server is away. */
  retrying<T>(what: string, step: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

async function createHttp(options: TrackingOptions): Promise<Http> {
  const { clock, random } = options;
  const base = options.uri.replace(/\/+$/, "");
  if (!/^https?:\/\//.test(base))
    throw new InputError(`MLFLOW_TRACKING_URI is "${options.uri}"; expected http:// or https://`);
  const ca = options.caFile === undefined ? {} : { ca: await readFile(options.caFile, "utf8") };
  const dispatcher = new Agent({ connect: { ...ca, timeout: 5_000 }, headersTimeout: 30_000, bodyTimeout: 30_000 });
  const authorization = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };

  const send = async (
    method: "GET" | "POST" | "PUT",
    path: string,
    content: { type: string; body: string | Uint8Array } | undefined,
  ): Promise<Json> => {
    const headers = { ...authorization, ...(content === undefined ? {} : { "content-type": content.type }) };
    const answer = await request(`${base}${path}`, { method, headers, body: content?.body ?? null, dispatcher });
    const body = parseJson(await answer.body.text());
    if (answer.statusCode === 200) return body;
    const code = textOr(at(body, "error_code"), `HTTP${answer.statusCode}`);
    throw new TrackingError(
      code,
      `${method} ${path.split("?")[0]} answered ${answer.statusCode} ${code}: ${textOr(at(body, "message"), "")}`,
      answer.statusCode,
    );
  };
  return {
    call: (method, path, body) =>
      send(
        method,
        `/api/2.0/mlflow/${path}`,
        body === undefined ? undefined : { type: "application/json", body: JSON.stringify(body) },
      ),
    put: (path, content) => send("PUT", path, { type: "application/octet-stream", body: content }),
    async retrying(what, step) {
      const deadline = clock.monotonicMs() + (options.retryForMs ?? 600_000);
      for (let attempt = 0; ; attempt++) {
        try {
          return await step();
        } catch (error) {
          if (!isTransient(error) || clock.monotonicMs() > deadline) throw error;
          const delay = Math.min(5_000, 200 * 2 ** attempt) * (0.5 + random.next() / 2);
          options.log(`${what}: ${messageOf(error)}; trying again in ${Math.round(delay)} ms`);
          await clock.sleep(delay);
        }
      }
    },
    close: () => dispatcher.close(),
  };
}

/** Connection faults, and the statuses that MLflow's own client retries. A wrong certificate stays wrong. */
function isTransient(error: unknown): boolean {
  if (error instanceof TrackingError) return [408, 429, 500, 502, 503, 504].includes(error.httpCode);
  if (error instanceof ArgosyError) return false;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return !/CERT|SELF_SIGNED|ALTNAME|UNABLE_TO/.test(code);
}

async function unless(code: string, step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof TrackingError && error.code === code)) throw error;
  }
}

/** `mlflow-artifacts:/1/abc/artifacts` → `1/abc/artifacts`. */
function artifactPath(run: Run): string {
  const match = /^mlflow-artifacts:(?:\/\/[^/]*)?\/+(.+?)\/*$/.exec(run.artifactUri);
  if (match?.[1] === undefined) {
    throw new InputError(
      `run ${run.id} keeps its artifacts at ${run.artifactUri}; this program writes through the server (mlflow-artifacts:/) only`,
    );
  }
  return match[1];
}

function parseRun(value: Json | undefined): Run {
  return {
    id: text(at(value, "info", "run_id"), "run.info.run_id"),
    experimentId: text(at(value, "info", "experiment_id"), "run.info.experiment_id"),
    status: text(at(value, "info", "status"), "run.info.status"),
    artifactUri: text(at(value, "info", "artifact_uri"), "run.info.artifact_uri"),
  };
}

function parseJson(body: string): Json {
  try {
    const value: Json = JSON.parse(body);
    return value;
  } catch {
    return { message: body.slice(0, 200) };
  }
}

function at(value: Json | undefined, ...path: (string | number)[]): Json | undefined {
  let current = value;
  for (const step of path) {
    if (typeof current !== "object" || current === null) return undefined;
    if (Array.isArray(current)) current = typeof step === "number" ? current[step] : undefined;
    else current = current[String(step)];
  }
  return current;
}

function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

function text(value: Json | undefined, what: string): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  throw new TrackingError("BadAnswer", `the tracking server's answer lacks ${what}`, 200);
}

const textOr = (value: Json | undefined, fallback: string): string => (typeof value === "string" ? value : fallback);

function pairs(values: Readonly<Record<string, string>> = {}): Json[] {
  return Object.entries(values).map(([key, value]) => ({ key, value }));
}
