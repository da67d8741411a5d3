import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { createBodyBudget } from "../../kernel/http1/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import type { OnnxType } from "../../kernel/onnx/index.js";
import { encodeOnnxModel } from "../../kernel/onnx/index.js";
import { ModelError, type ModelServer, type ModelServerOptions, runModelServer } from "./index.js";
import { readPredictRequest } from "./v1.js";
import { readInferRequest } from "./v2.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** y = x, for one type. */
const identity = (type: OnnxType, shape: readonly (number | string)[] = ["batch", "n"]): Uint8Array =>
  encodeOnnxModel({
    producer: "test",
    graph: {
      name: "identity",
      inputs: [{ name: "x", type, shape }],
      outputs: [{ name: "y", type, shape }],
      constants: [],
      nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }],
    },
  });

/** Takes `table[index]`: an index that is too large fails inside the model. */
const lookUp = (): Uint8Array =>
  encodeOnnxModel({
    producer: "test",
    graph: {
      name: "lookup",
      inputs: [{ name: "index", type: "INT64", shape: ["batch"] }],
      outputs: [{ name: "value", type: "FP32", shape: ["batch"] }],
      constants: [{ name: "table", type: "FP32", shape: [3], data: Float32Array.of(10, 20, Number.NaN) }],
      nodes: [{ op: "Gather", inputs: ["table", "index"], outputs: ["value"], attributes: { axis: { int: 0 } } }],
    },
  });

