import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { InferenceSession } from "onnxruntime-node";
import { afterEach, expect, test } from "vitest";
import { seededRandom, systemClock } from "../../src/kernel/clock/index.js";
import type { Json, JsonObject } from "../../src/kernel/kinds/object.js";
import { RUN_KEY_TAG } from "./tracking.js";
import { runTraining } from "./train.js";

interface Stored {
  readonly runs: JsonObject[];
  readonly points: Map<string, JsonObject>;
  readonly params: Map<string, string>;
  readonly artifacts: Map<string, Buffer>;
  readonly versions: JsonObject[];
  readonly tokens: Set<string | undefined>;
  batches: number;
}

/** A tracking server with the rules of MLflow that matter here; `fault` says which requests meet an outage. */
async function startTracking(
  fault: (path: string, count: number) => "before" | "after" | undefined,
): Promise<{ uri: string; stored: Stored; server: Server }> {
  const stored: Stored = {
    runs: [],
    points: new Map(),
    params: new Map(),
    artifacts: new Map(),
    versions: [],
    tokens: new Set(),
    batches: 0,
  };
  const counts = new Map<string, number>();
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    const count = (counts.get(url.pathname) ?? 0) + 1;
    counts.set(url.pathname, count);
    stored.tokens.add(request.headers.authorization);
    const broken = fault(url.pathname, count);
    if (broken === "before") return void response.writeHead(503).end("{}");
    const body = await readBody(request);
    const [status, content] = answerTo(stored, request.method ?? "", url, body);
    if (broken === "after") return void request.socket.destroy();
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(content));
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stored, server };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

let experiment: string | undefined;

const plain = (value: Json | undefined): string => (typeof value === "string" ? value : JSON.stringify(value));

function answerTo(stored: Stored, method: string, url: URL, raw: Buffer): [number, Json] {
  const artifact = /\/mlflow-artifacts\/artifacts\/(.*)$/.exec(url.pathname)?.[1];
  if (artifact !== undefined && method === "PUT") {
    stored.artifacts.set(decodeURIComponent(artifact), raw);
    return [200, {}];
  }
  const path = url.pathname.replace("/api/2.0/mlflow/", "");
  const body = (raw.length > 0 ? JSON.parse(raw.toString()) : {}) as JsonObject;
  switch (path) {
    case "experiments/get-by-name":
      return experiment === undefined
        ? [404, { error_code: "RESOURCE_DOES_NOT_EXIST", message: "no" }]
        : [200, { experiment: { experiment_id: "1", name: experiment } }];
    case "experiments/create":
      experiment = plain(body["name"]);
      return [200, { experiment_id: "1" }];
    case "runs/search":
      return [200, stored.runs.length > 0 && plain(body["filter"]).includes(RUN_KEY_TAG) ? { runs: stored.runs } : {}];
    case "runs/create": {
      const id = `run${stored.runs.length}`;
      const info = {
        run_id: id,
        experiment_id: "1",
        status: "RUNNING",
        artifact_uri: `mlflow-artifacts:/1/${id}/artifacts`,
      };
      stored.runs.push({ info });
      return [200, { run: { info } }];
    }
    case "runs/update":
      for (const run of stored.runs) (run["info"] as JsonObject)["status"] = body["status"];
      return [200, {}];
    case "runs/log-batch":
      stored.batches++;
      for (const point of body["metrics"] as JsonObject[])
        stored.points.set(`${plain(point["key"])} ${plain(point["step"])} ${plain(point["timestamp"])}`, point);
      for (const param of body["params"] as JsonObject[]) stored.params.set(plain(param["key"]), plain(param["value"]));
      return [200, {}];
    case "metrics/get-history":
      return [
        200,
        { metrics: [...stored.points.values()].filter((point) => point["key"] === url.searchParams.get("metric_key")) },
      ];
    case "registered-models/create":
      return stored.versions.length > 0 ? [400, { error_code: "RESOURCE_ALREADY_EXISTS", message: "yes" }] : [200, {}];
    case "model-versions/search":
      return [200, { model_versions: stored.versions }];
    case "model-versions/create":
      stored.versions.push({ ...body, version: String(stored.versions.length + 1) });
      return [200, { model_version: stored.versions.at(-1) }];
    default:
      return [404, { error_code: "ENDPOINT_NOT_FOUND", message: path }];
  }
}

const servers: Server[] = [];
afterEach(() => {
  experiment = undefined;
  for (const server of servers.splice(0)) server.close();
});

const surroundings = (uri: string) => ({
  args: ["--epochs", "4"],
  env: { MLFLOW_TRACKING_URI: uri, MLFLOW_TRACKING_TOKEN: "t0ken" },
  clock: { ...systemClock, sleep: () => Promise.resolve() },
  random: seededRandom(1),
  print: () => {},
});

test("a run through outages and lost answers is recorded once", async () => {
  const { uri, stored, server } = await startTracking((path, count) => {
    if (path.endsWith("runs/create") && count === 1) return "after";
    if (path.endsWith("model-versions/create") && count === 1) return "after";
    if (path.endsWith("log-batch") && count === 2) return "after";
    return count === 1 ? "before" : undefined;
  });
  servers.push(server);

  const outcome = await runTraining(surroundings(uri));

  expect(stored.runs).toHaveLength(1);
  expect(stored.versions).toHaveLength(1);
  expect(outcome).toMatchObject({ runId: "run0", modelName: "digits", modelVersion: "1" });
  expect(
    [...stored.points.values()].filter((point) => point["key"] === "validation_loss").map((point) => point["step"]),
  ).toEqual([1, 2, 3, 4]);
  expect(stored.params.get("seed")).toBe("7");
  expect(stored.versions[0]).toMatchObject({ run_id: "run0", source: "mlflow-artifacts:/1/run0/artifacts/model" });
  expect(stored.tokens).toEqual(new Set(["Bearer t0ken"]));
  const session = await InferenceSession.create(
    new Uint8Array(stored.artifacts.get("1/run0/artifacts/model/model.onnx") as Buffer),
  );
  expect(session.outputNames).toEqual(["label", "probabilities"]);
});

test("a second start resumes the run, and does nothing when it is finished", async () => {
  let refuse = true;
  const { uri, stored, server } = await startTracking((path) =>
    refuse && path.includes("mlflow-artifacts") ? "before" : undefined,
  );
  servers.push(server);
  const killed = { ...surroundings(uri), clock: { ...systemClock, sleep: () => Promise.reject(new Error("killed")) } };
  await expect(runTraining(killed)).rejects.toThrow("killed");
  const points = stored.points.size;
  refuse = false;

  const resumed = await runTraining(surroundings(uri));
  const again = await runTraining(surroundings(uri));

  expect(stored.runs).toHaveLength(1);
  expect([...stored.points.values()].filter((point) => point["key"] === "train_loss")).toHaveLength(4);
  expect(stored.points.size).toBeLessThanOrEqual(points + 1);
  expect(resumed.modelVersion).toBe("1");
  expect(again).toEqual({ alreadyDone: true, runId: "run0", modelName: "digits", modelVersion: "1" });
});

test("a refusal is not retried and names the call", async () => {
  const server = createServer((_, response) => {
    response.writeHead(403).end(JSON.stringify({ error_code: "PERMISSION_DENIED", message: "not yours" }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);

  const run = runTraining(surroundings(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));

  await expect(run).rejects.toThrow("experiments/get-by-name answered 403 PERMISSION_DENIED: not yours");
});
