/** What is said between the server and the place where a model runs, and how it is written on a pipe. */
import { isUtf8 } from "node:buffer";
import {
  datatypeOf,
  readBinaryData,
  type TensorSpec,
  type TensorValue,
  writeBinaryData,
} from "../../../../kernel/tensors/index.js";
import { ModelError } from "../../failures.js";
import type { EngineFile } from "../types.js";

/** To the host: load this file, or run the model. */
export type HostCall =
  | { readonly id: number; readonly op: "load"; readonly file: EngineFile; readonly threads: number }
  | { readonly id: number; readonly op: "run"; readonly inputs: readonly TensorValue[] };

/** What a host says of the model that it loaded. */
export interface LoadedModel {
  readonly platform: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly batchable: boolean;
}

/** From the host. An error's `status` is the one for the client; failures to load have none. */
export interface HostReply {
  readonly id: number;
  readonly loaded?: LoadedModel;
  readonly outputs?: readonly TensorValue[];
  readonly error?: { readonly message: string; readonly status?: number; readonly reason?: string };
}

/** Largest head of a frame; heads hold names, shapes and error texts only. */
const MAX_HEAD_BYTES = 4 * 2 ** 20;

/**
 * Writes a frame: the head's length as 4 bytes little-endian, the head as JSON with `tensors` of `{name, datatype, shape, size}`,
 * then the tensors' bytes as in the binary tensor extension.
 */
