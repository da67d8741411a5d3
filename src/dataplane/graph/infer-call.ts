/** V2's ModelInfer in place of its REST form: requests and answers are taken from one into the other, tensors to the bit. Pure. */
import { HttpError } from "../../kernel/http1/index.js";
import { BYTES, FIXED32, FIXED64, VARINT, WireReader, WireWriter } from "../../kernel/protobuf/index.js";
import {
  DigitsLost,
  datatypeOf,
  describe,
  type ExactJson,
  parseExactJson,
  parseJson,
  readBinaryData,
  readJsonData,
  readShape,
  typeInfo,
  writeBinaryData,
  writeJsonData,
} from "../../kernel/tensors/index.js";
import { type BodyFields, JSON_LENGTH, Message } from "./message.js";
import type { StepModel } from "./read.js";

/** A request as it is sent. */
export interface InferCall {
  /** A frame of gRPC with the ModelInferRequest. */
  readonly frame: Buffer;
  /** Which outputs its sender wants as bytes. */
  readonly isBinary: (output: string) => boolean;
}

/** Bytes before a message in its frame. */
export const FRAME_HEAD = 5;
/** What only the REST form has. */
const REST_ONLY = new Set(["binary_data_size", "binary_data", "binary_data_output"]);
const MAX_TENSORS = 4096;
/** The field of InferTensorContents for each form of elements; FP16 and BF16 have none. */
const CONTENT_FIELDS: Readonly<Record<string, number>> = {
  ...{ BOOL: 1, INT8: 2, INT16: 2, INT32: 2, INT64: 3, UINT8: 4, UINT16: 4, UINT32: 4, UINT64: 5 },
  ...{ FP32: 6, FP64: 7, BYTES: 8 },
};

type JsonMap = Readonly<Record<string, ExactJson>>;

/** Reads a V2 request and writes it for a model. Throws a 400 `HttpError` where it is none. */
export function writeInferCall(request: Message, model: StepModel): InferCall {
  const { body, fields } = request;
  const told = fields[JSON_LENGTH];
  const length = told === undefined ? body.length : Number(told);
  if (!Number.isInteger(length) || length < 0 || length > body.length)
    throw new HttpError(400, `${JSON_LENGTH} is ${told}, and the body has ${body.length} bytes`);
  const text = body.toString("utf8", 0, length);
  const tail = told === undefined ? undefined : body.subarray(length);
  try {
    return callOf(parseJson(text), tail, model);
  } catch (error) {
    if (error instanceof DigitsLost) return callOf(parseExactJson(text), tail, model);
    throw error;
  }
}

function callOf(value: ExactJson, tail: Buffer | undefined, model: StepModel): InferCall {
  const request = mapOf(value, "the request");
  const { id, inputs } = request;
  if (!Array.isArray(inputs))
    throw new HttpError(400, "the request has no list of inputs: services of gRPC are asked by V2");
  const parameters = mapOf(request["parameters"] ?? {}, "parameters");
  const outputs = listOf(request["outputs"]).map((each) => mapOf(each, "an output"));
  const writer = new WireWriter(FRAME_HEAD);
  writer.text(1, model.name);
  if (model.version !== "") writer.text(2, model.version);
  if (typeof id === "string") writer.text(3, id);
  writeParameters(writer, 4, parameters);
  const contents: Uint8Array[] = [];
  let used = 0;
  for (const item of inputs) {
    const { content, bytes } = writeInput(writer, mapOf(item, "an input"), tail?.subarray(used));
    contents.push(content);
    used += bytes;
  }
  if (tail !== undefined && used !== tail.length)
    throw new HttpError(400, `${tail.length - used} bytes follow the last binary tensor`);
  for (const output of outputs) {
    const start = writer.open(6);
    writer.text(1, textOf(output["name"], "an output's name"));
    writeParameters(writer, 2, mapOf(output["parameters"] ?? {}, "an output's parameters"));
    writer.close(start);
  }
  for (const content of contents) writer.content(7, content);
  return { frame: framed(writer.finish()), isBinary: binaryIn(parameters, outputs) };
}

