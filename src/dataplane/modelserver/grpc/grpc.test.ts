import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callGrpc, encodeProto, frameOf, serveProtocols } from "../protocols.fixture.js";
import type { ProtoMessage } from "./codec.js";
import { checkInferMessage, readInferMessage } from "./infer-messages.js";
import { parseProto } from "./schema.js";
import { encodeMessage, readTimeoutHeader } from "./status.js";

let server: Awaited<ReturnType<typeof serveProtocols>>;
beforeAll(async () => {
  server = await serveProtocols({ grpcPort: 0, grpcReflection: true, maxBodyBytes: 100_000 });
});
afterAll(() => server.stop());

const STATUS = { ok: 0, invalid: 3, deadline: 4, notFound: 5, exhausted: 8, unimplemented: 12 };

const infer = (model: string, tensor: ProtoMessage, more: ProtoMessage = {}): ProtoMessage => ({
  model_name: model,
  inputs: [{ name: "x", ...tensor }],
  ...more,
});
const fp32 = (...values: number[]): ProtoMessage => ({
  datatype: "FP32",
  shape: [1, values.length],
  contents: { fp32_contents: values },
});

test("both ports speak gRPC and REST; health, metadata, readiness", async () => {
  for (const port of [server.port, server.grpcPort ?? 0]) {
    expect((await callGrpc(port, "ServerLive", [{}])).answers).toEqual([{ live: true }]);
    expect((await callGrpc(port, "grpc.health.v1.Health/Check", [{}])).answers).toEqual([{ status: 1 }]);
    expect((await fetch(`http://127.0.0.1:${port}/v2/health/live`)).status).toBe(200);
  }
  const metadata = await callGrpc(server.port, "ModelMetadata", [{ name: "fp16" }]);
  expect(metadata.answers[0]).toMatchObject({
    ...{ name: "fp16", versions: ["1"], platform: "onnxruntime_onnx" },
    inputs: [{ name: "x", datatype: "FP16", shape: [-1, -1] }],
  });
  expect((await callGrpc(server.port, "ModelReady", [{ name: "none" }])).status).toBe(STATUS.notFound);
});

test.each([
  ["bool", "BOOL", { bool_contents: [true, false] }],
  ["int8", "INT8", { int_contents: [-128, 127] }],
  ["uint16", "UINT16", { uint_contents: [0, 65_535] }],
  ["int32", "INT32", { int_contents: [-2_147_483_648, 2_147_483_647] }],
  ["int64", "INT64", { int64_contents: [-(2n ** 63n), 2n ** 53n + 1n] }],
  ["uint64", "UINT64", { uint64_contents: [0, 2n ** 64n - 1n] }],
  ["fp32", "FP32", { fp32_contents: [0.5, -2] }],
  ["fp64", "FP64", { fp64_contents: [0.1, 1e308] }],
  ["bytes", "BYTES", { bytes_contents: [Buffer.from(""), Buffer.from("漢字")] }],
])("%s comes back in its typed field", async (model, datatype, contents) => {
  const { status, answers, message } = await callGrpc(server.port, "ModelInfer", [
    infer(model, { datatype, shape: [1, 2], contents }, { id: "é" }),
  ]);

  expect([status, message]).toEqual([STATUS.ok, ""]);
  expect(answers[0]).toMatchObject({ id: "é", outputs: [{ name: "y", datatype, shape: [1, 2], contents }] });
});

test("raw tensors go raw, FP16 always; compressed messages, parameters, one output", async () => {
  const raw = Buffer.from(Float32Array.of(Number.NaN, 1).buffer);
  const asked = infer(
    "fp32",
    { datatype: "FP32", shape: [1, 2] },
    { raw_input_contents: [raw], outputs: [{ name: "y" }] },
  );
  const half = infer("fp16", { datatype: "FP16", shape: [1, 1] }, { raw_input_contents: [Buffer.of(0, 60)] });
  const bytes = encodeProto(
    "inference.ModelInferRequest",
    infer("fp32", fp32(1), { parameters: { a: { bool_param: true } } }),
  );
  const headers = { "grpc-encoding": "gzip" };

  expect((await callGrpc(server.port, "ModelInfer", [asked])).answers[0]).toMatchObject({ raw_output_contents: [raw] });
  expect((await callGrpc(server.port, "ModelInfer", [half])).answers[0]).toMatchObject({
    raw_output_contents: [Buffer.of(0, 60)],
  });
  expect((await callGrpc(server.port, "ModelInfer", frameOf(gzipSync(bytes), true), headers)).status).toBe(STATUS.ok);
});

