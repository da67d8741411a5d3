import { gunzipSync, inflateSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { virtualClock } from "../../kernel/clock/index.js";
import { encodeOnnxModel } from "../../kernel/onnx/index.js";
import { createInference } from "./inference.js";
import { call, callGrpc, serveProtocols } from "./protocols.fixture.js";
import type { Repository, ServedModel } from "./repository.js";
import { identityModel } from "./text/letters.fixture.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(...options: Parameters<typeof serveProtocols>) {
  const server = await serveProtocols(...options);
  closers.push(() => server.stop());
  return server;
}

const FP32 = { "fp32/1/model.onnx": identityModel("FP32") };
const tensor = (...data: number[]) => ({ inputs: [{ name: "x", datatype: "FP32", shape: [1, data.length], data }] });

test("CloudEvents: binary and structured, V1 and V2, with long integers whole", async () => {
  const server = await serve({}, { ...FP32, "int64/1/model.onnx": identityModel("INT64") });
  const ce = { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t" };
  const event = { specversion: "1.0", id: "1", source: "/s", type: "t" };
  const structured = { "content-type": "application/cloudevents+json; charset=utf-8" };
  const infer = `${server.url}/v2/models/int64/infer`;

  const binary = await call(`${server.url}/v1/models/fp32:predict`, { instances: [[1, 2]] }, ce);
  const whole = await call(
    `${server.url}/v1/models/fp32:predict`,
    { ...event, data: { instances: [[1, 2]] } },
    structured,
  );
  const long = `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"inputs":[{"name":"x","datatype":"INT64","shape":[1,1],"data":[9007199254740993]}]}}`;
  const exact = await call(infer, long, structured);

  expect(binary.json).toEqual({ predictions: [[1, 2]] });
  expect(binary.headers.get("ce-source")).toBe("io.kserve.inference.fp32");
  expect(whole.headers.get("content-type")).toBe("application/cloudevents+json");
  expect(whole.json).toMatchObject({
    specversion: "1.0",
    type: "io.kserve.inference.response",
    data: { predictions: [[1, 2]] },
  });
  expect(exact.text).toContain("9007199254740993");
  const encoded = { ...event, data_base64: Buffer.from(JSON.stringify({ instances: [[3]] })).toString("base64") };
  expect((await call(`${server.url}/v1/models/fp32:predict`, encoded, structured)).json.data).toEqual({
    predictions: [[3]],
  });
  for (const [body, headers] of [
    [{ instances: [[1]] }, { ...ce, "ce-type": "" }],
    [{ instances: [[1]] }, { ...ce, "ce-specversion": "9" }],
    [{ instances: [[1]] }, { "ce-id": "1", "ce-source": "/s", "ce-type": "t" }],
    [event, structured],
    [{ ...event, id: 1, data: {} }, structured],
    ["[]", structured],
  ] as const)
    expect((await call(`${server.url}/v1/models/fp32:predict`, body, headers)).status).toBe(400);
  const batch = { "content-type": "application/cloudevents-batch+json" };
  expect((await call(`${server.url}/v1/models/fp32:predict`, [], batch)).status).toBe(415);
});

/** scores = x, kind = the sum of each row. */
const judge = (): Uint8Array =>
  encodeOnnxModel({
    producer: "test",
    graph: {
      name: "judge",
      inputs: [{ name: "x", type: "FP32", shape: ["batch", 2] }],
      outputs: [
        { name: "scores", type: "FP32", shape: ["batch", 2] },
        { name: "total", type: "FP32", shape: ["batch"] },
      ],
      constants: [{ name: "axes", type: "INT64", shape: [1], data: BigInt64Array.of(1n) }],
      nodes: [
        { op: "Identity", inputs: ["x"], outputs: ["scores"] },
        { op: "ReduceSum", inputs: ["x", "axes"], outputs: ["total"], attributes: { keepdims: { int: 0 } } },
      ],
    },
  });

test("TensorFlow Serving's dialect: classify, regress, status, metadata, labels", async () => {
  const config = JSON.stringify({ version_labels: { stable: 1 } });
  const server = await serve({}, { "m/config.json": config, "m/1/model.onnx": judge(), "m/2/model.onnx": judge() });
  const at = (path: string, body?: unknown) => call(`${server.url}/v1/models/m${path}`, body);
  const examples = { context: { x: [1, 2] }, examples: [{}, { x: [5, 3] }] };

  expect((await at(":classify", examples)).json).toEqual({
    result: [
      [
        ["1", 2],
        ["0", 1],
      ],
      [
        ["0", 5],
        ["1", 3],
      ],
    ],
  });
  expect((await at(":regress", examples)).json).toEqual({ result: [3, 8] });
  expect((await at("")).json.model_version_status.map(({ version }: { version: string }) => version)).toEqual([
    "2",
    "1",
  ]);
  expect((await at("/labels/stable")).json.model_version_status).toMatchObject([{ version: "1", state: "AVAILABLE" }]);
  expect((await at("/labels/stable:predict", { inputs: [[1, 2]] })).json.outputs).toMatchObject({ total: [3] });
  expect((await at("/labels/canary")).status).toBe(404);
  expect((await at("/versions/1/metadata")).json).toMatchObject({
    model_spec: { name: "m", version: "1" },
    metadata: { signature_def: { signature_def: { serving_default: { inputs: { x: { dtype: "DT_FLOAT" } } } } } },
  });
  expect((await at(":classify", { examples: [{ y: 1 }] })).status).toBe(400);
  expect((await at(":classify", { examples: {} })).status).toBe(400);
});

test("classes of outputs, answers in codings, configuration, statistics", async () => {
  const server = await serve({}, FP32);
  const url = `${server.url}/v2/models/fp32`;
  const classes = { ...tensor(0.1, 0.7, 0.2), outputs: [{ name: "y", parameters: { classification: 2 } }] };
  const large = tensor(...Array.from({ length: 2000 }, (_, index) => index));

  expect((await call(`${url}/infer`, classes)).json.outputs[0]).toMatchObject({
    datatype: "BYTES",
    data: ["0.700000:1", "0.200000:2"],
  });
  for (const [accepted, coding, decode] of [
    ["gzip", "gzip", gunzipSync],
    ["gzip;q=0.1, deflate", "deflate", inflateSync],
    ["*", "gzip", gunzipSync],
  ] as const) {
    const { raw, header } = await rawCall(`${url}/infer`, large, accepted);
    expect(header).toBe(coding);
    expect(JSON.parse(decode(raw).toString()).outputs[0].shape).toEqual([1, 2000]);
  }
  for (const accepted of ["identity", "gzip;q=0", "br"])
    expect((await rawCall(`${url}/infer`, large, accepted)).header).toBeNull();
  expect((await call(`${url}/config`)).json).toMatchObject({
    name: "fp32",
    input: [{ name: "x", data_type: "TYPE_FP32" }],
  });
  await call(`${url}/infer`, tensor());
  const [stats] = (await call(`${url}/stats`)).json.model_stats;
  expect(stats).toMatchObject({
    name: "fp32",
    version: "1",
    inference_stats: { success: { count: 8 } },
    batch_stats: [{ batch_size: 1 }],
  });
  expect((await call(`${server.url}/v2/models/none/stats`)).status).toBe(404);
});

async function rawCall(url: string, body: unknown, accepted: string): Promise<{ raw: Buffer; header: string | null }> {
  const { request } = await import("node:http");
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: "POST", headers: { "accept-encoding": accepted } }, (answer) => {
      const pieces: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => pieces.push(chunk));
      answer.on("end", () =>
        resolve({ raw: Buffer.concat(pieces), header: answer.headers["content-encoding"] ?? null }),
      );
    });
    asked.on("error", reject);
    asked.end(JSON.stringify(body));
  });
}

