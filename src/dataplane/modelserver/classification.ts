/** Triton's classification extension: the best classes of an output, as `score:index` texts. */
import { HttpError } from "../../kernel/http1/index.js";
import { fromBrainHalf, fromHalf, type TensorValue } from "../../kernel/tensors/index.js";

/** Elements as numbers. Throws 400 for texts. */
export function numbersOf({ name, datatype, data }: TensorValue): (index: number) => number {
  if (Array.isArray(data)) throw new HttpError(400, `output ${name} holds texts, which have no order`);
  if (datatype === "FP16") return (index) => fromHalf(Number(data[index]));
  if (datatype === "BF16") return (index) => fromBrainHalf(Number(data[index]));
  return (index) => Number(data[index]);
}

/** The indices of the `count` greatest of a row's scores, the greatest first; equal ones in their order. */
export function topIndices(scores: readonly number[], count: number): number[] {
  const order = scores.map((_, index) => index);
  order.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  return order.slice(0, count);
}

/** A tensor of texts with the best classes of each row (of the last dimension). */
export function bestClasses(tensor: TensorValue, count: number): TensorValue {
  const size = tensor.shape.at(-1) ?? 1;
  const numberAt = numbersOf(tensor);
  const kept = Math.min(count, size);
  const data: string[] = [];
  for (let start = 0; size > 0 && start < tensor.data.length; start += size) {
    const scores = Array.from({ length: size }, (_, index) => numberAt(start + index));
    for (const index of topIndices(scores, kept)) data.push(`${(scores[index] ?? 0).toFixed(6)}:${index}`);
  }
  return { name: tensor.name, datatype: "BYTES", shape: [...tensor.shape.slice(0, -1), kept], data };
}