function binaryIn(parameters: JsonMap, outputs: readonly JsonMap[]): InferCall["isBinary"] {
  const said = new Map(
    outputs.flatMap(({ name, parameters: own }) => {
      const binary = mapOf(own ?? {}, "an output's parameters")["binary_data"];
      return typeof name === "string" && typeof binary === "boolean" ? [[name, binary] as const] : [];
    }),
  );
  return (name) => said.get(name) ?? parameters["binary_data_output"] === true;
}

/** Writes what is said of an input; its elements follow all of them. */
function writeInput(
  writer: WireWriter,
  input: JsonMap,
  tail: Buffer | undefined,
): { readonly content: Uint8Array; readonly bytes: number } {
  const name = textOf(input["name"], "an input's name");
  const datatype = typeof input["datatype"] === "string" ? datatypeOf(input["datatype"]) : undefined;
  if (datatype === undefined)
    throw new HttpError(400, `input ${name}: datatype is ${describe(input["datatype"])}, which V2 does not know`);
  const { shape, count } = readShape(input["shape"], name);
  const parameters = mapOf(input["parameters"] ?? {}, `input ${name}: parameters`);
  const start = writer.open(5);
  writer.text(1, name);
  writer.text(2, datatype);
  const sizes = writer.open(3);
  for (const size of shape) writer.varint(size);
  writer.close(sizes);
  writeParameters(writer, 4, parameters);
  writer.close(start);
  const { binary_data_size: size } = parameters;
  if (size === undefined) {
    const data = readJsonData(input["data"], { name, datatype, shape, count });
    return { content: writeBinaryData({ name, datatype, shape, data }), bytes: 0 };
  }
  if (tail === undefined || typeof size !== "number" || !(Number.isInteger(size) && size >= 0 && size <= tail.length))
    throw new HttpError(400, `input ${name}: binary_data_size is ${describe(size)}; so many bytes do not follow`);
  const { bytes } = typeInfo(datatype);
  if (bytes > 0 && size !== count * bytes)
    throw new HttpError(400, `input ${name}: ${size} bytes of binary data, but its shape needs ${count * bytes}`);
  return { content: tail.subarray(0, size), bytes: size };
}

function writeParameters(writer: WireWriter, field: number, parameters: JsonMap): void {
  for (const [name, value] of Object.entries(parameters)) {
    if (REST_ONLY.has(name) || value === null) continue;
    const entry = writer.open(field);
    writer.text(1, name);
    const inner = writer.open(2);
    writeParameter(writer, name, value);
    writer.close(inner);
    writer.close(entry);
  }
}

const MOST_INT64 = (1n << 63n) - 1n;

function writeParameter(writer: WireWriter, name: string, value: ExactJson): void {
  if (typeof value === "string") writer.text(3, value);
  else if (typeof value === "boolean") {
    writer.tag(1, VARINT);
    writer.varint(value ? 1 : 0);
  } else if (typeof value === "bigint" || (typeof value === "number" && Number.isSafeInteger(value))) {
    writer.tag(BigInt(value) > MOST_INT64 ? 5 : 2, VARINT);
    writer.varint(value);
  } else if (typeof value === "number") {
    writer.tag(4, FIXED64);
    writer.double(value);
  } else throw new HttpError(400, `parameter ${name} is ${describe(value)}; parameters are text, numbers and switches`);
}

function framed(bytes: Buffer): Buffer {
  bytes[0] = 0;
  bytes.writeUInt32BE(bytes.length - FRAME_HEAD, 1);
  return bytes;
}

interface Output {
  name: string;
  datatype: string;
  readonly shape: ExactJson[];
  parameters: string[];
  readonly contents: (readonly [number, number])[];
}

interface Response {
  /** Members of the answer's JSON. */
  readonly head: string[];
  readonly parameters: string[];
  readonly outputs: Output[];
  readonly raw: Buffer[];
}