async function folderWith(files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "modelserver-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}

async function serve(options: Partial<ModelServerOptions> & Pick<ModelServerOptions, "source">): Promise<ModelServer> {
  const server = await runModelServer({ port: 0, clock: systemClock, log: silentLogger, drainDelayMs: 0, ...options });
  closers.push(() => server.close());
  return server;
}

async function call(server: ModelServer, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const raw =
    body === undefined || typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  const answer = await fetch(
    `${server.url}${path}`,
    body === undefined ? {} : { method: "POST", body: (raw ?? null) as string | null, headers },
  );
  const text = await answer.text();
  return {
    status: answer.status,
    headers: answer.headers,
    text,
    json: answer.headers.get("content-type")?.includes("json") === true ? JSON.parse(text) : undefined,
  };
}

const tensor = (datatype: string, shape: readonly number[], data: unknown) => ({
  inputs: [{ name: "x", datatype, shape, data }],
});

test("a repository's models answer in every datatype, 64-bit integers exactly", async () => {
  const types = [
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
  ] as const;
  const samples: Record<string, string> = {
    BOOL: "[true,false]",
    UINT64: "[0,18446744073709551615]",
    INT64: "[-9223372036854775808,9007199254740993]",
    FP16: "[0.5,-65504]",
    FP32: "[1.5,-0.25]",
    FP64: "[1e300,0.1]",
    BYTES: '["ä","b"]',
  };
  const server = await serve({
    source: {
      repository: await folderWith(Object.fromEntries(types.map((type) => [`${type}/1/model.onnx`, identity(type)]))),
    },
  });
  await server.loaded;

  for (const type of types) {
    const data = samples[type] ?? "[1,2]";
    const answer = await call(
      server,
      `/v2/models/${type}/infer`,
      `{"inputs":[{"name":"x","datatype":"${type}","shape":[1,2],"data":${data}}]}`,
    );
    expect(answer.text).toBe(
      `{"model_name":"${type}","model_version":"1","outputs":[{"name":"y","datatype":"${type}","shape":[1,2],"data":${data.replace("1e300", "1e+300")}}]}`,
    );
  }
});

test("a single model: metadata, readiness, V1, V2, versions, metrics", async () => {
  const folder = await folderWith({
    "1/model.onnx": identity("FP32", ["batch", 2]),
    "2/model.onnx": identity("FP32", ["batch", 2]),
  });
  const server = await serve({ source: { name: "m", folder } });
  await server.loaded;

  expect((await call(server, "/v2")).json).toMatchObject({
    name: "argosy",
    extensions: expect.arrayContaining(["binary_tensor_data", "statistics"]),
  });
  expect((await call(server, "/v2/health/ready")).json).toEqual({ ready: true });
  expect((await call(server, "/v2/models/m")).json).toEqual({
    name: "m",
    versions: ["1", "2"],
    platform: "onnxruntime_onnx",
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
  });
  expect((await call(server, "/v1/models")).json).toEqual({ models: ["m"] });
  expect((await call(server, "/v1/models/m")).json).toMatchObject({
    name: "m",
    ready: true,
    model_version_status: [{ version: "2", state: "AVAILABLE" }, { version: "1" }],
  });
  expect(
    (
      await call(server, "/v1/models/m:predict", {
        instances: [
          [1, 2],
          [3, 4],
        ],
      })
    ).json,
  ).toEqual({
    predictions: [
      [1, 2],
      [3, 4],
    ],
  });
  expect((await call(server, "/v1/models/m:predict", { inputs: { x: [[1, 2]] } })).json).toEqual({ outputs: [[1, 2]] });
  expect(
    (await call(server, "/v2/models/m/infer", { id: "é", ...tensor("FP32", [1, 2], [[1, 2]]) })).json,
  ).toMatchObject({ id: "é", model_version: "2" });
  expect((await call(server, "/v2/models/m/versions/1/infer", tensor("FP32", [1, 2], [1, 2]))).json.model_version).toBe(
    "1",
  );
  expect((await call(server, "/v2/models/m/versions/3/infer", tensor("FP32", [1, 2], [1, 2]))).status).toBe(404);
  expect((await call(server, "/v2/repository/models/m/unload", "")).status).toBe(403);
  expect((await call(server, "/metrics")).text).toContain(
    'argosy_modelserver_inferences_total{model="m",version="2"} 3',
  );
});

test.each([
  ["/v2/models/m/infer", "{", 400, "not JSON"],
  ["/v2/models/m/infer", new Uint8Array([0x22, 0xff, 0x22]), 400, "not UTF-8"],
  ["/v2/models/m/infer", { inputs: [] }, 400, "input x is missing; the model takes x"],
  ["/v2/models/m/infer", tensor("FP32", [1, 3], [1, 2, 3]), 400, "the model takes [-1,2]"],
  ["/v2/models/m/infer", tensor("FP32", [2, 2], [1, 2, 3]), 400, "3 elements, but shape [2,2] needs 4"],
  ["/v2/models/m/infer", tensor("FP32", [1, 2], [1, "2"]), 400, 'element 1 is "2", which is no FP32'],
  ["/v2/models/m/infer", tensor("FP32", [1, 2], [1, 1e39]), 400, "element 1 is beyond FP32"],
  ["/v2/models/m/infer", tensor("FP31", [1, 2], [1, 2]), 400, "which the protocol does not know"],
  ["/v2/models/m/infer", tensor("FP32", [4294967296, 4294967296], [1, 2]), 400, "is too large"],
  [
    "/v2/models/m/infer",
    { ...tensor("FP32", [1, 2], [1, 2]), outputs: [{ name: "z" }] },
    400,
    'no output "z"; it gives y',
  ],
  [
    "/v2/models/m/infer",
    { inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } }] },
    400,
    "Inference-Header-Content-Length is missing",
  ],
  ["/v2/models/nope/infer", tensor("FP32", [1, 2], [1, 2]), 404, "there is no model nope"],
  ["/v2/models/__proto__/infer", "{}", 404, "there is no model __proto__"],
  ["/v2/models/..%2fm/infer", "{}", 404, "there is no model ../m"],
  ["/v2/models/m/generate", { text_input: "a" }, 400, "model m generates no text"],
  ["/v1/models/m:predict", { instances: [[1]] }, 400, "the model takes [-1,2]"],
  ["/v1/models/m:predict", { instances: [[1, null]] }, 400, "element 1 is null"],
  ["/v1/models/m:predict", {}, 400, "needs instances (rows) or inputs (columns)"],
  ["/v1/models/m:explain", {}, 400, "the request needs instances"],
])("%s refuses %j with %i", async (path, body, status, words) => {
  const server = await serve({
    source: { name: "m", folder: await folderWith({ "model.onnx": identity("FP32", ["batch", 2]) }) },
  });
  await server.loaded;

  const answer = await call(server, path, body);

  expect(answer.status).toBe(status);
  expect(Object.keys(answer.json)).toEqual(["error"]);
  expect(answer.json.error).toContain(words);
});

