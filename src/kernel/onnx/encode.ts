import { InputError } from "../errors/index.js";
import { messageWriter } from "./protobuf.js";
import type { OnnxType } from "./types.js";
import { ONNX_TYPES } from "./types.js";

/** A graph input or output; a string or -1 in the shape is a dimension of any size. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly (number | string)[];
}

/** A constant tensor. `data` holds the elements little-endian, row-major, as they lie in memory. */
export interface OnnxConstant {
  readonly name: string;
  readonly type: Exclude<OnnxType, "BYTES">;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

/** An attribute of a node. A plain number is written as INT when `int` names it so, as FLOAT under `float`. */
export type OnnxAttribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly ints: readonly number[] }
  | { readonly floats: readonly number[] }
  | { readonly text: string }
  | { readonly graph: OnnxGraph };

/** One operator call. */
export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** Operator set other than ONNX' own, `ai.onnx.ml` say. */
  readonly domain?: string;
}

/** A computation: nodes in an order in which each finds its inputs made. */
export interface OnnxGraph {
  readonly name: string;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly constants: readonly OnnxConstant[];
  readonly nodes: readonly OnnxNode[];
}

/** A whole model file. `opset` defaults to 17 (IR version 8), which every onnxruntime since 1.12 loads. */
export interface OnnxModel {
  readonly graph: OnnxGraph;
  readonly producer: string;
  readonly description?: string;
  readonly opset?: number;
  readonly irVersion?: number;
  /** Versions of further operator sets by domain. */
  readonly domains?: Readonly<Record<string, number>>;
  readonly metadata?: Readonly<Record<string, string>>;
}

const BYTES_PER_ELEMENT: Readonly<Record<Exclude<OnnxType, "BYTES">, number>> = {
  FP32: 4,
  UINT8: 1,
  INT8: 1,
  UINT16: 2,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  BOOL: 1,
  FP16: 2,
  FP64: 8,
  UINT32: 4,
  UINT64: 8,
  BF16: 2,
};

/** The bytes of a model file (field numbers: onnx.proto3). Throws `InputError` when a constant's data do not fill its shape. */
export function encodeOnnxModel(model: OnnxModel): Uint8Array {
  const message = messageWriter()
    .varint(1, model.irVersion ?? 8)
    .bytes(2, model.producer);
  if (model.description !== undefined) message.bytes(6, model.description);
  message.bytes(7, encodeGraph(model.graph)).bytes(
    8,
    messageWriter()
      .bytes(1, "")
      .varint(2, model.opset ?? 17)
      .finish(),
  );
  for (const [domain, version] of Object.entries(model.domains ?? {})) {
    message.bytes(8, messageWriter().bytes(1, domain).varint(2, version).finish());
  }
  for (const [key, value] of Object.entries(model.metadata ?? {})) {
    message.bytes(14, messageWriter().bytes(1, key).bytes(2, value).finish());
  }
  return message.finish();
}

function encodeGraph(graph: OnnxGraph): Uint8Array {
  const message = messageWriter();
  for (const [index, node] of graph.nodes.entries()) message.bytes(1, encodeNode(node, `${node.op}_${index}`));
  message.bytes(2, graph.name);
  for (const constant of graph.constants) message.bytes(5, encodeConstant(constant));
  for (const input of graph.inputs) message.bytes(11, encodeValue(input));
  for (const output of graph.outputs) message.bytes(12, encodeValue(output));
  return message.finish();
}

function encodeNode(node: OnnxNode, name: string): Uint8Array {
  const message = messageWriter();
  for (const input of node.inputs) message.bytes(1, input);
  for (const output of node.outputs) message.bytes(2, output);
  message.bytes(3, name).bytes(4, node.op);
  for (const [key, value] of Object.entries(node.attributes ?? {})) message.bytes(5, encodeAttribute(key, value));
  if (node.domain !== undefined) message.bytes(7, node.domain);
  return message.finish();
}

function encodeAttribute(name: string, value: OnnxAttribute): Uint8Array {
  const message = messageWriter().bytes(1, name);
  if ("float" in value) return message.float(2, value.float).varint(20, 1).finish();
  if ("int" in value) return message.varint(3, value.int).varint(20, 2).finish();
  if ("text" in value) return message.bytes(4, value.text).varint(20, 3).finish();
  if ("graph" in value) return message.bytes(6, encodeGraph(value.graph)).varint(20, 5).finish();
  if ("floats" in value) {
    for (const number of value.floats) message.float(7, number);
    return message.varint(20, 6).finish();
  }
  for (const number of value.ints) message.varint(8, number);
  return message.varint(20, 7).finish();
}

function encodeConstant(constant: OnnxConstant): Uint8Array {
  const { type, shape, data } = constant;
  const wanted = shape.reduce((product, size) => product * size, 1) * BYTES_PER_ELEMENT[type];
  if (data.byteLength !== wanted) {
    throw new InputError(
      `constant ${constant.name}: ${data.byteLength} bytes of data, but ${type} [${shape.join(", ")}] needs ${wanted}`,
    );
  }
  const message = messageWriter();
  for (const size of shape) message.varint(1, size);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message.varint(2, ONNX_TYPES[type]).bytes(8, constant.name).bytes(9, bytes).finish();
}

function encodeValue(value: OnnxValue): Uint8Array {
  const shape = messageWriter();
  for (const [index, size] of value.shape.entries()) {
    const free = typeof size === "string" || size < 0;
    const dimension = free
      ? messageWriter().bytes(2, typeof size === "string" ? size : `${value.name}_${index}`)
      : messageWriter().varint(1, size);
    shape.bytes(1, dimension.finish());
  }
  const tensor = messageWriter().varint(1, ONNX_TYPES[value.type]).bytes(2, shape.finish());
  return messageWriter().bytes(1, value.name).bytes(2, messageWriter().bytes(1, tensor.finish()).finish()).finish();
}
