import { isUtf8 } from "node:buffer";
import { HttpError } from "../http1/index.js";
import type { Datatype, TensorData, TensorSpec, TensorValue } from "./datatypes.js";
import { typeInfo } from "./datatypes.js";
import type { ExactJson } from "./exact-json.js";
import { fromBrainHalf, fromHalf, toHalf } from "./half.js";

/** Thrown when a 64-bit element lost digits in `JSON.parse`; the body must be parsed exactly. */
export class DigitsLost extends HttpError {
  constructor() {
    super(400, "a 64-bit element has more digits than were kept");
  }
}

/** Most elements of one tensor; beyond it a request is refused before memory is taken. */
const MAX_ELEMENTS = 1 << 28;

/** A shape's number of elements. Throws 400 for anything but a list of whole numbers from 0 with a sane product. */
export function readShape(shape: ExactJson | undefined, input: string): { shape: number[]; count: number } {
  if (!Array.isArray(shape)) throw new HttpError(400, `input ${input}: shape must be a list of numbers`);
  if (shape.length > 32) throw new HttpError(400, `input ${input}: shape has ${shape.length} dimensions`);
  let count = 1;
  const sizes: number[] = [];
  for (const size of shape) {
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
      throw new HttpError(400, `input ${input}: shape holds ${describe(size)}; dimensions are whole numbers from 0`);
    }
    sizes.push(size);
    count *= size;
  }
  if (sizes.some((size) => size > MAX_ELEMENTS) || count > MAX_ELEMENTS)
    throw new HttpError(400, `input ${input}: shape [${sizes.join(",")}] is too large`);
  return { shape: sizes, count };
}

/** What `data` is to become. */
export interface JsonTensor extends Pick<TensorSpec, "name" | "datatype" | "shape" | "nullIsNaN"> {
  readonly count: number;
  /** An element of BYTES in a form of its own; `undefined`: it has none. */
  readonly bytesIn?: (item: ExactJson, input: string) => Buffer | undefined;
}

/** Reads `data`, flat or nested as the shape is, into a tensor's memory. Every element must be of the datatype and in its range. */
export function readJsonData(data: ExactJson | undefined, tensor: JsonTensor): TensorData {
  const { name, datatype, shape, count } = tensor;
  if (!Array.isArray(data)) throw new HttpError(400, `input ${name}: data must be a list`);
  if (datatype === "BF16") throw new HttpError(400, `input ${name}: BF16 has no JSON form; send it as binary data`);
  let flat: readonly ExactJson[] = data;
  if (Array.isArray(data[0])) {
    if (data.length !== (shape[0] ?? -1))
      throw new HttpError(400, `input ${name}: ${data.length} rows, but the shape says ${shape[0] ?? "one element"}`);
    const gathered: ExactJson[] = [];
    gatherNested(data, shape, 0, { name, gathered });
    flat = gathered;
  }
  if (flat.length !== count) {
    throw new HttpError(400, `input ${name}: ${flat.length} elements, but shape [${shape.join(",")}] needs ${count}`);
  }
  if (datatype === "BYTES") return fillTexts(flat, tensor);
  return fill(tensor.nullIsNaN === true ? flat.map((item) => item ?? MISSING) : flat, datatype, name);
}

/** A missing value among floats; what is no JSON number otherwise never gets here. */
const MISSING = Number.NaN;

function gatherNested(
  value: readonly ExactJson[],
  shape: readonly number[],
  depth: number,
  into: { name: string; gathered: ExactJson[] },
): void {
  if (value.length !== shape[depth]) {
    throw new HttpError(
      400,
      `input ${into.name}: a list of ${value.length} in dimension ${depth}, but the shape says ${shape[depth] ?? "no more"}`,
    );
  }
  const last = depth === shape.length - 1;
  for (const item of value) {
    if (Array.isArray(item) === last)
      throw new HttpError(400, `input ${into.name}: data are not nested as shape [${shape.join(",")}] is`);
    if (Array.isArray(item)) gatherNested(item, shape, depth + 1, into);
    else into.gathered.push(item);
  }
}

function fill(flat: readonly ExactJson[], datatype: Datatype, name: string): TensorData {
  const info = typeInfo(datatype);
  switch (info.form) {
    case "float":
      return fillFloats(
        flat,
        datatype === "FP32" ? new Float32Array(flat.length) : new Float64Array(flat.length),
        datatype,
        name,
      );
    case "bigint":
      return fillBigints(flat, datatype, name);
    default:
      return fillNumbers(flat, datatype, name);
  }
}

function fillFloats(
  flat: readonly ExactJson[],
  out: Float32Array | Float64Array,
  datatype: Datatype,
  name: string,
): TensorData {
  for (let index = 0; index < flat.length; index++) {
    const item = flat[index];
    const value = typeof item === "bigint" ? Number(item) : item;
    if (typeof value !== "number") refuse(item, datatype, { name, index });
    out[index] = value;
    if (!Number.isFinite(out[index]) && !Number.isNaN(value))
      throw new HttpError(400, `input ${name}: element ${index} is beyond ${datatype}`);
  }
  return out;
}

function fillBigints(flat: readonly ExactJson[], datatype: Datatype, name: string): TensorData {
  const { min, max } = typeInfo(datatype);
  const out = datatype === "INT64" ? new BigInt64Array(flat.length) : new BigUint64Array(flat.length);
  for (let index = 0; index < flat.length; index++) {
    const item = flat[index];
    if (typeof item === "number" && Number.isInteger(item) && !Number.isSafeInteger(item)) throw new DigitsLost();
    if (typeof item !== "bigint" && !(typeof item === "number" && Number.isInteger(item)))
      refuse(item, datatype, { name, index });
    const value = BigInt(item);
    if (value < (min ?? 0n) || value > (max ?? 0n)) refuse(item, datatype, { name, index });
    out[index] = value;
  }
  return out;
}