test("settings are true, or refused; shared memory is refused in words", async () => {
  const lines: string[] = [];
  const note = (message: string): void => void lines.push(message);
  const log = { error: note, warn: note, info: note, debug: () => undefined, with: () => log };
  const server = await serve({ log }, FP32);
  const at = (path: string, body?: unknown) => call(`${server.url}/v2/${path}`, body);

  expect((await at("logging", { log_verbose_level: 1 })).json).toMatchObject({ log_verbose_level: 1, log_info: true });
  await at("health/live");
  expect(lines).toContain("request");
  await at("logging", { log_info: false });
  lines.length = 0;
  await at("health/live");
  expect(lines).toEqual([]);
  expect((await at("logging", { log_file: "/x" })).status).toBe(400);
  expect((await at("logging", { log_info: 1 })).status).toBe(400);
  expect((await at("trace/setting")).json.trace_level).toEqual(["OFF"]);
  expect((await at("trace/setting", { trace_level: ["TIMESTAMPS"] })).status).toBe(400);
  expect((await at("systemsharedmemory/region/r/register", {})).json.error).toContain("shared memory is not offered");
  expect((await at("cudasharedmemory/status")).json).toEqual([]);
});

test("a request has as long as it says, in REST and gRPC", async () => {
  const server = await serve({ requestTimeoutMs: 60_000 }, FP32);
  const url = `${server.url}/v2/models/fp32/infer`;

  expect((await call(url, { ...tensor(1), parameters: { timeout: 0.000_001 } })).status).toBe(504);
  expect((await call(url, tensor(1), { "x-request-timeout-ms": "soon" })).status).toBe(400);
  expect((await call(url, tensor(1), { "x-request-timeout-ms": "60000" })).status).toBe(200);
  const message = {
    model_name: "fp32",
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 1], contents: { fp32_contents: [1] } }],
  };
  const late = { ...message, parameters: { timeout: { double_param: 0.000_001 } } };
  expect((await callGrpc(server.port, "ModelInfer", [late])).status).toBe(4);
  expect((await callGrpc(server.port, "ModelInfer", [message])).status).toBe(0);
});