/** A ModelInferResponse in its REST form. Throws an `HttpError` where it is none, or has no such form. */
export function readInferAnswer(bytes: Buffer, isBinary: InferCall["isBinary"]): Message {
  const { head, parameters, outputs, raw } = readResponse(bytes);
  if (raw.length > 0 && raw.length !== outputs.length)
    throw new HttpError(502, `it has ${raw.length} raw_output_contents for ${outputs.length} outputs`);
  const tail: Uint8Array[] = [];
  const written = outputs.map((output, index) =>
    writeOutput(output, raw[index] ?? rawOf(output, bytes), { isBinary: isBinary(output.name), tail }),
  );
  const said = parameters.length === 0 ? [] : [`"parameters":{${parameters.join(",")}}`];
  const json = Buffer.from(`{${[...head, ...said, `"outputs":[${written.join(",")}]`].join(",")}}`);
  if (tail.length === 0) return new Message(json, { "content-type": "application/json" });
  const fields: BodyFields = { "content-type": "application/octet-stream", [JSON_LENGTH]: String(json.length) };
  return new Message(Buffer.concat([json, ...tail]), fields);
}

const TEXTS: ReadonlyMap<number, string> = new Map([
  [10, "model_name"],
  [18, "model_version"],
  [26, "id"],
]);

function readResponse(bytes: Buffer): Response {
  const reader = new WireReader(bytes);
  const response: Response = { head: [], parameters: [], outputs: [], raw: [] };
  while (!reader.isDone) {
    const tag = reader.tag();
    const name = TEXTS.get(tag);
    if (name !== undefined) {
      const text = reader.text();
      if (text !== "") response.head.push(`"${name}":${JSON.stringify(text)}`);
    } else if (tag === 34) response.parameters.push(...readParameter(reader));
    else if (tag === 42) response.outputs.push(readOutput(reader));
    else if (tag === 50) response.raw.push(reader.take());
    else reader.skip(tag & 7);
    if (response.outputs.length + response.raw.length > MAX_TENSORS)
      throw new HttpError(502, `it has more than ${MAX_TENSORS} tensors`);
  }
  return response;
}

function writeOutput(
  { name, datatype: typeName, shape: sizes, parameters: said }: Output,
  content: Buffer,
  { isBinary, tail }: { readonly isBinary: boolean; readonly tail: Uint8Array[] },
): string {
  const datatype = datatypeOf(typeName);
  if (datatype === undefined) throw new HttpError(502, `output ${name} is of ${typeName}, which V2 does not know`);
  const { shape, count } = readShape(sizes, name);
  const parameters = [...said, ...(isBinary ? [`"binary_data_size":${content.length}`] : [])];
  const about = [
    `"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(",")}]`,
    ...(parameters.length > 0 ? [`"parameters":{${parameters.join(",")}}`] : []),
  ];
  if (isBinary) tail.push(content);
  else about.push(`"data":[${jsonOf(content, { name, datatype, shape, count })}]`);
  return `{${about.join(",")}}`;
}

function jsonOf(content: Buffer, tensor: Parameters<typeof readBinaryData>[1] & { readonly shape: number[] }): string {
  try {
    return writeJsonData({ ...tensor, data: readBinaryData(content, tensor) });
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    const words = error.message.replace(/^input /, "output ").replace(/; ask for binary data$/, "");
    throw new HttpError(502, `${words}; requests with binary_data_output: true get its bytes`);
  }
}

function readOutput(reader: WireReader): Output {
  const end = reader.span();
  const inner = new WireReader(reader.bytes, reader.at, end);
  const output: Output = { name: "", datatype: "", shape: [], parameters: [], contents: [] };
  while (!inner.isDone) {
    const tag = inner.tag();
    if (tag === 10) output.name = inner.text();
    else if (tag === 18) output.datatype = inner.text();
    else if (tag === 24) output.shape.push(Number(inner.int64()));
    else if (tag === 26)
      for (const stop = inner.span(); inner.at < stop && output.shape.length <= 32; )
        output.shape.push(Number(inner.int64()));
    else if (tag === 34) output.parameters.push(...readParameter(inner));
    else if (tag === 42) {
      const stop = inner.span();
      output.contents.push([inner.at, stop]);
      inner.at = stop;
    } else inner.skip(tag & 7);
  }
  reader.at = end;
  return output;
}

