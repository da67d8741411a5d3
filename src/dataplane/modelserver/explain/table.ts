/** A model's inputs as one table of features, and back. */
import { HttpError } from "../../../kernel/http1/index.js";
import type { Json } from "../../../kernel/kinds/object.js";
import {
  type Datatype,
  type TensorData,
  type TensorSpec,
  type TensorValue,
  toHalf,
  typeInfo,
} from "../../../kernel/tensors/index.js";
import { asNumbers } from "../engines/tabular/numbers.js";

/** What explanations need to know of a model. */
export interface ExplainedModel {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Names of the features where the configuration has them. */
  readonly featureNames?: readonly string[];
  /** Rows to explain against where the configuration has them. */
  readonly background?: Json;
}

interface Columns {
  readonly name: string;
  readonly datatype: Datatype;
  readonly width: number;
  /** Whether the input has a dimension for its columns. */
  readonly isWide: boolean;
}

/** Rows of features, row-major, and which input each column belongs to. */
export interface Table {
  readonly rows: Float64Array;
  readonly count: number;
  readonly features: number;
  readonly columns: readonly Columns[];
}

const MOST_ROWS = 10_000;

/** Puts the inputs side by side. Throws 400 when they have not the same rows. */
export function readTable(inputs: readonly TensorValue[]): Table {
  const count = inputs[0]?.shape[0] ?? 0;
  if (count < 1 || count > MOST_ROWS) throw new HttpError(400, `1 to ${MOST_ROWS} rows can be explained, not ${count}`);
  if (inputs.some(({ shape }) => shape[0] !== count)) throw new HttpError(400, "all inputs must have the same rows");
  const columns = inputs.map(({ name, datatype, shape }) => ({
    ...{ name, datatype, width: shape[1] ?? 1 },
    isWide: shape.length === 2,
  }));
  const features = columns.reduce((sum, { width }) => sum + width, 0);
  const rows = new Float64Array(count * features);
  let first = 0;
  for (const [index, input] of inputs.entries()) {
    const width = columns[index]?.width ?? 0;
    const numbers = asNumbers(input);
    for (let row = 0; row < count; row++)
      rows.set(numbers.subarray(row * width, (row + 1) * width), row * features + first);
    first += width;
  }
  return { rows, count, features, columns };
}

/** The inputs of an inference for these rows. */
export function writeTable(rows: Float64Array, { columns, features }: Table): TensorValue[] {
  const count = rows.length / features;
  let first = 0;
  return columns.map(({ name, datatype, width, isWide }) => {
    const numbers = new Float64Array(count * width);
    for (let row = 0; row < count; row++)
      numbers.set(rows.subarray(row * features + first, row * features + first + width), row * width);
    first += width;
    return { name, datatype, shape: isWide ? [count, width] : [count], data: asData(numbers, datatype) };
  });
}

function asData(numbers: Float64Array, datatype: Datatype): TensorData {
  if (datatype === "FP64") return numbers;
  const data = typeInfo(datatype).make(numbers.length);
  if (Array.isArray(data)) throw new HttpError(400, "texts cannot be explained");
  for (const [index, number] of numbers.entries()) {
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[index] = BigInt(Math.round(number));
    else data[index] = datatype === "FP16" ? toHalf(number) : number;
  }
  return data;
}
