/** The trained network as an ONNX model: raw pixels in, probabilities and label out. */

import type { OnnxConstant, OnnxNode } from "../../src/kernel/onnx/index.js";
import { encodeOnnxModel } from "../../src/kernel/onnx/index.js";
import { CLASSES, PIXELS } from "./data.js";
import type { Network } from "./mlp.js";

/**
 * Encodes the network: input `input` FP32 [-1,64] (pixels 0..16; the scaling is part of the model), outputs `probabilities`
 * FP32 [-1,10] and `label` INT64 [-1].
 */
export function encodeNetwork(network: Network, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const constants: OnnxConstant[] = [{ name: "scale", type: "FP32", shape: [], data: Float32Array.of(network.scale) }];
  const nodes: OnnxNode[] = [{ op: "Mul", inputs: ["input", "scale"], outputs: ["scaled"] }];
  let values = "scaled";
  for (const [index, layer] of network.layers.entries()) {
    const [weights, bias, sums] = [`weights_${index}`, `bias_${index}`, `sums_${index}`];
    constants.push({ name: weights, type: "FP32", shape: [layer.inputs, layer.outputs], data: layer.weights });
    constants.push({ name: bias, type: "FP32", shape: [layer.outputs], data: layer.bias });
    nodes.push({ op: "Gemm", inputs: [values, weights, bias], outputs: [sums] });
    values = sums;
    if (index < network.layers.length - 1) {
      nodes.push({ op: "Relu", inputs: [sums], outputs: [`hidden_${index}`] });
      values = `hidden_${index}`;
    }
  }
  nodes.push({ op: "Softmax", inputs: [values], outputs: ["probabilities"], attributes: { axis: { int: 1 } } });
  nodes.push({
    op: "ArgMax",
    inputs: ["probabilities"],
    outputs: ["label"],
    attributes: { axis: { int: 1 }, keepdims: { int: 0 } },
  });
  return encodeOnnxModel({
    producer: "argosy-examples-digits",
    description: "handwritten digits, 8x8 pixels of 0..16, to probabilities and label",
    graph: {
      name: "digits",
      inputs: [{ name: "input", type: "FP32", shape: ["batch", PIXELS] }],
      outputs: [
        { name: "label", type: "INT64", shape: ["batch"] },
        { name: "probabilities", type: "FP32", shape: ["batch", CLASSES] },
      ],
      constants,
      nodes,
    },
    metadata,
  });
}
