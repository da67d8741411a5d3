/** Small models of text, and of every datatype, for tests. */
import { encodeOnnxModel, type OnnxType } from "../../../kernel/onnx/index.js";

const SIZE = 128;
const LETTERS = "abcdefghijklmnopqrstuvwxyz";

/** A language model of the alphabet: after each letter the next is likeliest, after z the end of text, after all else an a. */
export function lettersModel(): Uint8Array {
  const table = new Float32Array(SIZE * SIZE);
  for (let id = 0; id < SIZE; id++) {
    const at = LETTERS.indexOf(String.fromCharCode(id));
    const next = at < 0 ? 97 : at === 25 ? 0 : id + 1;
    for (const letter of LETTERS) table[id * SIZE + letter.charCodeAt(0)] = 1;
    table[id * SIZE + next] = 6;
  }
  return encodeOnnxModel({
    producer: "test",
    graph: {
      name: "letters",
      inputs: [{ name: "input_ids", type: "INT64", shape: ["batch", "sequence"] }],
      outputs: [{ name: "logits", type: "FP32", shape: ["batch", "sequence", SIZE] }],
      constants: [{ name: "table", type: "FP32", shape: [SIZE, SIZE], data: table }],
      nodes: [{ op: "Gather", inputs: ["table", "input_ids"], outputs: ["logits"], attributes: { axis: { int: 0 } } }],
    },
  });
}

/** A vector for a text: the mean of four numbers of each character. */
export function vectorsModel(): Uint8Array {
  const table = Float32Array.from({ length: SIZE * 4 }, (_, index) => Math.sin(index * 12.9898) * 2);
  return encodeOnnxModel({
    producer: "test",
    graph: {
      name: "vectors",
      inputs: [{ name: "input_ids", type: "INT64", shape: ["batch", "sequence"] }],
      outputs: [{ name: "embedding", type: "FP32", shape: ["batch", 4] }],
      constants: [{ name: "table", type: "FP32", shape: [SIZE, 4], data: table }],
      nodes: [
        { op: "Gather", inputs: ["table", "input_ids"], outputs: ["rows"], attributes: { axis: { int: 0 } } },
        {
          ...{ op: "ReduceMean", inputs: ["rows"], outputs: ["embedding"] },
          attributes: { axes: { ints: [1] }, keepdims: { int: 0 } },
        },
      ],
    },
  });
}

/** y = x for one datatype. */
export const identityModel = (type: OnnxType): Uint8Array =>
  encodeOnnxModel({
    producer: "test",
    graph: {
      name: "identity",
      inputs: [{ name: "x", type, shape: ["batch", "n"] }],
      outputs: [{ name: "y", type, shape: ["batch", "n"] }],
      constants: [],
      nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }],
    },
  });

/** A repository with all of them: an identity of each datatype by its name in small letters, `letters`, `vectors`. */
export function protocolModels(): Record<string, Uint8Array> {
  const types = ["BOOL", "INT8", "UINT16", "INT32", "UINT64", "INT64", "FP16", "FP32", "FP64", "BYTES"] as const;
  const identities = types.map((type) => [`${type.toLowerCase()}/1/model.onnx`, identityModel(type)] as const);
  return {
    ...Object.fromEntries(identities),
    "letters/1/model.onnx": lettersModel(),
    "vectors/1/model.onnx": vectorsModel(),
  };
}
