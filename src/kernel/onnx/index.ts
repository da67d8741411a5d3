/**
 * ONNX files: writing them. In: a graph of nodes and constants as plain values. Out: the bytes of a `ModelProto` that
 * onnxruntime and every other ONNX reader load. May use: nothing.
 */

export type { OnnxConstant, OnnxNode } from "./encode.js";
export { encodeOnnxModel } from "./encode.js";
export type { OnnxType } from "./types.js";
export { ONNX_TYPES } from "./types.js";