/** One entry of a map of InferParameters, as a member of JSON; none where it says nothing. */
function readParameter(reader: WireReader): string[] {
  const end = reader.span();
  const entry = new WireReader(reader.bytes, reader.at, end);
  reader.at = end;
  let name = "";
  let value: string | undefined;
  while (!entry.isDone) {
    const tag = entry.tag();
    if (tag === 10) name = entry.text();
    else if (tag === 18) {
      const stop = entry.span();
      value = parameterIn(new WireReader(entry.bytes, entry.at, stop));
      entry.at = stop;
    } else entry.skip(tag & 7);
  }
  return value === undefined ? [] : [`${JSON.stringify(name)}:${value}`];
}

function parameterIn(reader: WireReader): string | undefined {
  let value: string | undefined;
  while (!reader.isDone) {
    const tag = reader.tag();
    if (tag === 8) value = String(reader.int64() !== 0);
    else if (tag === 16) value = String(reader.int64());
    else if (tag === 26) value = JSON.stringify(reader.text());
    else if (tag === 33) value = JSON.stringify(reader.double());
    else if (tag === 40) value = String(reader.uint64());
    else reader.skip(tag & 7);
  }
  return value;
}

/** Typed contents, packed or not, as raw ones. */
function rawOf({ name, datatype, contents }: Output, bytes: Buffer): Buffer {
  const known = datatypeOf(datatype);
  const field = CONTENT_FIELDS[datatype];
  if (known === undefined || field === undefined)
    throw new HttpError(502, `output ${name}: ${datatype} has no typed contents`);
  const size = typeInfo(known).bytes;
  const wireType = known === "FP32" ? FIXED32 : known === "FP64" ? FIXED64 : size === 0 ? BYTES : VARINT;
  const take = (reader: WireReader, type: number): Buffer => {
    if (wireType === BYTES && type === BYTES) return elementOf(reader.take());
    if (type === wireType) return numberOf(reader, wireType, size);
    if (type === BYTES) return packedOf(reader.take(), wireType, size);
    throw new HttpError(502, `output ${name}: contents are not those of ${datatype}`);
  };
  const parts: Buffer[] = [];
  for (const [start, end] of contents) {
    const reader = new WireReader(bytes, start, end);
    while (!reader.isDone) {
      const tag = reader.tag();
      if (tag >>> 3 === field) parts.push(take(reader, tag & 7));
      else reader.skip(tag & 7);
    }
  }
  return Buffer.concat(parts);
}

function elementOf(content: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(content.length);
  return Buffer.concat([length, content]);
}

/** Floats lie in a message as they do in memory. */
function packedOf(content: Buffer, wireType: number, size: number): Buffer {
  if (wireType !== VARINT) return content;
  const reader = new WireReader(content);
  const out = Buffer.alloc(content.length * size);
  let at = 0;
  while (!reader.isDone) at += numberOf(reader, wireType, size).copy(out, at);
  return out.subarray(0, at);
}

function numberOf(reader: WireReader, wireType: number, size: number): Buffer {
  if (wireType !== VARINT) {
    const start = reader.fixed(wireType === FIXED32 ? 4 : 8);
    return reader.bytes.subarray(start, reader.at);
  }
  reader.varint();
  const whole = Buffer.alloc(8);
  whole.writeUInt32LE(reader.low, 0);
  whole.writeUInt32LE(reader.high, 4);
  return whole.subarray(0, size);
}

function mapOf(value: ExactJson | undefined, what: string): JsonMap {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new HttpError(400, `${what} must be an object, not ${describe(value)}`);
  return value;
}

const listOf = (value: ExactJson | undefined): readonly ExactJson[] => (Array.isArray(value) ? value : []);

function textOf(value: ExactJson | undefined, what: string): string {
  if (typeof value !== "string") throw new HttpError(400, `${what} must be text, not ${describe(value)}`);
  return value;
}
