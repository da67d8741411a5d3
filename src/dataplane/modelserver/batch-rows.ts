/** Rows of several requests in one run: putting inputs together and taking outputs apart. */
import { type TensorData, type TensorValue, typeInfo } from "../../kernel/tensors/index.js";

/** Equal for inputs that may share a run: same names, types and shapes but for the rows. */
export function keyOf(inputs: readonly TensorValue[]): string {
  let key = "";
  for (const input of inputs) key += `${input.name}:${input.datatype}:${input.shape.slice(1).join(",")};`;
  return key;
}

/** The inputs of all requests, one behind the other; all have the same key. */
export function joinInputs(requests: readonly (readonly TensorValue[])[], rows: number): TensorValue[] {
  const [first] = requests;
  return (first ?? []).map((input, index) => {
    const parts = requests.map((inputs) => inputs[index]?.data ?? []);
    const shape = [rows, ...input.shape.slice(1)];
    const { name, datatype } = input;
    const data = joinData(parts, typeInfo(datatype).make(shape.reduce((product, size) => product * size, 1)));
    return { name, datatype, shape, data };
  });
}

function joinData(parts: readonly TensorData[], into: TensorData): TensorData {
  if (Array.isArray(into)) return parts.flatMap((part) => (Array.isArray(part) ? part : []));
  if (into instanceof Float32Array) return joinFloats(parts, into);
  const bytes = new Uint8Array(into.buffer);
  let at = 0;
  for (const part of parts) {
    if (Array.isArray(part)) continue;
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return into;
}

/** Small arrays lie within the heap of JavaScript until somebody asks for their buffer, which costs more than their elements. */
function joinFloats(parts: readonly TensorData[], into: Float32Array): Float32Array {
  let at = 0;
  for (const part of parts) {
    if (!(part instanceof Float32Array)) continue;
    into.set(part, at);
    at += part.length;
  }
  return into;
}

/** The rows of one request. */
export function sliceOutputs(outputs: readonly TensorValue[], from: number, rows: number): TensorValue[] {
  return outputs.map((output) => {
    const size = output.shape.slice(1).reduce((product, dimension) => product * dimension, 1);
    const range = [from * size, (from + rows) * size] as const;
    const data = Array.isArray(output.data) ? output.data.slice(...range) : output.data.subarray(...range);
    return { name: output.name, datatype: output.datatype, shape: [rows, ...output.shape.slice(1)], data };
  });
}
