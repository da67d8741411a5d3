/** Inference requests and answers of the Open Inference Protocol (V2), JSON and binary. */
import { isUtf8 } from "node:buffer";
import { HttpError } from "../../kernel/http1/index.js";
import {
  checkTexts,
  type Datatype,
  DigitsLost,
  datatypeOf,
  describe,
  type ExactJson,
  parseExactJson,
  parseJson,
  readBinaryData,
  readJsonData,
  readShape,
  type TensorSpec,
  type TensorValue,
  writeBinaryData,
  writeJsonData,
} from "../../kernel/tensors/index.js";
import { bestClasses } from "./classification.js";

/** Which outputs a request wants, and how. */
export interface WantedOutput {
  readonly name: string;
  readonly binary: boolean;
  /** From 1: the best so many classes instead of the tensor (Triton's classification extension). */
  readonly classification: number;
}

/** A checked inference request; `inputs` are in the model's order. */
export interface InferRequest {
  readonly id: string | undefined;
  readonly inputs: readonly TensorValue[];
  readonly outputs: readonly WantedOutput[];
  /** The `timeout` parameter: microseconds. */
  readonly timeoutUs: number | undefined;
}

/** What a request is checked against. */
export interface ModelShape {
  readonly name: string;
  readonly version: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** An answer's body. `headLength` is set when binary tensors follow the JSON. */
export interface InferAnswer {
  readonly body: string | Uint8Array;
  readonly headLength: number | undefined;
}

type JsonMap = Readonly<Record<string, ExactJson>>;

/** Text of a body that must be UTF-8. */
export function readText(body: Buffer): string {
  if (!isUtf8(body)) throw new HttpError(400, "the body is not UTF-8");
  return body.toString("utf8");
}

/** Reads and checks a request; every fault is a 400 `HttpError`. `headLength`: the Inference-Header-Content-Length header. */
export function readInferRequest(body: Buffer, headLength: string | undefined, model: ModelShape): InferRequest {
  const length = headLength === undefined ? body.length : readHeadLength(headLength, body.length);
  const text = readText(body.subarray(0, length));
  const tail = body.subarray(length);
  const plain = headLength === undefined;
  try {
    return checkRequest(parseJson(text), plain ? undefined : tail, model);
  } catch (error) {
    if (error instanceof DigitsLost) return checkRequest(parseExactJson(text), plain ? undefined : tail, model);
    throw error;
  }
}

function readHeadLength(header: string, bodyLength: number): number {
  if (!/^\d{1,15}$/.test(header))
    throw new HttpError(400, `Inference-Header-Content-Length is "${header}"; expected a whole number`);
  const length = Number(header);
  if (length > bodyLength)
    throw new HttpError(400, `Inference-Header-Content-Length is ${length}, but the body has ${bodyLength} bytes`);
  return length;
}

function checkRequest(value: ExactJson, tail: Buffer | undefined, model: ModelShape): InferRequest {
  const request = asMap(value, "the request");
  const { inputs: given } = request;
  const id = request["id"] ?? undefined;
  if (id !== undefined && typeof id !== "string") throw new HttpError(400, `id must be text, not ${describe(id)}`);
  if (!Array.isArray(given)) throw new HttpError(400, "inputs must be a list of tensors");
  const parameters = readParameters(request["parameters"], "the request");
  const found = new Map<string, TensorValue>();
  let used = 0;
  for (const item of given) {
    const { tensor, bytes } = readInput(asMap(item, "an input"), tail?.subarray(used), model);
    if (found.has(tensor.name)) throw new HttpError(400, `input ${tensor.name} is given twice`);
    found.set(tensor.name, tensor);
    used += bytes;
  }
  if (tail !== undefined && used !== tail.length)
    throw new HttpError(400, `${tail.length - used} bytes follow the last binary tensor`);
  const { binary_data_output: allBinary = false } = parameters;
  if (typeof allBinary !== "boolean") throw new HttpError(400, "parameter binary_data_output must be true or false");
  return {
    id,
    inputs: arrangeInputs(found, model),
    outputs: readOutputs(request["outputs"], allBinary, model),
    timeoutUs: readTimeout(parameters["timeout"]),
  };
}

function readTimeout(value: ExactJson | undefined): number | undefined {
  if (value === undefined) return undefined;
  // Some clients send all parameters as text.
  const timeout = typeof value === "string" && value !== "" ? Number(value) : value;
  if (typeof timeout !== "number" || !(timeout >= 0))
    throw new HttpError(400, `parameter timeout is ${describe(value)}; expected microseconds`);
  return timeout === 0 ? undefined : timeout;
}

/** The inputs in the model's order. Throws 400 where one is missing. */
export function arrangeInputs(found: ReadonlyMap<string, TensorValue>, model: ModelShape): TensorValue[] {
  return model.inputs.map((spec) => {
    const tensor = found.get(spec.name);
    if (tensor === undefined)
      throw new HttpError(400, `input ${spec.name} is missing; the model takes ${namesOf(model.inputs)}`);
    if (spec.isText === true) checkTexts(tensor);
    return tensor;
  });
}

/** What the model says of an input. Throws 400 where it has none of that name. */
export function findInput(name: string, model: ModelShape): TensorSpec {
  for (const spec of model.inputs) if (spec.name === name) return spec;
  throw new HttpError(400, `the model has no input ${describe(name)}; it takes ${namesOf(model.inputs)}`);
}

/** The datatype that a request names. Throws 400 where it is not the model's. */
export function checkDatatype(typeName: ExactJson | undefined, spec: TensorSpec): Datatype {
  if (typeName === spec.datatype) return spec.datatype;
  const datatype = typeof typeName === "string" ? datatypeOf(typeName) : undefined;
  if (datatype === undefined)
    throw new HttpError(400, `input ${spec.name}: datatype is ${describe(typeName)}, which the protocol does not know`);
  if (spec.alsoTakes?.includes(datatype) === true) return datatype;
  throw new HttpError(400, `input ${spec.name}: datatype is ${datatype}, but the model takes ${spec.datatype}`);
}

function readInput(item: JsonMap, tail: Buffer | undefined, model: ModelShape): { tensor: TensorValue; bytes: number } {
  const { name, datatype: typeName } = item;
  if (typeof name !== "string") throw new HttpError(400, `an input's name must be text, not ${describe(name)}`);
  const spec = findInput(name, model);
  const datatype = checkDatatype(typeName, spec);
  const { shape, count } = readShape(item["shape"], name);
  checkShape(shape, spec);
  const parameters = readParameters(item["parameters"], `input ${name}`);
  const size = parameters["binary_data_size"];
  if (parameters["shared_memory_region"] !== undefined)
    throw new HttpError(400, `input ${name}: shared memory is not offered; send the tensor with the request`);
  if (size === undefined) {
    return {
      tensor: {
        name,
        datatype,
        shape,
        data: readJsonData(item["data"], { name, datatype, shape, count, nullIsNaN: spec.nullIsNaN === true }),
      },
      bytes: 0,
    };
  }
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw new HttpError(400, `input ${name}: binary_data_size must be a whole number from 0`);
  if (item["data"] !== undefined) throw new HttpError(400, `input ${name} has both data and binary_data_size`);
  if (tail === undefined)
    throw new HttpError(400, `input ${name} is binary, but the header Inference-Header-Content-Length is missing`);
  if (size > tail.length)
    throw new HttpError(400, `input ${name}: binary_data_size is ${size}, but only ${tail.length} bytes are left`);
  return {
    tensor: { name, datatype, shape, data: readBinaryData(tail.subarray(0, size), { name, datatype, count }) },
    bytes: size,
  };
}

/** Throws 400 when a shape is none that the model takes. */
export function checkShape(shape: readonly number[], spec: TensorSpec): void {
  const fits =
    shape.length === spec.shape.length &&
    shape.every((size, index) => spec.shape[index] === -1 || spec.shape[index] === size);
  if (!fits)
    throw new HttpError(
      400,
      `input ${spec.name}: shape is [${shape.join(",")}], but the model takes [${spec.shape.join(",")}]`,
    );
}

function readOutputs(
  value: ExactJson | undefined,
  binaryByDefault: boolean,
  model: ModelShape,
): readonly WantedOutput[] {
  if (value === undefined || value === null) return wantOutputs([], binaryByDefault, model);
  if (!Array.isArray(value)) throw new HttpError(400, "outputs must be a list");
  const wanted = value.map((item) => {
    const output = asMap(item, "an output");
    const { name } = output;
    if (typeof name !== "string") throw new HttpError(400, `an output's name must be text, not ${describe(name)}`);
    const parameters = readParameters(output["parameters"], `output ${name}`);
    if (parameters["shared_memory_region"] !== undefined)
      throw new HttpError(400, `output ${name}: shared memory is not offered; take the tensor from the answer`);
    const { classification = 0, binary_data: binary = binaryByDefault } = parameters;
    if (typeof classification !== "number" || !Number.isSafeInteger(classification) || classification < 0)
      throw new HttpError(400, `output ${name}: classification must be a whole number from 1`);
    if (typeof binary !== "boolean") throw new HttpError(400, `output ${name}: binary_data must be true or false`);
    return { name, binary, classification };
  });
  return wantOutputs(wanted, binaryByDefault, model);
}

/** Checks the outputs that a request names, each once and of the model; none stands for all. */
export function wantOutputs(
  wanted: readonly WantedOutput[],
  binaryByDefault: boolean,
  model: ModelShape,
): readonly WantedOutput[] {
  if (wanted.length === 0)
    return model.outputs.map(({ name }) => ({ name, binary: binaryByDefault, classification: 0 }));
  for (const { name } of wanted) {
    if (!model.outputs.some((spec) => spec.name === name))
      throw new HttpError(400, `the model has no output ${describe(name)}; it gives ${namesOf(model.outputs)}`);
  }
  if (wanted.length > 1 && new Set(wanted.map(({ name }) => name)).size < wanted.length)
    throw new HttpError(400, "an output is asked for twice");
  return wanted;
}

/** The tensors that a request wants, of those that the model gave. Throws 400 where classes are asked of what has none. */
export function presentOutputs(wanted: readonly WantedOutput[], outputs: readonly TensorValue[]): TensorValue[] {
  const presented: TensorValue[] = [];
  for (const { name, classification } of wanted) {
    for (const tensor of outputs)
      if (tensor.name === name) presented.push(classification === 0 ? tensor : bestClasses(tensor, classification));
  }
  return presented;
}

/** Clients with a field for everything write null where they have nothing to say. */
function readParameters(value: ExactJson | undefined, where: string): JsonMap {
  return value === undefined || value === null ? {} : asMap(value, `parameters of ${where}`);
}

/** Whether a value is an object by names. */
export const isJsonMap = (value: ExactJson | undefined): value is { [key: string]: ExactJson } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function asMap(value: ExactJson, what: string): JsonMap {
  if (!isJsonMap(value)) throw new HttpError(400, `${what} must be an object, not ${describe(value)}`);
  return value;
}

const namesOf = (specs: readonly TensorSpec[]): string => specs.map(({ name }) => name).join(", ");

/** Makes the answer. Throws 400 where JSON cannot say a value. */
export function writeInferAnswer(
  model: Pick<ModelShape, "name" | "version">,
  request: InferRequest,
  outputs: readonly TensorValue[],
): InferAnswer {
  const binary: Uint8Array[] = [];
  let list = "";
  for (const tensor of presentOutputs(request.outputs, outputs)) {
    const { name } = tensor;
    const asBinary = request.outputs.find((wanted) => wanted.name === name)?.binary === true;
    list += `${list === "" ? "" : ","}{"name":${JSON.stringify(name)},"datatype":"${tensor.datatype}","shape":[${tensor.shape.join(",")}]`;
    // BF16 has no JSON form in the protocol; it is always binary.
    if (asBinary || tensor.datatype === "BF16") {
      const bytes = writeBinaryData(tensor);
      binary.push(bytes);
      list += `,"parameters":{"binary_data_size":${bytes.length}}}`;
    } else list += `,"data":[${writeJsonData(tensor)}]}`;
  }
  const id = request.id === undefined ? "" : `"id":${JSON.stringify(request.id)},`;
  const head = `{"model_name":${JSON.stringify(model.name)},"model_version":"${model.version}",${id}"outputs":[${list}]}`;
  if (binary.length === 0) return { body: head, headLength: undefined };
  const bytes = Buffer.from(head, "utf8");
  return { body: Buffer.concat([bytes, ...binary]), headLength: bytes.length };
}
