/** Element types by their number in `TensorProto.DataType` (onnx.proto3). */
export const ONNX_TYPES = {
  FP32: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BYTES: 8,
  BOOL: 9,
  FP16: 10,
  FP64: 11,
  UINT32: 12,
  UINT64: 13,
  BF16: 16,
} as const;

/** Element type of a tensor, by its name in the Open Inference Protocol. */
export type OnnxType = keyof typeof ONNX_TYPES;
