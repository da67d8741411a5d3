/**
 * Tensors of the Open Inference Protocol: element types, and values in memory, as JSON and as bytes. In: bodies of requests. Out: arrays; and back.
 * Digits of 64-bit integers and the bits of FP16 and BF16 stay as they are. May use: http1, for refusals.
 */

export { readBinaryData, writeBinaryData } from "./binary-tensors.js";
export {
  type Datatype,
  datatypeOf,
  datatypeOfOrt,
  type TensorData,
  type TensorSpec,
  type TensorValue,
  type TextData,
  typeInfo,
} from "./datatypes.js";
export { type ExactJson, parseExactJson, parseJson } from "./exact-json.js";
export { fromBrainHalf, fromHalf, toHalf } from "./half.js";
export {
  checkTexts,
  DigitsLost,
  describe,
  readJsonData,
  readShape,
  textOrBytes,
  writeJsonData,
  writeJsonRow,
} from "./json-tensors.js";
