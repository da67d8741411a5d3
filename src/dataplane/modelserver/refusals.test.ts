/** What is neither right nor ignored: each fault is the request's, in words, over the protocols that know it. */
import { expect, onTestFinished, test } from "vitest";
import { encodeOnnxModel } from "../../kernel/onnx/index.js";
import { call, callGrpc, serveProtocols } from "./protocols.fixture.js";

const pair = (name: string, rows: string) => ({ name, type: "FP32" as const, shape: [rows, 2] });

/** sum = a + b, which onnxruntime would also compute for one row of `b` and many of `a`. */
const sum = (a: string, b: string): Uint8Array =>
  encodeOnnxModel({
    producer: "test",
    graph: {
      name: "sum",
      inputs: [pair("a", a), pair("b", b)],
      outputs: [pair("sum", a)],
      constants: [],
      nodes: [{ op: "Add", inputs: ["a", "b"], outputs: ["sum"] }],
    },
  });

const rowsOf = (name: string, rows: number) => ({
  ...{ name, datatype: "FP32", shape: [rows, 2] },
  data: Array.from({ length: 2 * rows }, (_, index) => index),
});

test("inputs that the model declares of one length have one, over every protocol; others may be spread", async () => {
  const server = await serveProtocols({}, { "same/1/model.onnx": sum("n", "n"), "free/1/model.onnx": sum("n", "m") });
  onTestFinished(() => server.stop());
  const ask = (model: string, rows: number) =>
    call(`${server.url}/v2/models/${model}/infer`, { inputs: [rowsOf("a", 2), rowsOf("b", rows)] });
  const words = "input b has 1 rows, but input a has 2; the model takes as many of each";

  expect((await ask("same", 1)).json).toEqual({ error: words });
  expect((await ask("same", 1)).status).toBe(400);
  expect((await ask("same", 2)).json.outputs[0]).toMatchObject({ shape: [2, 2], data: [0, 2, 4, 6] });
  expect((await ask("free", 1)).json.outputs[0]).toMatchObject({ shape: [2, 2], data: [0, 2, 2, 4] });
  const columns = await call(`${server.url}/v1/models/same:predict`, {
    inputs: {
      a: [
        [0, 1],
        [2, 3],
      ],
      b: [[0, 1]],
    },
  });
  expect(columns).toMatchObject({ status: 400, json: { error: words } });
  const typed = (name: string, rows: number) => ({
    ...{ name, datatype: "FP32", shape: [rows, 2] },
    contents: { fp32_contents: Array.from({ length: 2 * rows }, () => 1) },
  });
  const grpc = await callGrpc(server.port, "ModelInfer", [
    { model_name: "same", inputs: [typed("a", 2), typed("b", 1)] },
  ]);
  expect(grpc).toMatchObject({ status: 3, message: words });
});

test("base64 that is none, flags that are none and members that exclude each other are refused", async () => {
  const server = await serveProtocols();
  onTestFinished(() => server.stop());
  const predict = (b64: string) => call(`${server.url}/v1/models/bytes:predict`, { instances: [[{ b64 }]] });
  const event = (more: object) =>
    call(
      `${server.url}/v1/models/fp32:predict`,
      { specversion: "1.0", id: "1", source: "/s", type: "t", ...more },
      { "content-type": "application/cloudevents+json" },
    );
  const refusal = (words: string) => ({ status: 400, json: { error: expect.stringContaining(words) } });

  expect(await predict("Y2F0")).toMatchObject({ status: 200, json: { predictions: [["cat"]] } });
  expect(await predict("Y2F0cw")).toMatchObject({ status: 200, json: { predictions: [["cats"]] } });
  for (const [b64, words] of [
    ["!!", "a b64 value is not base64"],
    ["Y2F0Y", "a b64 value is not base64"],
    ["Y2F=0", "a b64 value is not base64"],
    ["/w==", "element 0 is not UTF-8"],
  ] as const)
    expect(await predict(b64)).toMatchObject(refusal(words));
  expect(await event({ data_base64: "!!" })).toMatchObject(refusal("data_base64 is not base64"));
  expect(await event({ data_base64: 5 })).toMatchObject(refusal("data_base64 is not base64"));
  expect(await event({ data: { instances: [[1]] }, data_base64: "e30=" })).toMatchObject(refusal("both data and"));
  const inputs = [{ name: "x", datatype: "FP32", shape: [1, 1], data: [1] }];
  for (const binary_data_output of ["true", 1, null])
    expect(
      await call(`${server.url}/v2/models/fp32/infer`, { inputs, parameters: { binary_data_output } }),
    ).toMatchObject(refusal("binary_data_output must be true or false"));
  expect(await call(`${server.url}/v2/repository/index`, { ready: "yes" })).toMatchObject(refusal("ready must be"));
});

test("null is no value for optional fields, as clients write it that have a field for everything", async () => {
  const server = await serveProtocols({}, { "fp32/1/model.onnx": sum("n", "n") });
  onTestFinished(() => server.stop());
  const [a, input] = [rowsOf("a", 1), rowsOf("b", 1)];
  const infer = (body: object) => call(`${server.url}/v2/models/fp32/infer`, body);
  const plain = await infer({ inputs: [a, input] });
  const nothing = { id: null, parameters: null, outputs: null, model_name: null, model_version: null };

  expect(await infer({ ...nothing, inputs: [a, { ...input, parameters: null }] })).toEqual(plain);
  expect(plain).toMatchObject({ status: 200, json: { outputs: [{ data: [0, 2] }] } });
  expect(plain.json).not.toHaveProperty("id");
  for (const wrong of [
    { inputs: null },
    { inputs: [a, { ...input, data: null }] },
    { inputs: [a, { ...input, shape: null }] },
  ])
    expect((await infer(wrong)).status).toBe(400);
});

test("the index keeps the versions of a model that is unloaded; a slash at a path's end changes nothing", async () => {
  const files = { "m/3/model.onnx": sum("n", "n"), "m/7/model.onnx": sum("n", "n") };
  const server = await serveProtocols({}, files);
  onTestFinished(() => server.stop());
  const index = async () => (await call(`${server.url}/v2/repository/index`, {})).json;
  const both = (state: string, reason: string) => ["3", "7"].map((version) => ({ name: "m", version, state, reason }));

  expect(await index()).toEqual(both("READY", ""));
  for (let time = 0; time < 2; time++) {
    await call(`${server.url}/v2/repository/models/m/unload`, {});
    expect(await index()).toEqual(both("UNAVAILABLE", "unloaded"));
  }
  await call(`${server.url}/v2/repository/models/m/load`, {});
  expect(await index()).toEqual(both("READY", ""));
  for (const path of ["/v2", "/v2/health/live", "/v2/models", "/v2/models/m", "/v2/models/m/ready", "/v1/models/m"]) {
    const plain = await call(`${server.url}${path}`);
    expect(plain.status).toBe(200);
    expect((await call(`${server.url}${path}/`)).json).toEqual(plain.json);
  }
  expect((await call(`${server.url}/v2//models`)).status).toBe(404);
});