test("binary tensors in and out, NaN included; JSON says that it cannot", async () => {
  const server = await serve({ source: { name: "m", folder: await folderWith({ "model.onnx": identity("FP32") }) } });
  await server.loaded;
  const head = JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } }],
    outputs: [{ name: "y", parameters: { binary_data: true } }],
  });
  const body = Buffer.concat([Buffer.from(head), Buffer.from(Float32Array.of(Number.NaN, 2).buffer)]);
  const headers = { "inference-header-content-length": String(head.length) };

  const answer = await fetch(`${server.url}/v2/models/m/infer`, {
    method: "POST",
    body: new Uint8Array(body),
    headers,
  });
  const bytes = Buffer.from(await answer.arrayBuffer());
  const asJson = await call(
    server,
    "/v2/models/m/infer",
    new Uint8Array(Buffer.concat([Buffer.from(head.replace("true", "false")), body.subarray(head.length)])),
    { "inference-header-content-length": String(head.length + 1) },
  );

  const length = Number(answer.headers.get("inference-header-content-length"));
  expect(JSON.parse(bytes.subarray(0, length).toString()).outputs[0]).toEqual({
    name: "y",
    datatype: "FP32",
    shape: [1, 2],
    parameters: { binary_data_size: 8 },
  });
  expect(bytes.subarray(length)).toEqual(body.subarray(head.length));
  expect(asJson.status).toBe(400);
  expect(asJson.json.error).toContain("output y holds NaN, which JSON cannot say");
});

test("what only the model can know is the request's fault, and hurts no neighbour", async () => {
  const server = await serve({ source: { name: "m", folder: await folderWith({ "model.onnx": lookUp() }) } });
  await server.loaded;
  const ask = (index: number) =>
    call(server, "/v2/models/m/infer", { inputs: [{ name: "index", datatype: "INT64", shape: [1], data: [index] }] });

  const answers = await Promise.all([ask(0), ask(7), ask(1), ask(2)]);

  expect(answers.map(({ status }) => status)).toEqual([200, 400, 200, 400]);
  expect(answers[2]?.json.outputs[0].data).toEqual([20]);
  expect(answers[1]?.json.error).toContain("the model could not compute");
});

test("bodies are bounded, also after decompression", async () => {
  const server = await serve({
    source: { name: "m", folder: await folderWith({ "model.onnx": identity("FP32") }) },
    maxBodyBytes: 2000,
  });
  await server.loaded;
  const request = JSON.stringify(tensor("FP32", [1, 2], [1, 2]));

  expect((await call(server, "/v2/models/m/infer", gzipSync(request), { "content-encoding": "gzip" })).status).toBe(
    200,
  );
  expect(
    (await call(server, "/v2/models/m/infer", gzipSync(" ".repeat(100_000)), { "content-encoding": "gzip" })).status,
  ).toBe(413);
  expect((await call(server, "/v2/models/m/infer", " ".repeat(3000))).status).toBe(413);
  expect((await call(server, "/v2/models/m/infer", request, { "content-encoding": "gzip" })).status).toBe(400);
  expect((await call(server, "/v2/models/m/infer", request, { "content-encoding": "br" })).status).toBe(415);
  expect((await call(server, "/v2/models/m/infer", request)).status).toBe(200);
});

test("bodies of all requests together are bounded", async () => {
  const charge = createBodyBudget(100);
  const [first, second] = [charge(), charge()];
  first.take(80);

  expect(() => second.take(30)).toThrow("requests with 80 bytes of body are being worked on");
  first.close();
  expect(() => second.take(90)).not.toThrow();
});

