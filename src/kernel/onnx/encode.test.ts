import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import type { OnnxNode, OnnxType } from "./index.js";
import { encodeOnnxModel } from "./index.js";

const model = (type: OnnxType, nodes: readonly OnnxNode[]) =>
  encodeOnnxModel({
    producer: "test",
    metadata: { note: "ä" },
    domains: { "ai.onnx.ml": 3 },
    graph: {
      name: "g",
      inputs: [{ name: "x", type, shape: ["batch", 3] }],
      outputs: [{ name: "y", type, shape: ["batch", -1] }],
      constants: [
        { name: "axes", type: "INT64", shape: [1], data: BigInt64Array.of(-1n) },
        { name: "pads", type: "INT64", shape: [4], data: BigInt64Array.of(0n, 1n, 0n, 0n) },
      ],
      nodes,
    },
  });

test("every kind of attribute, negative numbers and other domains are read as written", async () => {
  const session = await InferenceSession.create(
    model("FP32", [
      { op: "LeakyRelu", inputs: ["x"], outputs: ["a"], attributes: { alpha: { float: 0.5 } } },
      {
        op: "Scaler",
        domain: "ai.onnx.ml",
        inputs: ["a"],
        outputs: ["b"],
        attributes: { offset: { floats: [1, 0, 0] }, scale: { floats: [2, -2, 1] } },
      },
      { op: "Transpose", inputs: ["b"], outputs: ["c"], attributes: { perm: { ints: [0, 1] } } },
      { op: "Softmax", inputs: ["c"], outputs: ["s"], attributes: { axis: { int: -1 } } },
      { op: "ReduceSum", inputs: ["s", "axes"], outputs: ["n"], attributes: { keepdims: { int: 1 } } },
      { op: "Mul", inputs: ["c", "n"], outputs: ["y"] },
    ]),
  );

  const { y } = await session.run({ x: new Tensor("float32", Float32Array.of(3, 1, -4), [1, 3]) });

  expect([...((y as Tensor).data as Float32Array)]).toEqual([4, -2, -2]);
  expect(session.inputMetadata[0]).toMatchObject({ shape: ["batch", 3] });
});

test("text attributes choose the operation's mode", async () => {
  const nodes = [{ op: "Pad", inputs: ["x", "pads"], outputs: ["y"], attributes: { mode: { text: "edge" } } }];
  const session = await InferenceSession.create(model("FP32", nodes));

  const { y } = await session.run({ x: new Tensor("float32", Float32Array.of(3, 1, -4), [1, 3]) });

  expect([...((y as Tensor).data as Float32Array)]).toEqual([3, 3, 1, -4]);
});

test("a constant whose data do not fill its shape is refused", () => {
  const constant = { name: "c", type: "FP32", shape: [2, 2], data: new Float32Array(3) } as const;
  const graph = { name: "g", inputs: [], outputs: [], constants: [constant], nodes: [] };

  expect(() => encodeOnnxModel({ producer: "test", graph })).toThrow(
    "constant c: 12 bytes of data, but FP32 [2, 2] needs 16",
  );
});
