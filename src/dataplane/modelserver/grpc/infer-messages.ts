/** ModelInferRequest and ModelInferResponse by hand: this is the way of every request. */
import { HttpError } from "../../../kernel/http1/index.js";
import { BYTES, FIXED32, FIXED64, VARINT, WireReader, WireWriter } from "../../../kernel/protobuf/index.js";
import {
  readBinaryData,
  readShape,
  type TensorData,
  type TensorSpec,
  type TensorValue,
  type TextData,
  textOrBytes,
  typeInfo,
  writeBinaryData,
} from "../../../kernel/tensors/index.js";
import {
  arrangeInputs,
  checkDatatype,
  checkShape,
  findInput,
  type ModelShape,
  type WantedOutput,
  wantOutputs,
} from "../v2.js";

/** A parameter's value. */
export type Parameter = string | number | bigint | boolean;

interface RawTensor {
  name: string;
  datatype: string;
  readonly shape: number[];
  /** Where its typed contents lie in the message. */
  readonly contents: (readonly [number, number])[];
  isShared: boolean;
}

/** A request as it was sent; the model that it is for is not known yet. */
export interface RawInferRequest {
  modelName: string;
  modelVersion: string;
  id: string;
  readonly parameters: Map<string, Parameter>;
  readonly inputs: RawTensor[];
  readonly outputs: { name: string; readonly parameters: Map<string, Parameter> }[];
  readonly raw: Buffer[];
  readonly bytes: Buffer;
}

/** A request that was checked against its model. */
export interface CheckedInferRequest {
  readonly inputs: readonly TensorValue[];
  readonly outputs: readonly WantedOutput[];
  /** Tensors came as raw contents, so they go so. */
  readonly isRaw: boolean;
}

const MAX_TENSORS = 4096;
const SHARED_MEMORY = "shared_memory_region";

/** Reads a message. Throws a 400 `HttpError` where it is none. */
export function readInferMessage(bytes: Buffer): RawInferRequest {
  const reader = new WireReader(bytes);
  const request: RawInferRequest = {
    modelName: "",
    modelVersion: "",
    id: "",
    bytes,
    parameters: new Map(),
    inputs: [],
    outputs: [],
    raw: [],
  };
  while (!reader.isDone) {
    const tag = reader.tag();
    if (tag === 10) request.modelName = reader.text();
    else if (tag === 18) request.modelVersion = reader.text();
    else if (tag === 26) request.id = reader.text();
    else if (tag === 34) readParameter(reader, request.parameters);
    else if (tag === 42) request.inputs.push(readInput(reader));
    else if (tag === 50) request.outputs.push(readOutput(reader));
    else if (tag === 58) request.raw.push(reader.take());
    else reader.skip(tag & 7);
    if (request.inputs.length + request.outputs.length + request.raw.length > MAX_TENSORS)
      throw new HttpError(400, `the request names more than ${MAX_TENSORS} tensors`);
  }
  return request;
}

function readInput(reader: WireReader): RawTensor {
  const end = reader.span();
  const inner = new WireReader(reader.bytes, reader.at, end);
  const tensor: RawTensor = { name: "", datatype: "", shape: [], contents: [], isShared: false };
  while (!inner.isDone) {
    const tag = inner.tag();
    if (tag === 10) tensor.name = inner.text();
    else if (tag === 18) tensor.datatype = inner.text();
    else if (tag === 24 || tag === 26) readSizes(inner, tag === 26, tensor);
    else if (tag === 42) {
      const stop = inner.span();
      tensor.contents.push([inner.at, stop]);
      inner.at = stop;
    } else if (tag === 34) {
      const parameters = new Map<string, Parameter>();
      readParameter(inner, parameters);
      if (parameters.has(SHARED_MEMORY)) tensor.isShared = true;
    } else inner.skip(tag & 7);
  }
  reader.at = end;
  return tensor;
}