test.each([
  ["unknown model", infer("none", fp32(1)), STATUS.notFound, "there is no model none"],
  ["unknown version", infer("fp32", fp32(1), { model_version: "7" }), STATUS.notFound, "no version 7"],
  ["no inputs", { model_name: "fp32" }, STATUS.invalid, "input x is missing"],
  ["unknown input", infer("fp32", { ...fp32(1), name: "z" }), STATUS.invalid, "no input"],
  [
    "twice",
    {
      model_name: "fp32",
      inputs: [
        { name: "x", ...fp32(1) },
        { name: "x", ...fp32(1) },
      ],
    },
    STATUS.invalid,
    "twice",
  ],
  ["datatype", infer("fp32", { ...fp32(1), datatype: "FP64" }), STATUS.invalid, "the model takes FP32"],
  ["no datatype", infer("fp32", { ...fp32(1), datatype: "float" }), STATUS.invalid, "does not know"],
  ["too few", infer("fp32", { ...fp32(1), shape: [1, 2] }), STATUS.invalid, "elements"],
  ["too many", infer("fp32", { ...fp32(1, 2), shape: [1, 1] }), STATUS.invalid, "more elements"],
  ["lying shape", infer("fp32", { ...fp32(1), shape: [1, 200_000_000] }), STATUS.invalid, "too few elements"],
  ["huge shape", infer("fp32", { ...fp32(1), shape: [4_294_967_296, 4_294_967_296] }), STATUS.invalid, "too large"],
  ["negative", infer("fp32", { ...fp32(1), shape: [1, -1] }), STATUS.invalid, "whole numbers from 0"],
  [
    "other contents",
    infer("fp32", { ...fp32(1), contents: { int_contents: [1] } }),
    STATUS.invalid,
    "not those of FP32",
  ],
  [
    "out of range",
    infer("int8", { datatype: "INT8", shape: [1, 1], contents: { int_contents: [128] } }),
    STATUS.invalid,
    "no INT8",
  ],
  [
    "both",
    infer("fp32", fp32(1), { raw_input_contents: [Buffer.alloc(4)] }),
    STATUS.invalid,
    "beside raw_input_contents",
  ],
  [
    "raw count",
    infer("fp32", fp32(1), { raw_input_contents: [Buffer.alloc(4), Buffer.alloc(4)] }),
    STATUS.invalid,
    "2 raw_input_contents for 1",
  ],
  [
    "raw size",
    infer("fp32", { datatype: "FP32", shape: [1, 2] }, { raw_input_contents: [Buffer.alloc(4)] }),
    STATUS.invalid,
    "needs 8",
  ],
  [
    "shared memory",
    infer("fp32", { ...fp32(1), parameters: { shared_memory_region: { string_param: "r" } } }),
    STATUS.invalid,
    "shared memory is not offered",
  ],
  ["unknown output", infer("fp32", fp32(1), { outputs: [{ name: "z" }] }), STATUS.invalid, "no output"],
] as [string, ProtoMessage, number, string][])("a request with %s is refused", async (_, message, status, words) => {
  const end = await callGrpc(server.port, "ModelInfer", [message]);

  expect([end.status, end.answers]).toEqual([status, []]);
  expect(end.message).toContain(words);
});

