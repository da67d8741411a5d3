import { HttpError } from "../../../../kernel/http1/index.js";
import { fromBrainHalf, fromHalf, type TensorValue } from "../../../../kernel/tensors/index.js";

/** The elements of any numeric tensor. */
export function asNumbers({ name, datatype, data }: TensorValue): Float64Array {
  if (Array.isArray(data)) throw new HttpError(400, `input ${name} must hold numbers`);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number);
  if (datatype === "FP16") return Float64Array.from(data, fromHalf);
  if (datatype === "BF16") return Float64Array.from(data, fromBrainHalf);
  return data instanceof Float64Array ? data : Float64Array.from(data);
}