function readSizes(reader: WireReader, isPacked: boolean, tensor: RawTensor): void {
  const end = isPacked ? reader.span() : reader.at + 1;
  while (reader.at < end) {
    tensor.shape.push(Number(reader.int64()));
    if (tensor.shape.length > 32) throw new HttpError(400, `input ${tensor.name}: shape has more than 32 dimensions`);
  }
}

function readOutput(reader: WireReader): { name: string; parameters: Map<string, Parameter> } {
  const end = reader.span();
  const inner = new WireReader(reader.bytes, reader.at, end);
  const output = { name: "", parameters: new Map<string, Parameter>() };
  while (!inner.isDone) {
    const tag = inner.tag();
    if (tag === 10) output.name = inner.text();
    else if (tag === 18) readParameter(inner, output.parameters);
    else inner.skip(tag & 7);
  }
  reader.at = end;
  return output;
}

/** One entry of a map of InferParameters. */
function readParameter(reader: WireReader, into: Map<string, Parameter>): void {
  const end = reader.span();
  const entry = new WireReader(reader.bytes, reader.at, end);
  reader.at = end;
  let key = "";
  let value: Parameter | undefined;
  while (!entry.isDone) {
    const tag = entry.tag();
    if (tag === 10) key = entry.text();
    else if (tag === 18) {
      const stop = entry.span();
      value = readParameterValue(new WireReader(entry.bytes, entry.at, stop));
      entry.at = stop;
    } else entry.skip(tag & 7);
  }
  if (value !== undefined) into.set(key, value);
}

function readParameterValue(reader: WireReader): Parameter | undefined {
  let value: Parameter | undefined;
  while (!reader.isDone) {
    const tag = reader.tag();
    if (tag === 8) value = reader.int64() !== 0;
    else if (tag === 16) value = reader.int64();
    else if (tag === 26) value = reader.text();
    else if (tag === 33) value = reader.double();
    else if (tag === 40) value = reader.uint64();
    else reader.skip(tag & 7);
  }
  return value;
}

/** Checks a request against its model; every fault is a 400 `HttpError`. */
export function checkInferMessage(request: RawInferRequest, model: ModelShape): CheckedInferRequest {
  const { raw } = request;
  const isRaw = raw.length > 0;
  if (isRaw && raw.length !== request.inputs.length)
    throw new HttpError(
      400,
      `${raw.length} raw_input_contents for ${request.inputs.length} inputs; each input needs one`,
    );
  const found = new Map<string, TensorValue>();
  for (const [index, input] of request.inputs.entries()) {
    const { name } = input;
    if (found.has(name)) throw new HttpError(400, `input ${name} is given twice`);
    if (input.isShared)
      throw new HttpError(400, `input ${name}: shared memory is not offered; send the tensor with the request`);
    const content = raw[index];
    if (content !== undefined && input.contents.length > 0)
      throw new HttpError(400, `input ${name} has contents beside raw_input_contents; give one of them`);
    found.set(name, readTensor(input, content, { request, spec: findInput(name, model) }));
  }
  const outputs = request.outputs.map(({ name, parameters }) => {
    if (parameters.has(SHARED_MEMORY))
      throw new HttpError(400, `output ${name}: shared memory is not offered; take the tensor from the answer`);
    return { name, binary: true, classification: classesOf(parameters.get("classification"), name) };
  });
  return { inputs: arrangeInputs(found, model), outputs: wantOutputs(outputs, true, model), isRaw };
}

function classesOf(value: Parameter | undefined, name: string): number {
  if (value === undefined) return 0;
  const count = Number(value);
  if (typeof value === "boolean" || !Number.isSafeInteger(count) || count < 1)
    throw new HttpError(400, `output ${name}: classification must be a whole number from 1`);
  return count;
}

function readTensor(
  input: RawTensor,
  content: Buffer | undefined,
  { request, spec }: { request: RawInferRequest; spec: TensorSpec },
): TensorValue {
  const { name } = input;
  const datatype = checkDatatype(input.datatype, spec);
  const { shape, count } = readShape(input.shape, name);
  checkShape(shape, spec);
  if (content !== undefined) return { name, datatype, shape, data: readBinaryData(content, { name, datatype, count }) };
  return { name, datatype, shape, data: readContents(input, request.bytes, { spec, count }) };
}