test.each([
  ["an unknown method", "/inference.GRPCInferenceService/Dance", frameOf(Buffer.alloc(0)), {}, STATUS.unimplemented],
  ["an unknown coding", "ServerLive", frameOf(Buffer.alloc(0)), { "grpc-encoding": "snappy" }, STATUS.unimplemented],
  ["no message", "ServerLive", Buffer.alloc(0), {}, STATUS.invalid],
  ["half a message", "ServerLive", frameOf(Buffer.alloc(9)).subarray(0, 8), {}, STATUS.invalid],
  [
    "two messages",
    "ServerLive",
    Buffer.concat([frameOf(Buffer.alloc(0)), frameOf(Buffer.alloc(0))]),
    {},
    STATUS.invalid,
  ],
  ["a message that says it is too large", "ModelInfer", Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]), {}, STATUS.exhausted],
  [
    "a small message that grows",
    "ModelInfer",
    frameOf(gzipSync(Buffer.alloc(10_000_000)), true),
    { "grpc-encoding": "gzip" },
    STATUS.exhausted,
  ],
  [
    "a message that is not what its coding says",
    "ModelInfer",
    frameOf(Buffer.alloc(20), true),
    { "grpc-encoding": "gzip" },
    STATUS.invalid,
  ],
  ["bytes that are no message", "ModelInfer", frameOf(Buffer.of(0xff, 0xff, 0xff)), {}, STATUS.invalid],
  ["a broken deadline", "ServerLive", frameOf(Buffer.alloc(0)), { "grpc-timeout": "1x" }, STATUS.invalid],
  [
    "a deadline that is over",
    "ModelInfer",
    frameOf(encodeProto("inference.ModelInferRequest", infer("fp32", fp32(1)))),
    { "grpc-timeout": "0n" },
    STATUS.deadline,
  ],
] as [string, string, Buffer, Record<string, string>, number][])("%s", async (_, method, bytes, headers, status) => {
  expect((await callGrpc(server.port, method, bytes, headers)).status).toBe(status);
  expect((await callGrpc(server.port, "ServerLive", [{}])).status).toBe(STATUS.ok);
});

test("a stream of inferences is answered in order, faults in their place", async () => {
  const asked = [infer("fp32", fp32(1)), infer("none", fp32(1)), infer("fp32", fp32(2), { id: "last" })];

  const { status, answers } = await callGrpc(server.port, "ModelStreamInfer", asked);

  expect(status).toBe(STATUS.ok);
  expect(answers).toMatchObject([
    { infer_response: { outputs: [{ contents: { fp32_contents: [1] } }] } },
    { error_message: "there is no model none" },
    { infer_response: { id: "last" } },
  ]);
});

test("an answer of a stream says that it is the last one, where its request asks", async () => {
  const parameters = { triton_enable_empty_final_response: { bool_param: true } };
  const asked = [infer("fp32", fp32(1), { parameters }), infer("fp32", fp32(1))];

  const { answers } = await callGrpc(server.port, "ModelStreamInfer", asked);

  expect(answers).toMatchObject([
    { infer_response: { parameters: { triton_final_response: { bool_param: true } }, outputs: [{ name: "y" }] } },
    { infer_response: { outputs: [{ name: "y" }] } },
  ]);
  expect(JSON.stringify(answers[1])).not.toContain("triton_final_response");
});

test("configuration, statistics, settings, shared memory", async () => {
  const config = await callGrpc(server.port, "ModelConfig", [{ name: "int64" }]);
  const stats = await callGrpc(server.port, "ModelStatistics", [{ name: "fp32" }]);
  const log = await callGrpc(server.port, "LogSettings", [{ settings: { log_info: { bool_param: false } } }]);
  await callGrpc(server.port, "LogSettings", [{ settings: { log_info: { bool_param: true } } }]);

  expect(config.answers[0]).toMatchObject({
    config: { name: "int64", input: [{ name: "x", data_type: 9, dims: [-1] }] },
  });
  expect(stats.answers[0]).toMatchObject({
    model_stats: [{ name: "fp32", inference_stats: { success: {}, fail: {} } }],
  });
  expect(log.answers[0]).toMatchObject({ settings: { log_info: { bool_param: false } } });
  expect(
    (await callGrpc(server.port, "LogSettings", [{ settings: { log_file: { string_param: "/x" } } }])).status,
  ).toBe(STATUS.invalid);
  expect((await callGrpc(server.port, "SystemSharedMemoryStatus", [{}])).status).toBe(STATUS.ok);
  expect((await callGrpc(server.port, "CudaSharedMemoryRegister", [{}])).status).toBe(STATUS.unimplemented);
});

