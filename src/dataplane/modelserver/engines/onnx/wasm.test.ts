import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { encodeOnnxModel, type OnnxType } from "../../../../kernel/onnx/index.js";
import type { Datatype, TensorData } from "../../../../kernel/tensors/index.js";
import { temporaryFolder } from "../../../../testing/folder.js";
import { type Closers, openRepository, scale, tensor } from "../../models.fixture.js";
import { loadOnnx } from "./session.unsafe.js";
import { loadRuntime } from "./sessions.unsafe.js";

type OnnxGraph = Parameters<typeof encodeOnnxModel>[0]["graph"];

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A model's file. */
async function fileOf(graph: OnnxGraph): Promise<string> {
  const file = join(temporaryFolder("wasm"), "model.onnx");
  await writeFile(file, encodeOnnxModel({ producer: "test", graph }));
  return file;
}

const identity = (type: OnnxType): OnnxGraph => ({
  name: "identity",
  inputs: [{ name: "x", type, shape: ["n"] }],
  outputs: [{ name: "y", type, shape: ["n"] }],
  constants: [],
  nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }],
});

test.each<[Datatype, TensorData]>([
  ["BOOL", Uint8Array.of(0, 1, 1)],
  ["UINT8", Uint8Array.of(0, 7, 255)],
  ["UINT16", Uint16Array.of(0, 7, 65_535)],
  ["UINT32", Uint32Array.of(0, 7, 4_294_967_295)],
  ["UINT64", BigUint64Array.of(0n, 7n, (1n << 64n) - 1n)],
  ["INT8", Int8Array.of(-128, 0, 127)],
  ["INT16", Int16Array.of(-32_768, 0, 32_767)],
  ["INT32", Int32Array.of(-2_147_483_648, 0, 2_147_483_647)],
  ["INT64", BigInt64Array.of(-(1n << 63n), 0n, (1n << 63n) - 1n)],
  ["FP16", Uint16Array.of(0x3c00, 0x7bff, 0xfc00)],
  ["FP32", Float32Array.of(1.5, -0, 3e38)],
  ["FP64", Float64Array.of(1 / 3, -0, 1e308)],
  ["BYTES", ["a", "", "ü€"]],
])("%s passes onnxruntime's WebAssembly form as it passes its binary, none at all too", async (type, data) => {
  const file = await fileOf(identity(type));
  for (const how of [{}, { runtime: "wasm" }] as const) {
    const engine = await loadOnnx(file, how);
    onTestFinished(() => engine.close());

    expect(engine.inputs).toEqual([
      { name: "x", datatype: type, shape: [-1], ...(type === "BYTES" ? { isText: true } : {}) },
    ]);
    for (const given of [data, data.slice(0, 0)])
      expect(await engine.run([tensor("x", type, given)])).toEqual([tensor("y", type, given)]);
  }
});

test("what neither form can pass is refused by name, as the model is loaded", async () => {
  const file = await fileOf(identity("BF16"));
  for (const how of [{}, { runtime: "wasm" }] as const)
    await expect(loadOnnx(file, how)).rejects.toMatchObject({
      code: "ModelLoadFailed",
      message: expect.stringContaining("an input or output is BF16, which onnxruntime's Node binding cannot pass"),
    });
});

test("what the data of a request cause is the request's fault, in both forms", async () => {
  const file = await fileOf({
    name: "gather",
    inputs: [{ name: "x", type: "INT64", shape: ["n"] }],
    outputs: [{ name: "y", type: "FP32", shape: ["n"] }],
    constants: [{ name: "table", type: "FP32", shape: [2], data: Float32Array.of(1, 2) }],
    nodes: [{ op: "Gather", inputs: ["table", "x"], outputs: ["y"] }],
  });
  for (const how of [{}, { runtime: "wasm" }] as const) {
    const engine = await loadOnnx(file, how);
    onTestFinished(() => engine.close());
    await expect(engine.run([tensor("x", "INT64", BigInt64Array.of(9n))])).rejects.toMatchObject({ status: 400 });
    expect((await engine.run([tensor("x", "INT64", BigInt64Array.of(1n))]))[0]?.data).toEqual(Float32Array.of(2));
  }
});

test("a model that asks for it is served by it; a file that is no model is refused", async () => {
  const wasm = JSON.stringify({ parameters: { onnx_runtime: "wasm" } });
  const { repository } = await openRepository(
    {
      ...{ "m/config.json": wasm, "m/1/model.onnx": scale(3) },
      ...{ "none/config.json": wasm, "none/1/model.onnx": "nonsense" },
    },
    closers,
  );

  const [output] = await repository.find("m").batcher.infer([tensor("x", "FP32", Float32Array.of(1, 2), [1, 2])]);

  expect(output?.data).toEqual(Float32Array.of(3, 6));
  expect(repository.index().find(({ name }) => name === "none")?.reason).toMatch(/cannot be loaded as ONNX/);
});

test("where it is not installed, it is said what to install; it is the version that is tried here", async () => {
  const missing = (): Promise<never> => Promise.reject(new Error("Cannot find package"));
  const manifest: unknown = JSON.parse(
    await readFile(join(import.meta.dirname, "../../../../../package.json"), "utf8"),
  );

  await expect(loadRuntime("wasm", missing)).rejects.toMatchObject({
    code: "RuntimeUnavailable",
    message: expect.stringContaining("npm install onnxruntime-web"),
  });
  expect(manifest).toMatchObject({
    dependencies: { "onnxruntime-node": "1.30.0" },
    devDependencies: { "onnxruntime-web": "1.30.0" },
  });
});