/** The field of InferTensorContents for each form of elements; FP16 and BF16 have none. */
const CONTENT_FIELDS: Readonly<Record<string, number>> = {
  ...{ BOOL: 1, INT8: 2, INT16: 2, INT32: 2, INT64: 3, UINT8: 4, UINT16: 4, UINT32: 4, UINT64: 5 },
  ...{ FP32: 6, FP64: 7, BYTES: 8 },
};

function readContents(
  input: RawTensor,
  bytes: Buffer,
  { spec, count }: { spec: TensorSpec; count: number },
): TensorData {
  const { name, datatype } = spec;
  const field = CONTENT_FIELDS[datatype];
  if (field === undefined) throw new HttpError(400, `input ${name}: ${datatype} is sent as raw_input_contents only`);
  const size = input.contents.reduce((sum, [start, end]) => sum + end - start, 0);
  // Every element takes up a byte at least: what lies about its size is found before memory is taken.
  if (count > size) throw new HttpError(400, `input ${name}: too few elements; its shape needs ${count}`);
  const fill = new Filler(spec, count);
  for (const [start, end] of input.contents) {
    const reader = new WireReader(bytes, start, end);
    while (!reader.isDone) {
      const tag = reader.tag();
      if (tag >>> 3 === field) fill.take(reader, tag & 7);
      else if (tag >>> 3 > 8) reader.skip(tag & 7);
      else if ((tag & 7) !== BYTES || reader.take().length > 0)
        throw new HttpError(400, `input ${name}: contents are not those of ${datatype}`);
    }
  }
  return fill.finish();
}

/** Gathers the elements of typed contents, packed or not. */
class Filler {
  readonly #spec: TensorSpec;
  readonly #count: number;
  readonly #data: TensorData;
  readonly #low: number;
  readonly #high: number;
  #at = 0;

  constructor(spec: TensorSpec, count: number) {
    const { form, min, max, make } = typeInfo(spec.datatype);
    this.#spec = spec;
    this.#count = count;
    this.#data = make(count);
    this.#low = form === "integer" ? Number(min) : 0;
    this.#high = form === "integer" ? Number(max) : 1;
  }

  take(reader: WireReader, wireType: number): void {
    const data = this.#data;
    if (Array.isArray(data)) {
      if (wireType !== BYTES) this.#refuse();
      const content = reader.take();
      this.#room();
      data[this.#at++] = textOrBytes(content);
      return;
    }
    const single = data instanceof Float32Array ? FIXED32 : data instanceof Float64Array ? FIXED64 : VARINT;
    if (wireType === single) {
      this.#one(reader, data);
      return;
    }
    if (wireType !== BYTES) this.#refuse();
    const end = reader.span();
    const inner = new WireReader(reader.bytes, reader.at, end);
    if (single === VARINT) while (!inner.isDone) this.#one(inner, data);
    else this.#floats(inner, data);
    reader.at = end;
  }

  /** Packed floats lie as they do in memory. */
  #floats(reader: WireReader, data: Exclude<TensorData, TextData>): void {
    const length = reader.end - reader.at;
    const elements = length / data.BYTES_PER_ELEMENT;
    if (!Number.isInteger(elements)) this.#refuse();
    if (this.#at + elements > this.#count) this.#room(elements);
    const target = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    target.set(reader.bytes.subarray(reader.at, reader.end), this.#at * data.BYTES_PER_ELEMENT);
    this.#at += elements;
  }

  #one(reader: WireReader, data: Exclude<TensorData, TextData>): void {
    this.#room();
    const at = this.#at++;
    if (data instanceof Float32Array) data[at] = reader.float();
    else if (data instanceof Float64Array) data[at] = reader.double();
    else if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
      reader.varint();
      const halves = new Uint32Array(data.buffer, data.byteOffset + at * 8, 2);
      halves[0] = reader.low;
      halves[1] = reader.high;
    } else {
      const value = reader.int64();
      if (value < this.#low || value > this.#high)
        throw new HttpError(
          400,
          `input ${this.#spec.name}: element ${at} is ${value}, which is no ${this.#spec.datatype}`,
        );
      data[at] = Number(value);
    }
  }

  #room(more = 1): void {
    if (this.#at + more > this.#count)
      throw new HttpError(400, `input ${this.#spec.name}: more elements than its shape's ${this.#count}`);
  }

  #refuse(): never {
    throw new HttpError(400, `input ${this.#spec.name}: contents are not those of ${this.#spec.datatype}`);
  }