function fillTexts(flat: readonly ExactJson[], { name, bytesIn }: JsonTensor): TensorData {
  return flat.map((item, index) => {
    if (typeof item === "string") return item;
    const bytes = bytesIn?.(item, name);
    return bytes === undefined ? refuse(item, "BYTES", { name, index }) : textOrBytes(bytes);
  });
}

/** An element of BYTES: its text, where it is one. */
export const textOrBytes = (bytes: Buffer): string | Uint8Array =>
  isUtf8(bytes) ? bytes.toString("utf8") : new Uint8Array(bytes);

/** Refuses elements that a model takes as texts only: onnxruntime's are UTF-8 and end at a NUL. Throws a 400 `HttpError`. */
export function checkTexts({ name, data }: Pick<TensorValue, "name" | "data">): void {
  if (!Array.isArray(data)) return;
  for (const [index, element] of data.entries()) {
    const what = typeof element !== "string" ? "is not UTF-8" : element.includes("\0") ? "holds a NUL byte" : "";
    if (what !== "")
      throw new HttpError(
        400,
        `input ${name}: element ${index} ${what}, which text tensors of this model cannot carry`,
      );
  }
}

function fillNumbers(flat: readonly ExactJson[], datatype: Datatype, name: string): TensorData {
  const info = typeInfo(datatype);
  const out = info.make(flat.length);
  const read = info.form === "bool" ? readBool : info.form === "half" ? readHalf : integerReader(info);
  for (let index = 0; index < flat.length; index++) {
    const value = read(flat[index]);
    if (value === undefined) refuse(flat[index], datatype, { name, index });
    out[index] = value;
  }
  return out;
}

type ElementReader = (item: ExactJson | undefined) => number | undefined;

const readBool: ElementReader = (item) =>
  item === true || item === 1 ? 1 : item === false || item === 0 ? 0 : undefined;

const readHalf: ElementReader = (item) => {
  if (typeof item !== "number") return undefined;
  const half = toHalf(item);
  return (half & 0x7c00) === 0x7c00 ? undefined : half;
};

function integerReader(info: ReturnType<typeof typeInfo>): ElementReader {
  const min = Number(info.min ?? 0);
  const max = Number(info.max ?? 0);
  return (item) =>
    typeof item === "number" && Number.isInteger(item) && item >= min && item <= max ? item : undefined;
}

function refuse(item: ExactJson | undefined, datatype: Datatype, at: { name: string; index: number }): never {
  throw new HttpError(400, `input ${at.name}: element ${at.index} is ${describe(item)}, which is no ${datatype}`);
}

/** A short form of a value for a message. */
export function describe(value: ExactJson | undefined): string {
  if (value === undefined) return "missing";
  if (typeof value === "bigint") return value.toString();
  const text = Array.isArray(value)
    ? "a list"
    : typeof value === "object" && value !== null
      ? "an object"
      : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** The elements from `start` to `end` as the inside of a JSON list. Throws 400 when one has no JSON form (NaN, infinity, bytes that are no text). */
export function writeJsonData(tensor: TensorValue, start = 0, end = tensor.data.length, writeBytes = noJson): string {
  const { data, datatype } = tensor;
  if (Array.isArray(data)) {
    return data
      .slice(start, end)
      .map((each) => (typeof each === "string" ? JSON.stringify(each) : writeBytes(each, tensor.name)))
      .join(",");
  }
  if (datatype === "BOOL" && data instanceof Uint8Array) {
    return Array.from(data.subarray(start, end), (bit) => (bit === 0 ? "false" : "true")).join(",");
  }
  if (data instanceof Uint16Array && datatype !== "UINT16") {
    const widen = datatype === "FP16" ? fromHalf : fromBrainHalf;
    return Array.from(data.subarray(start, end), (half) => finite(widen(half), tensor.name)).join(",");
  }
  if (data instanceof Float32Array || data instanceof Float64Array) {
    let out = "";
    for (let index = start; index < end; index++)
      out += index === start ? finite(data[index] ?? 0, tensor.name) : `,${finite(data[index] ?? 0, tensor.name)}`;
    return out;
  }
  return data.subarray(start, end).join(",");
}

function noJson(_bytes: Uint8Array, name: string): string {
  throw new HttpError(400, `output ${name} holds bytes that are not UTF-8, which JSON cannot say; ask for binary data`);
}

/** V1's form of bytes. */
const encoded = (bytes: Uint8Array): string => `{"b64":"${Buffer.from(bytes).toString("base64")}"}`;

/** As `writeJsonData`, nested as the shape is, without its first dimension: one row of the V1 protocol. */
export function writeJsonRow(tensor: TensorValue, row: number): string {
  const inner = tensor.shape.slice(1);
  const size = inner.reduce((product, dimension) => product * dimension, 1);
  return nest(tensor, inner, row * size, size);
}

function nest(tensor: TensorValue, shape: readonly number[], start: number, size: number): string {
  const [first, ...rest] = shape;
  if (first === undefined) return writeJsonData(tensor, start, start + 1, encoded);
  if (rest.length === 0) return `[${writeJsonData(tensor, start, start + size, encoded)}]`;
  const step = first === 0 ? 0 : size / first;
  return `[${Array.from({ length: first }, (_, index) => nest(tensor, rest, start + index * step, step)).join(",")}]`;
}

function finite(value: number, name: string): number {
  if (!Number.isFinite(value))
    throw new HttpError(400, `output ${name} holds ${value}, which JSON cannot say; ask for binary data`);
  return value;
}