export function encodeFrame(
  head: Readonly<Record<string, unknown>>,
  tensors: readonly TensorValue[] = [],
): Uint8Array[] {
  const bodies = tensors.map(writeBinaryData);
  const described = tensors.map(({ name, datatype, shape }, index) => ({
    ...{ name, datatype, shape },
    size: bodies[index]?.byteLength ?? 0,
  }));
  const text = Buffer.from(JSON.stringify({ ...head, tensors: described }), "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return [length, text, ...bodies];
}

/** A frame as it was read: its head without the tensors, and the tensors. */
export interface Frame {
  readonly head: Readonly<Record<string, unknown>>;
  readonly tensors: readonly TensorValue[];
}

/** Puts frames together from what a pipe gives. `push` throws `ModelError` when what comes is no frame: the other side is not to be trusted. */
export function createFrameReader(maxBytes: number): { push(chunk: Uint8Array): Frame[] } {
  let chunks: Uint8Array[] = [];
  let have = 0;
  let wanted = 4;
  let head: { readonly fields: Readonly<Record<string, unknown>>; readonly tensors: readonly TensorHead[] } | undefined;
  let headBytes = 0;
  const take = (count: number): Buffer => {
    const all =
      chunks.length === 1 && chunks[0] !== undefined
        ? Buffer.from(chunks[0].buffer, chunks[0].byteOffset, chunks[0].length)
        : Buffer.concat(chunks);
    chunks = all.length > count ? [all.subarray(count)] : [];
    have = all.length - count;
    return all.subarray(0, count);
  };
  return {
    push(chunk) {
      const frames: Frame[] = [];
      chunks.push(chunk);
      have += chunk.length;
      while (have >= wanted) {
        if (head === undefined && headBytes === 0) {
          headBytes = take(4).readUInt32LE();
          if (headBytes === 0 || headBytes > MAX_HEAD_BYTES) throw broken(`a head of ${headBytes} bytes`);
          wanted = headBytes;
        } else if (head === undefined) {
          head = readHead(take(headBytes));
          wanted = head.tensors.reduce((sum, tensor) => sum + tensor.size, 0);
          if (wanted > maxBytes) throw broken(`tensors of ${wanted} bytes, more than the ${maxBytes} that are taken`);
        } else {
          frames.push({ head: head.fields, tensors: readTensors(head.tensors, take(wanted)) });
          head = undefined;
          headBytes = 0;
          wanted = 4;
        }
      }
      return frames;
    },
  };
}

interface TensorHead {
  readonly name: string;
  readonly datatype: TensorValue["datatype"];
  readonly shape: readonly number[];
  readonly size: number;
}

const broken = (what: string): ModelError => new ModelError("RuntimeUnhealthy", `the model's worker sent ${what}`);

function readHead(bytes: Buffer): { fields: Readonly<Record<string, unknown>>; tensors: TensorHead[] } {
  const fields = isUtf8(bytes) ? parseObject(bytes.toString("utf8")) : undefined;
  if (fields === undefined) throw broken("a head that is no JSON object");
  const { tensors = [] } = fields;
  if (!Array.isArray(tensors)) throw broken("tensors that are no list");
  return { fields, tensors: tensors.map(readTensorHead) };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether it is an object with members. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function readTensorHead(value: unknown): TensorHead {
  if (!isRecord(value)) throw broken("a tensor that is no object");
  const { name, datatype, shape, size } = value;
  const known = typeof datatype === "string" ? datatypeOf(datatype) : undefined;
  if (typeof name !== "string" || known === undefined) throw broken(`a tensor of type ${String(datatype)}`);
  const sizes = readSizes(shape);
  if (sizes === undefined || sizes.some((each) => each < 0)) throw broken(`tensor ${name} without a shape`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw broken(`tensor ${name} without a size`);
  return { name, datatype: known, shape: sizes, size };
}

function readSizes(value: unknown): number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const sizes: number[] = [];
  for (const size of value) {
    if (typeof size !== "number" || !Number.isSafeInteger(size)) return undefined;
    sizes.push(size);
  }
  return sizes;
}

function readTensors(heads: readonly TensorHead[], bytes: Uint8Array): TensorValue[] {
  let at = 0;
  return heads.map(({ name, datatype, shape, size }) => {
    const part = bytes.subarray(at, at + size);
    at += size;
    const count = shape.reduce((product, each) => product * each, 1);
    return { name, datatype, shape, data: readBinaryData(part, { name, datatype, count }) };
  });
}

/** Reads a reply. Throws `ModelError` when it is none. */
export function readReply({ head, tensors }: Frame): HostReply {
  const { id, loaded, error } = head;
  if (typeof id !== "number") throw broken("a reply without an id");
  if (isRecord(error)) {
    const { message, status, reason } = error;
    return {
      id,
      error: {
        message: typeof message === "string" ? message : "the model's worker gave no reason",
        ...(typeof status === "number" && status >= 400 && status < 600 ? { status } : {}),
        ...(typeof reason === "string" ? { reason } : {}),
      },
    };
  }
  return loaded === undefined ? { id, outputs: tensors } : { id, loaded: readLoaded(loaded) };
}

function readLoaded(value: unknown): LoadedModel {
  if (!isRecord(value)) throw broken("a description that is no object");
  const { platform, inputs, outputs, batchable } = value;
  if (typeof platform !== "string" || !Array.isArray(inputs) || !Array.isArray(outputs))
    throw broken("a description of the model without platform, inputs and outputs");
  return { platform, inputs: inputs.map(readSpec), outputs: outputs.map(readSpec), batchable: batchable === true };
}

/** Reads what a model says of a tensor. Throws `ModelError` with what it is instead. */
export function readSpec(value: unknown): TensorSpec {
  if (!isRecord(value)) throw broken("a tensor's description that is no object");
  const { name, datatype } = value;
  const known = typeof datatype === "string" ? datatypeOf(datatype) : undefined;
  const shape = readSizes(value["shape"]);
  if (typeof name !== "string" || known === undefined || shape === undefined)
    throw broken(`a tensor's description without name, datatype and shape: ${JSON.stringify(value).slice(0, 200)}`);
  const { alsoTakes, nullIsNaN } = value;
  const others = Array.isArray(alsoTakes) ? alsoTakes.flatMap((each) => datatypeOf(String(each)) ?? []) : undefined;
  return {
    ...{ name, datatype: known, shape },
    ...(others === undefined ? {} : { alsoTakes: others }),
    ...(nullIsNaN === true ? { nullIsNaN } : {}),
  };
}
