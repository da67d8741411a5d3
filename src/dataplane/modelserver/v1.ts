/** Predict requests and answers of the V1 protocol (KServe's and TensorFlow Serving's REST dialect). */

import { HttpError } from "../../kernel/http1/index.js";
import {
  checkTexts,
  DigitsLost,
  describe,
  type ExactJson,
  parseExactJson,
  parseJson,
  readJsonData,
  type TensorSpec,
  type TensorValue,
  writeJsonRow,
} from "../../kernel/tensors/index.js";
import { decodeBase64 } from "./base64.js";
import type { ModelShape } from "./v2.js";
import { checkShape, isJsonMap, readText } from "./v2.js";

/** A checked predict request. `rows`: as `instances` (answered with `predictions`) or as columnar `inputs` (with `outputs`). */
export interface PredictRequest {
  readonly inputs: readonly TensorValue[];
  readonly form: "rows" | "columns";
}

/** Reads a request; every fault is a 400 `HttpError`. */
export function readPredictRequest(body: Buffer, model: ModelShape): PredictRequest {
  const text = readText(body);
  try {
    return checkPredict(parseJson(text), model);
  } catch (error) {
    if (error instanceof DigitsLost) return checkPredict(parseExactJson(text), model);
    throw error;
  }
}

/** Reads the examples of classify and regress: features by name, those of `context` for each. Every fault is a 400 `HttpError`. */
export function readExamples(body: Buffer, model: ModelShape): readonly TensorValue[] {
  const text = readText(body);
  try {
    return checkExamples(parseJson(text), model);
  } catch (error) {
    if (error instanceof DigitsLost) return checkExamples(parseExactJson(text), model);
    throw error;
  }
}

function checkExamples(value: ExactJson, model: ModelShape): readonly TensorValue[] {
  if (!isJsonMap(value) || !Array.isArray(value["examples"]))
    throw new HttpError(400, "the request must be an object with examples, a list");
  const { examples, context = {}, signature_name: signature } = value;
  if (!isJsonMap(context)) throw new HttpError(400, "context must be an object");
  const shapes = new Map(model.inputs.map(({ name, shape }) => [name, shape.length]));
  const instances = (Array.isArray(examples) ? examples : []).map((example, index) => {
    if (!isJsonMap(example)) throw new HttpError(400, `example ${index} is ${describe(example)}; it must be an object`);
    const features = Object.entries({ ...context, ...example }).map(([name, feature]) => {
      // A feature is a value or a list of values; which of them the model means is told by its shape.
      const isRow = (shapes.get(name) ?? 0) > 1;
      if (isRow && !Array.isArray(feature)) return [name, [feature]] as const;
      const [first, ...more] = Array.isArray(feature) ? feature : [];
      return !isRow && first !== undefined && more.length === 0 ? ([name, first] as const) : ([name, feature] as const);
    });
    return Object.fromEntries(features);
  });
  return checkPredict({ instances, ...(signature === undefined ? {} : { signature_name: signature }) }, model).inputs;
}

function checkPredict(value: ExactJson, model: ModelShape): PredictRequest {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new HttpError(400, "the request must be an object with instances or inputs");
  const { instances, inputs, signature_name: signature } = value;
  if (signature !== undefined && signature !== "serving_default" && signature !== "") {
    throw new HttpError(400, `signature_name is ${describe(signature)}; an ONNX model has serving_default only`);
  }
  if (instances !== undefined && inputs !== undefined)
    throw new HttpError(400, "give either instances or inputs, not both");
  if (instances !== undefined) return { inputs: readInstances(instances, model), form: "rows" };
  if (inputs !== undefined) return { inputs: readColumns(inputs, model), form: "columns" };
  throw new HttpError(400, "the request needs instances (rows) or inputs (columns)");
}

function readInstances(instances: ExactJson, model: ModelShape): TensorValue[] {
  if (!Array.isArray(instances)) throw new HttpError(400, `instances must be a list, not ${describe(instances)}`);
  if (instances.length === 0) throw new HttpError(400, "instances is empty");
  const [only] = model.inputs;
  const named = isJsonMap(instances[0]) && !isEncodedBytes(instances[0]);
  if (!named) {
    if (model.inputs.length !== 1 || only === undefined) {
      throw new HttpError(400, `the model has several inputs: each instance must be an object with ${namesOf(model)}`);
    }
    return [readTensor(instances, only)];
  }
  const columns = new Map<string, ExactJson[]>(model.inputs.map((spec) => [spec.name, []]));
  for (const [index, instance] of instances.entries()) {
    if (!isJsonMap(instance))
      throw new HttpError(400, `instance ${index} is ${describe(instance)}, while others are objects`);
    const extra = Object.keys(instance).find((name) => !columns.has(name));
    if (extra !== undefined)
      throw new HttpError(
        400,
        `instance ${index}: the model has no input ${describe(extra)}; it takes ${namesOf(model)}`,
      );
    for (const [name, column] of columns) {
      const cell = Object.hasOwn(instance, name) ? instance[name] : undefined;
      if (cell === undefined) throw new HttpError(400, `instance ${index}: input ${name} is missing`);
      column.push(cell);
    }
  }
  return model.inputs.map((spec) => readTensor(columns.get(spec.name) ?? [], spec));
}