test("limits: so many run, so many wait in their order, the others are turned away; who went away holds no place", async () => {
  const clock = virtualClock();
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const model = (id: number) =>
    ({
      batcher: {
        infer: () =>
          new Promise((resolve) => {
            begun.push(id);
            ends.push(() => resolve([]));
          }),
      },
    }) as unknown as ServedModel;
  const inference = createInference({} as Repository, clock, { maxConcurrent: 1, maxQueued: 2, timeoutMs: 0 });
  const gone = new Set<number>();
  const run = (id: number, timeoutMs?: number) =>
    inference.run(model(id), [], { timeoutMs, isGone: () => gone.has(id) }).then(
      () => id,
      (error: { status: number }) => error.status,
    );

  const [first, second, third] = [run(1), run(2), run(3)];
  expect(await run(4)).toBe(503);
  expect(inference.load).toEqual({ running: 1, waiting: 2 });
  gone.add(2);
  const fifth = run(5, 1000);
  ends[0]?.();
  expect([await first, await Promise.race([third, run(6, 0)])]).toEqual([1, 504]);
  await clock.advance(1000);
  expect(await fifth).toBe(504);
  ends[1]?.();
  expect([await third, begun]).toEqual([3, [1, 3]]);
  void second;
});

test("models are loaded with a configuration or files that are sent, until they are loaded anew", async () => {
  const server = await serve({}, { ...FP32, "m/1/model.onnx": identityModel("FP32") });
  const load = (name: string, parameters: object) =>
    call(`${server.url}/v2/repository/models/${name}/load`, { parameters });
  const file = Buffer.from(identityModel("INT64")).toString("base64");
  const config = JSON.stringify({ max_batch_size: 7 });
  const datatype = async (name: string) => (await call(`${server.url}/v2/models/${name}`)).json.inputs?.[0].datatype;

  expect((await load("m", { config })).status).toBe(200);
  expect((await call(`${server.url}/v2/models/m/config`)).json).toMatchObject({ max_batch_size: 7 });
  expect((await load("m", { config, "file:1/model.onnx": file })).status).toBe(200);
  expect(await datatype("m")).toBe("INT64");
  expect((await load("sent", { config: "{}", "file:2/model.onnx": file })).status).toBe(200);
  expect((await call(`${server.url}/v2/models/sent`)).json.versions).toEqual(["2"]);
  expect((await load("m", {})).status).toBe(200);
  expect(await datatype("m")).toBe("FP32");
  expect((await call(`${server.url}/v2/repository/models/sent/unload`, {})).status).toBe(200);
  for (const parameters of [
    { config: "{" },
    { config: 1 },
    { config, other: "x" },
    { "file:1/model.onnx": file },
    { config, "file:../1/model.onnx": file },
    { config, "file:1/../../x": file },
    { config, "file:1/model.onnx": "no base64!" },
    { config, "file:1/model.onnx": Buffer.from("no model").toString("base64") },
  ])
    expect((await load("m", parameters)).status).toBe(400);
  expect(await datatype("m")).toBe("FP32");
});