  finish(): TensorData {
    if (this.#at < this.#count)
      throw new HttpError(400, `input ${this.#spec.name}: ${this.#at} elements, but its shape needs ${this.#count}`);
    return this.#data;
  }
}

/** What an answer is made of. */
export interface InferMessage {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id: string;
  readonly outputs: readonly TensorValue[];
  readonly isRaw: boolean;
  /** Says that it is the last answer to its request. */
  readonly saysFinal?: boolean;
}

/** Writes ModelInferResponse after `reserve` free bytes. FP16 and BF16 have no typed form: with one of them all tensors go raw. */
export function writeInferMessage(message: InferMessage, reserve = 0): Buffer {
  const writer = new WireWriter(reserve);
  writeInferFields(writer, message);
  return writer.finish();
}

/** Writes ModelStreamInferResponse, with an answer or the words of a fault. */
export function writeStreamMessage(message: InferMessage | { readonly error: string }, reserve = 0): Buffer {
  const writer = new WireWriter(reserve);
  if ("error" in message) writer.text(1, message.error);
  else {
    const start = writer.open(2);
    writeInferFields(writer, message);
    writer.close(start);
  }
  return writer.finish();
}

function writeInferFields(writer: WireWriter, message: InferMessage): void {
  const { outputs } = message;
  const isRaw = message.isRaw || outputs.some(({ datatype }) => CONTENT_FIELDS[datatype] === undefined);
  if (message.modelName !== "") writer.text(1, message.modelName);
  if (message.modelVersion !== "") writer.text(2, message.modelVersion);
  if (message.id !== "") writer.text(3, message.id);
  if (message.saysFinal === true) writer.content(4, FINAL);
  for (const tensor of outputs) {
    const start = writer.open(5);
    writer.text(1, tensor.name);
    writer.text(2, tensor.datatype);
    const shape = writer.open(3);
    for (const size of tensor.shape) writer.varint(size);
    writer.close(shape);
    if (!isRaw) writeContents(writer, tensor);
    writer.close(start);
  }
  if (isRaw) for (const tensor of outputs) writer.content(6, writeBinaryData(tensor));
}

/** The parameter `triton_final_response`, true. */
const FINAL = Buffer.from("\n\x15triton_final_response\x12\x02\x08\x01", "latin1");

function writeElements(writer: WireWriter, field: number, data: TextData): void {
  for (const each of data)
    if (typeof each === "string") writer.text(field, each);
    else writer.content(field, each);
}

function writeContents(writer: WireWriter, { datatype, data }: TensorValue): void {
  const contents = writer.open(5);
  const field = CONTENT_FIELDS[datatype] ?? 0;
  if (Array.isArray(data)) writeElements(writer, field, data);
  else {
    const packed = writer.open(field);
    if (data instanceof Float32Array || data instanceof Float64Array)
      writer.raw(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    else if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
      const halves = new Uint32Array(data.buffer, data.byteOffset, data.length * 2);
      for (let at = 0; at < halves.length; at += 2) writer.halves(halves[at] ?? 0, halves[at + 1] ?? 0);
    } else for (const value of data) writer.varint(value);
    writer.close(packed);
  }
  writer.close(contents);
}