function readColumns(inputs: ExactJson, model: ModelShape): TensorValue[] {
  const [only] = model.inputs;
  if (!isJsonMap(inputs)) {
    if (model.inputs.length !== 1 || only === undefined)
      throw new HttpError(400, `inputs must be an object with ${namesOf(model)}`);
    return [readTensor(inputs, only)];
  }
  const extra = Object.keys(inputs).find((name) => !model.inputs.some((spec) => spec.name === name));
  if (extra !== undefined)
    throw new HttpError(400, `the model has no input ${describe(extra)}; it takes ${namesOf(model)}`);
  return model.inputs.map((spec) => {
    const column = inputs[spec.name];
    if (column === undefined) throw new HttpError(400, `input ${spec.name} is missing`);
    return readTensor(column, spec);
  });
}

/** V1 says no shape: it is that of the nested lists. A flat list for a [n, 1] input is read as n rows of one. */
function readTensor(value: ExactJson, spec: TensorSpec): TensorValue {
  if (!Array.isArray(value)) throw new HttpError(400, `input ${spec.name} must be a list, not ${describe(value)}`);
  const shape: number[] = [];
  for (let level: ExactJson | undefined = value; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    if (shape.length > 32) throw new HttpError(400, `input ${spec.name} is nested too deep`);
  }
  const flat = shape.length === 1 && spec.shape.length === 2 && spec.shape[1] === 1;
  const full = flat ? [...shape, 1] : shape;
  checkShape(full, spec);
  const count = full.reduce((product, size) => product * size, 1);
  const data = readJsonData(value, { ...spec, shape: flat ? shape : full, count, bytesIn: encodedBytes });
  const tensor = { name: spec.name, datatype: spec.datatype, shape: full, data };
  if (spec.isText === true) checkTexts(tensor);
  return tensor;
}

/** `{"b64": …}` stands for bytes. */
function encodedBytes(value: ExactJson, input: string): Buffer | undefined {
  const text = isJsonMap(value) && isEncodedBytes(value) ? value["b64"] : undefined;
  if (typeof text !== "string") return undefined;
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw new HttpError(400, `input ${input}: a b64 value is not base64`);
  return bytes;
}

const isEncodedBytes = (value: { [key: string]: ExactJson }): boolean =>
  typeof value["b64"] === "string" && Object.keys(value).length === 1;

const namesOf = (model: ModelShape): string => model.inputs.map(({ name }) => name).join(", ");

/** Makes the answer: a value a row where the model has one output, an object of outputs where it has several. */
export function writePredictAnswer(request: PredictRequest, outputs: readonly TensorValue[]): string {
  const [only] = outputs;
  if (request.form === "columns") {
    if (outputs.length === 1 && only !== undefined) return `{"outputs":${writeRows(only)}}`;
    return `{"outputs":{${outputs.map((output) => `${JSON.stringify(output.name)}:${writeRows(output)}`).join(",")}}}`;
  }
  const rows = request.inputs[0]?.shape[0] ?? 0;
  for (const output of outputs) {
    if (output.shape[0] !== rows)
      throw new HttpError(
        400,
        `output ${output.name} has shape [${output.shape.join(",")}] and not a row an instance; use the V2 protocol`,
      );
  }
  const predictions = Array.from({ length: rows }, (_, row) => {
    if (outputs.length === 1 && only !== undefined) return writeJsonRow(only, row);
    return `{${outputs.map((output) => `${JSON.stringify(output.name)}:${writeJsonRow(output, row)}`).join(",")}}`;
  });
  return `{"predictions":[${predictions.join(",")}]}`;
}

const writeRows = (output: TensorValue): string =>
  output.shape.length === 0
    ? writeJsonRow({ ...output, shape: [1] }, 0)
    : `[${Array.from({ length: output.shape[0] ?? 0 }, (_, row) => writeJsonRow(output, row)).join(",")}]`;
