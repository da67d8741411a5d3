/** Tensors as people write them in code: typed arrays, nested lists, or `{ shape, data }`. */
import { HttpError } from "../../../../kernel/http1/index.js";
import {
  type TensorData,
  type TensorSpec,
  type TensorValue,
  type TextData,
  toHalf,
  typeInfo,
} from "../../../../kernel/tensors/index.js";
import { isRecord } from "../host/messages.js";

/** Tensors by their names. */
export const namedTensors = (tensors: readonly TensorValue[]): Record<string, TensorValue> =>
  Object.fromEntries(tensors.map((tensor) => [tensor.name, tensor]));

/** Makes a tensor of what a model gave. Throws a 500 `HttpError` where it does not fit what the model declares. */
export function tensorFrom(spec: TensorSpec, given: unknown): TensorValue {
  const { name, datatype } = spec;
  const { data, shape } = isRecord(given) && "data" in given ? given : { data: given, shape: undefined };
  const wrong = (what: string): HttpError => new HttpError(500, `the model's value for ${name} ${what}`);
  const { flat, sizes } = datatype === "BYTES" ? flattenTexts(data, wrong) : flatten(data, wrong);
  const asked = Array.isArray(shape) ? shape.map(Number) : guessShape(spec, flat.length, sizes);
  const count = asked.reduce((product, size) => product * size, 1);
  if (asked.some((size) => !Number.isSafeInteger(size) || size < 0) || count !== flat.length)
    throw wrong(`has ${flat.length} elements, but shape [${asked.join(", ")}]`);
  const fits =
    asked.length === spec.shape.length && spec.shape.every((size, index) => size < 0 || size === asked[index]);
  if (!fits) throw wrong(`has shape [${asked.join(", ")}], but the model declares [${spec.shape.join(", ")}]`);
  return { name, datatype, shape: asked, data: convert(flat, spec, wrong) };
}

type Flat = TensorData | readonly unknown[];

function flatten(data: unknown, wrong: (what: string) => HttpError): { flat: Flat; sizes: readonly number[] } {
  if (isTyped(data)) return { flat: data, sizes: [data.length] };
  if (!Array.isArray(data)) throw wrong("is neither a list nor a typed array");
  const sizes: number[] = [];
  for (let level: unknown = data; Array.isArray(level) || isTyped(level); level = level[0]) {
    sizes.push(level.length);
    if (sizes.length > 32) throw wrong("is nested too deep");
  }
  let flat: readonly unknown[] = data;
  for (let depth = 1; depth < sizes.length; depth++) {
    flat = flat.flatMap((part): unknown[] => {
      if (!(Array.isArray(part) || isTyped(part)) || part.length !== sizes[depth]) throw wrong("is a ragged list");
      return [...part];
    });
  }
  return { flat, sizes };
}

/** Bytes are elements here, not lists. */
function flattenTexts(data: unknown, wrong: (what: string) => HttpError): { flat: Flat; sizes: readonly number[] } {
  if (!Array.isArray(data)) throw wrong("is no list");
  const sizes: number[] = [];
  let flat: readonly unknown[] = [data];
  while (Array.isArray(flat[0])) {
    const size = flat[0].length;
    sizes.push(size);
    if (sizes.length > 32) throw wrong("is nested too deep");
    flat = flat.flatMap((part): unknown[] => {
      if (!Array.isArray(part) || part.length !== size) throw wrong("is a ragged list");
      return part;
    });
  }
  return { flat, sizes };
}

function isTyped(value: unknown): value is Exclude<TensorData, TextData> {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

/** A flat list fills the one dimension that is free. */
function guessShape(spec: TensorSpec, count: number, sizes: readonly number[]): readonly number[] {
  if (sizes.length !== 1 || spec.shape.length === 1) return spec.shape.length === 0 && count === 1 ? [] : sizes;
  const free = spec.shape.filter((size) => size < 0).length;
  const rest = spec.shape.reduce((product, size) => (size < 0 ? product : product * size), 1);
  return free === 1 && rest > 0 ? spec.shape.map((size) => (size < 0 ? count / rest : size)) : sizes;
}

function convert(flat: Flat, { datatype }: TensorSpec, wrong: (what: string) => HttpError): TensorData {
  const info = typeInfo(datatype);
  const made = info.make(flat.length);
  if (Array.isArray(made)) return Array.from<unknown, TextData[number]>(flat, (each) => textOf(each, wrong));
  if (isTyped(flat) && flat.constructor === made.constructor) return flat;
  for (const [index, each] of flat.entries()) {
    if (made instanceof BigInt64Array || made instanceof BigUint64Array) made[index] = bigOf(each, wrong);
    else if (info.form === "half") made[index] = toHalf(numberOf(each, wrong));
    else made[index] = numberOf(each, wrong);
  }
  return made;
}

function textOf(value: unknown, wrong: (what: string) => HttpError): TextData[number] {
  if (typeof value === "string" || value instanceof Uint8Array) return value;
  throw wrong(`holds a ${typeof value} instead of a text`);
}

function bigOf(value: unknown, wrong: (what: string) => HttpError): bigint {
  if (typeof value === "bigint") return value;
  const number = numberOf(value, wrong);
  if (!Number.isSafeInteger(number)) throw wrong(`holds ${number}, which is no whole number`);
  return BigInt(number);
}

function numberOf(value: unknown, wrong: (what: string) => HttpError): number {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "bigint") return Number(value);
  throw wrong(`holds a ${typeof value} instead of a number`);
}