test("whatever a request says, it is answered or refused, never a fault of the server", async () => {
  const model = {
    name: "m",
    version: "1",
    inputs: [
      { name: "a", datatype: "INT64", shape: [-1, 2] },
      { name: "b", datatype: "BYTES", shape: [-1] },
    ],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1] }],
  } as const;
  const word = fc.constantFrom(
    "a",
    "b",
    "INT64",
    "BYTES",
    "inputs",
    "name",
    "shape",
    "datatype",
    "data",
    "outputs",
    "id",
    "parameters",
    "binary_data_size",
    "y",
    "instances",
  );
  const value = fc.letrec<{ any: unknown; input: unknown; request: unknown }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 3 },
      word,
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("any"), { maxLength: 4 }),
      fc.dictionary(word, tie("any"), { maxKeys: 4 }),
    ),
    input: fc.record({
      name: word,
      datatype: word,
      shape: fc.oneof(fc.array(fc.integer({ min: -1, max: 3 }), { maxLength: 3 }), tie("any")),
      data: tie("any"),
      parameters: fc.option(tie("any"), { nil: undefined }),
    }),
    request: fc.record(
      {
        inputs: fc.oneof(fc.array(tie("input"), { maxLength: 3 }), tie("any")),
        outputs: fc.option(tie("any"), { nil: undefined }),
        id: fc.option(tie("any"), { nil: undefined }),
        instances: fc.option(tie("any"), { nil: undefined }),
      },
      { requiredKeys: ["inputs"] },
    ),
  })).request;

  fc.assert(
    fc.property(
      value,
      fc.option(fc.string(), { nil: undefined }),
      fc.uint8Array({ maxLength: 20 }),
      (request, header, tail) => {
        const head = Buffer.from(JSON.stringify(request));
        const body = Buffer.concat([head, tail]);
        for (const attempt of [
          () => readInferRequest(head, undefined, model),
          () => readInferRequest(body, String(head.length), model),
          () => readInferRequest(body, header, model),
          () => readPredictRequest(head, model),
        ]) {
          try {
            attempt();
          } catch (error) {
            expect(error).toMatchObject({ status: 400 });
          }
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test("a file that is no model: the server lives, says why, and is not ready", async () => {
  const server = await serve({ source: { name: "m", folder: await folderWith({ "model.onnx": "not a model" }) } });
  await expect(server.loaded).rejects.toMatchObject({ reason: "ModelLoadFailed" });

  const ready = await call(server, "/v2/health/ready");
  const model = await call(server, "/v2/models/m/ready");

  expect((await call(server, "/v2/health/live")).status).toBe(200);
  expect(ready.status).toBe(503);
  expect(ready.json.error).toMatch(/^ModelLoadFailed: .*cannot be loaded as ONNX/);
  expect(model.status).toBe(503);
  expect(model.headers.get("retry-after")).toBe("1");
});

test("what holds a download up is said while it is tried again", async () => {
  const folder = await folderWith({ "model.onnx": identity("FP32") });
  let mend: () => void = () => {};
  const server = await serve({
    source: async (report) => {
      report(new ModelError("ModelDownloadFailed", "the store is away"));
      await new Promise<void>((resolve) => {
        mend = resolve;
      });
      return { name: "m", folder };
    },
  });
  const early = await call(server, "/v2/health/ready");
  mend();
  await server.loaded;

  expect(early.json.error).toBe("ModelDownloadFailed: the store is away");
  expect((await call(server, "/v2/health/ready")).status).toBe(200);
});

test("an element type that the binding cannot pass is named", async () => {
  const server = await serve({ source: { name: "m", folder: await folderWith({ "model.onnx": identity("BF16") }) } });

  await expect(server.loaded).rejects.toThrow(
    "an input or output is BF16, which onnxruntime's Node binding cannot pass",
  );
});

test("a broken model in a repository leaves the others alone, and can be mended by load", async () => {
  const repository = await folderWith({
    "good/1/model.onnx": identity("FP32"),
    "bad/1/model.onnx": "no",
    "half/1/model.onnx": identity("FP32"),
    "half/2/model.onnx": "no",
    "empty/readme": "",
  });
  const server = await serve({ source: { repository } });
  await server.loaded;
  const index = (await call(server, "/v2/repository/index", "")).json as {
    name: string;
    version?: string;
    state: string;
    reason: string;
  }[];
  await writeFile(join(repository, "bad/1/model.onnx"), identity("FP32"));

  const mended = await call(server, "/v2/repository/models/bad/load", "");
  const unloaded = await call(server, "/v2/repository/models/good/unload", "{}");

  expect(Object.fromEntries(index.map(({ name, version, state }) => [`${name} ${version ?? "-"}`, state]))).toEqual({
    "good 1": "READY",
    "bad -": "UNAVAILABLE",
    "half 1": "READY",
    "half 2": "UNAVAILABLE",
    "empty -": "UNAVAILABLE",
  });
  expect(index.find(({ name }) => name === "empty")?.reason).toContain("holds no model file");
  expect(mended.status).toBe(200);
  expect((await call(server, "/v2/models/bad/ready")).status).toBe(200);
  expect(unloaded.status).toBe(200);
  expect((await call(server, "/v2/models/good/ready")).status).toBe(503);
  expect((await call(server, "/v2/repository/models/none/load", "")).status).toBe(404);
  expect((await call(server, "/v2/repository/models/bad/load", { parameters: { config: "{" } })).status).toBe(400);
});

test("it answers with why it is not ready while the model is on its way, and drains", async () => {
  const folder = await folderWith({ "model.onnx": identity("FP32") });
  let release: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const server = await serve({ source: () => gate.then(() => ({ name: "m", folder })), drainDelayMs: 1000 });
  const early = await call(server, "/v2/health/ready");
  release();
  await server.loaded;
  const ready = await call(server, "/v2/health/ready");
  const closing = server.close();
  const draining = await call(server, "/v2/health/ready");
  const late = await call(server, "/v2/models/m/infer", tensor("FP32", [1, 2], [1, 2]));
  await closing;

  expect(early.json.error).toContain("still being fetched");
  expect(ready.status).toBe(200);
  expect(draining.json.error).toContain("shutting down");
  expect(late.status).toBe(200);
  await expect(call(server, "/v2")).rejects.toThrow();
});

test("a tabular model takes any numbers, and null as a missing value", async () => {
  const model = JSON.stringify({
    format: "argosy-sklearn",
    version: 1,
    estimator: {
      type: "Pipeline",
      steps: [
        { type: "SimpleImputer", statistics: [10, 20] },
        { type: "linear", coefficients: [[1, 2]], intercepts: [0.5] },
      ],
    },
  });
  const server = await serve({ source: { name: "m", folder: await folderWith({ "model.json": model }) } });
  await server.loaded;
  const infer = (datatype: string, data: unknown) =>
    call(server, "/v2/models/m/infer", { inputs: [{ name: "input-0", datatype, shape: [1, 2], data }] });

  const described = await call(server, "/v2/models/m");
  const answers = [await infer("FP64", [1, null]), await infer("FP32", [1, 2]), await infer("INT64", [3, 4])];
  const rows = await call(server, "/v1/models/m:predict", { instances: [[null, 1]] });

  expect(described.json).toMatchObject({
    platform: "sklearn",
    inputs: [{ name: "input-0", datatype: "FP64", shape: [-1, 2] }],
  });
  expect(answers.map(({ json }) => json.outputs?.[0]?.data)).toEqual([[41.5], [5.5], [11.5]]);
  expect(rows.json).toEqual({ predictions: [12.5] });
});

test("predictions of a tabular model are explained over V1 and V2; a model of other shapes has no explainer", async () => {
  const model = JSON.stringify({
    ...{ format: "argosy-sklearn", version: 1 },
    estimator: { type: "linear", coefficients: [[2, -1]], intercepts: [0.5] },
  });
  const folder = await folderWith({ "m/model.json": model, "texts/model.onnx": identity("BYTES") });
  const server = await serve({ source: { repository: folder } });
  await server.loaded;
  const parameters = { background: [[0, 0]] };

  const rows = await call(server, "/v1/models/m:explain", { instances: [[3, 4]], parameters });
  const inputs = [{ name: "input-0", datatype: "FP64", shape: [1, 2], data: [3, 4] }];
  const tensors = await call(server, "/v2/models/m/explain", { inputs, parameters });
  const refused = await call(server, "/v2/models/m/explain", { inputs, parameters: { method: "magic" } });
  const slip = await call(server, "/v2/models/m/explain", { inputs, parameters: { ...parameters, methd: "shapley" } });
  const none = await call(server, "/v1/models/texts:explain", { instances: [["a"]] });
  const bare = await call(server, "/v1/models/m:explain", { instances: [[3, 4]] });

  expect(rows.json).toMatchObject({
    ...{ model_name: "m", model_version: "1", method: "shapley", exact: true, base_values: [0.5] },
    explanations: [{ prediction: [2.5], shapley_values: [[6, -4]] }],
  });
  expect(tensors.json).toEqual(rows.json);
  expect(refused).toMatchObject({ status: 400, json: { error: expect.stringContaining("method must be") } });
  expect(slip).toMatchObject({ status: 400, json: { error: expect.stringContaining("methd; did you mean method?") } });
  expect(none).toMatchObject({ status: 404, json: { error: expect.stringContaining("has no explainer") } });
  expect(bare).toMatchObject({ status: 404, json: { error: expect.stringContaining("in parameters.method, or") } });
});

test("a request waits for company as long as the starter says, and no longer than until the batch is full", async () => {
  const model = JSON.stringify({
    ...{ format: "argosy-sklearn", version: 1 },
    estimator: { type: "linear", coefficients: [[2, -1]], intercepts: [0.5] },
  });
  const folder = await folderWith({ "m/model.json": model });
  const server = await serve({ source: { repository: folder }, maxBatchRows: 2, maxBatchDelayMs: 600_000 });
  await server.loaded;
  const inputs = [{ name: "input-0", datatype: "FP64", shape: [1, 2], data: [3, 4] }];

  const answers = await Promise.all([1, 2].map(() => call(server, "/v2/models/m/infer", { inputs })));
  const stats = await call(server, "/v2/models/m/stats");

  expect(answers.map(({ status }) => status)).toEqual([200, 200]);
  expect(stats.json.model_stats[0].batch_stats).toMatchObject([{ batch_size: 2 }]);
});