test("loading and unloading in each dialect", async () => {
  const ready = async () => (await callGrpc(server.port, "ModelReady", [{ name: "int8" }])).answers[0]?.["ready"];
  const own = "inference.GRPCInferenceService";
  const mlserver = "inference.model_repository.ModelRepositoryService";

  // KServe's file has the name in field 1.
  const kserve = await callGrpc(server.port, `${own}/RepositoryModelUnload`, [{ repository_name: "int8" }]);
  expect([kserve.answers, await ready()]).toEqual([[{ model_name: "int8", isUnloaded: true }], false]);
  await callGrpc(server.port, `${own}/RepositoryModelLoad`, [{ model_name: "int8" }]);
  expect(await ready()).toBe(true);
  await callGrpc(server.port, `${mlserver}/RepositoryModelUnload`, [{ model_name: "int8" }]);
  expect(await ready()).toBe(false);
  await callGrpc(server.port, `${mlserver}/RepositoryModelLoad`, [{ model_name: "int8" }]);
  const index = await callGrpc(server.port, `${mlserver}/RepositoryIndex`, [{ ready: true }]);
  expect(index.answers[0]?.["models"]).toContainEqual({ name: "int8", version: "1", state: "READY", reason: "" });
  expect((await callGrpc(server.port, `${own}/RepositoryModelLoad`, [{ model_name: "none" }])).status).toBe(
    STATUS.notFound,
  );
});

test("reflection answers by service, symbol and file, in both versions", async () => {
  for (const version of ["v1", "v1alpha"]) {
    const method = `grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const asked = [
      { list_services: "" },
      { file_containing_symbol: "inference.GRPCInferenceService.ModelInfer" },
      { file_by_filename: "inference.proto" },
      { file_containing_symbol: "none.None" },
    ];
    const { answers } = await callGrpc(server.port, method, asked);
    expect(answers[0]).toMatchObject({
      list_services_response: { service: expect.arrayContaining([{ name: "grpc.health.v1.Health" }]) },
    });
    expect(answers[1]?.["file_descriptor_response"]).toEqual(answers[2]?.["file_descriptor_response"]);
    expect(answers[3]).toMatchObject({ error_response: { error_code: STATUS.notFound } });
  }
});

test("whatever bytes a message has, it is read or refused", () => {
  const model = {
    ...{ name: "m", version: "1", outputs: [{ name: "y", datatype: "FP32" as const, shape: [-1] }] },
    inputs: [
      { name: "a", datatype: "INT64" as const, shape: [-1] },
      { name: "b", datatype: "BYTES" as const, shape: [-1] },
    ],
  };
  const contents = fc.record(
    { int64_contents: fc.array(fc.integer()), bytes_contents: fc.array(fc.uint8Array({ maxLength: 4 })) },
    { requiredKeys: [] },
  );
  const input = fc.record({
    name: fc.constantFrom("a", "b", "c"),
    datatype: fc.constantFrom("INT64", "BYTES", "FP32", ""),
    shape: fc.array(fc.integer({ min: -2, max: 5 }), { maxLength: 3 }),
    contents,
  });
  const message = fc.record({
    inputs: fc.array(input, { maxLength: 3 }),
    raw_input_contents: fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 3 }),
  });
  const attempt = (bytes: Buffer): void => {
    try {
      checkInferMessage(readInferMessage(bytes), model);
    } catch (error) {
      expect(error).toMatchObject({ status: 400 });
    }
  };
  fc.assert(
    fc.property(message, fc.nat(60), fc.nat(255), (value, at, byte) => {
      const bytes = encodeProto("inference.ModelInferRequest", value);
      attempt(bytes);
      if (at < bytes.length) bytes[at] = byte;
      attempt(bytes);
      attempt(bytes.subarray(0, at));
    }),
    { numRuns: 500 },
  );
});

test("small parts: timeouts, messages of statuses, what is wrong in a file", () => {
  expect(["1H", "2M", "3S", "4m", "5u", "6n"].map(readTimeoutHeader)).toEqual([
    3_600_000, 120_000, 3000, 4, 0.005, 0.000_006,
  ]);
  expect(encodeMessage("100% é\n")).toBe("100%25 %C3%A9%0A");
  expect(() => parseProto("x", "message A { B b = 1; }")).toThrow("B is not declared");
});
