/** What is asked: one small network, and requests for it in the forms that clients use. */

import { seededRandom } from "../../src/kernel/clock/index.js";
import { encodeOnnxModel } from "../../src/kernel/onnx/index.js";
import { WireReader, WireWriter } from "../../src/kernel/protobuf/index.js";

/** Name of the model in every server. */
export const MODEL = "network";
const FEATURES = 4;
const CLASSES = 3;

/** A perceptron 4-64-64-3 (19 KB), the same bytes in every run. */
export function networkBytes(): Uint8Array {
  const random = seededRandom(7);
  const weights = (count: number) => Float32Array.from({ length: count }, () => random.next() / 2 - 0.25);
  const sizes = [FEATURES, 64, 64, CLASSES];
  const constants = [];
  const nodes = [];
  let value = "input";
  for (const [layer, outputs] of sizes.slice(1).entries()) {
    const inputs = sizes[layer] ?? 0;
    constants.push({
      name: `w${layer}`,
      type: "FP32",
      shape: [inputs, outputs],
      data: weights(inputs * outputs),
    } as const);
    constants.push({ name: `b${layer}`, type: "FP32", shape: [outputs], data: weights(outputs) } as const);
    nodes.push({ op: "Gemm", inputs: [value, `w${layer}`, `b${layer}`], outputs: [`g${layer}`] });
    value = layer === sizes.length - 2 ? "probabilities" : `r${layer}`;
    nodes.push({ op: layer === sizes.length - 2 ? "Softmax" : "Relu", inputs: [`g${layer}`], outputs: [value] });
  }
  return encodeOnnxModel({
    producer: "bench",
    graph: {
      name: MODEL,
      inputs: [{ name: "input", type: "FP32", shape: ["batch", FEATURES] }],
      outputs: [{ name: "probabilities", type: "FP32", shape: ["batch", CLASSES] }],
      ...{ constants, nodes },
    },
  });
}

/** A form of request. */
export type Form = "json" | "binary" | "grpc";

/** What is sent each time, and how the probabilities are read from an answer. */
export interface Request {
  readonly form: Form;
  /** The whole HTTP/1.1 request; for gRPC the message with its five bytes of prefix. */
  readonly bytes: Buffer;
  readonly read: (answer: { head: string; body: Buffer }) => number[];
}

function features(rows: number): Float32Array {
  const random = seededRandom(3);
  return Float32Array.from({ length: rows * FEATURES }, () => random.int(80) / 10);
}

const post = (body: Buffer, type: string, more = ""): Buffer =>
  Buffer.concat([
    Buffer.from(
      `POST /v2/models/${MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n${more}Content-Length: ${body.length}\r\n\r\n`,
    ),
    body,
  ]);

const floats = (bytes: Buffer): number[] => [...new Float32Array(new Uint8Array(bytes).buffer)];

interface JsonAnswer {
  readonly outputs: readonly { readonly data: number[] }[];
}

/** One row in JSON. */
export function jsonRequest(): Request {
  const data = [...features(1)].map((value) => Math.round(value * 10) / 10);
  const body = JSON.stringify({ inputs: [{ name: "input", shape: [1, FEATURES], datatype: "FP32", data }] });
  const read: Request["read"] = (answer) => (JSON.parse(answer.body.toString()) as JsonAnswer).outputs[0]?.data ?? [];
  return { form: "json", bytes: post(Buffer.from(body), "application/json"), read };
}

/** 64 rows by the binary extension, both ways. */
export function binaryRequest(): Request {
  const rows = 64;
  const data = Buffer.from(features(rows).buffer);
  const head = JSON.stringify({
    inputs: [
      {
        ...{ name: "input", shape: [rows, FEATURES], datatype: "FP32" },
        parameters: { binary_data_size: data.length },
      },
    ],
    parameters: { binary_data_output: true },
  });
  const more = `Inference-Header-Content-Length: ${head.length}\r\n`;
  return {
    form: "binary",
    bytes: post(Buffer.concat([Buffer.from(head), data]), "application/octet-stream", more),
    read: ({ head: fields, body }) => {
      const length = /^inference-header-content-length: (\d+)/im.exec(fields)?.[1];
      return length === undefined ? [] : floats(body.subarray(Number(length)));
    },
  };
}

/** One row in a gRPC message, its tensor as raw bytes. */
export function grpcRequest(): Request {
  const writer = new WireWriter();
  writer.text(1, MODEL);
  const input = writer.open(5);
  writer.text(1, "input");
  writer.text(2, "FP32");
  for (const size of [1, FEATURES]) {
    writer.tag(3, 0);
    writer.varint(size);
  }
  writer.close(input);
  writer.content(7, new Uint8Array(features(1).buffer));
  const message = writer.finish();
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return { form: "grpc", bytes: Buffer.concat([prefix, message]), read: ({ body }) => readGrpc(body.subarray(5)) };
}

/** Raw contents, or the typed ones of the first output. */
function readGrpc(message: Buffer): number[] {
  const reader = new WireReader(message);
  let found: number[] = [];
  while (!reader.isDone) {
    const tag = reader.tag();
    if (tag >>> 3 === 6) found = floats(reader.take());
    else if (tag >>> 3 === 5) found = [...found, ...readTyped(reader.take())];
    else reader.skip(tag & 7);
  }
  return found;
}

function readTyped(output: Buffer): number[] {
  const reader = new WireReader(output);
  while (!reader.isDone) {
    const tag = reader.tag();
    if (tag >>> 3 !== 5) {
      reader.skip(tag & 7);
      continue;
    }
    const contents = new WireReader(reader.take());
    while (!contents.isDone) {
      const inner = contents.tag();
      if (inner === 50) return floats(contents.take());
      contents.skip(inner & 7);
    }
  }
  return [];
}
