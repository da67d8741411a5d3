/** What an ONNX file would do, read from the file without running it: which operators it calls. */
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ModelError } from "../../failures.js";

/** What is known of a file. */
export interface GraphSummary {
  readonly operators: ReadonlySet<string>;
  /** Bytes of the file and of the files beside it that hold its weights. */
  readonly bytes: number;
  /** Work and memory of a run are bounded by the sizes of its inputs: no operator repeats, or makes a tensor, as the data say. */
  readonly bounded: boolean;
}

/** Operators whose work or output size depends on values, not on shapes alone (ONNX operator set 23 and `com.microsoft`). */
const DATA_DEPENDENT = new Set([
  ...["Loop", "Scan", "Range", "Expand", "Tile", "ConstantOfShape", "Resize", "Upsample", "Pad", "OneHot"],
  ...["RandomNormal", "RandomUniform", "EyeLike", "RoiAlign", "MaxUnpool", "BlackmanWindow", "HannWindow"],
  ...["HammingWindow", "MelWeightMatrix", "GridSample", "AffineGrid", "CenterCropPad", "STFT", "DFT"],
  ...["SequenceMap", "StringSplit", "BeamSearch", "GreedySearch", "Sampling", "Col2Im", "SequenceEmpty"],
]);

const WINDOW = 64 * 1024;
/** `ModelProto` fields. */
const MODEL = { irVersion: 1, graph: 7, functions: 25 } as const;

/** Reads the summary. Throws `ModelError` when the file's frame is no ONNX model (cut short, another format). */
export async function summarizeGraph(file: string): Promise<GraphSummary> {
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    if (size === 0) throw new ModelError("ModelLoadFailed", `${file} is empty`);
    const reader = new GraphReader(handle, file);
    await reader.model(size);
    const weights = await Promise.all([...reader.locations].map((name) => sizeOf(join(dirname(file), name))));
    const bytes = weights.reduce((sum, each) => sum + each, size);
    return {
      operators: reader.operators,
      bytes,
      bounded: [...reader.operators].every((operator) => !DATA_DEPENDENT.has(operator)),
    };
  } finally {
    await handle.close();
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    const handle = await open(file, "r");
    try {
      return (await handle.stat()).size;
    } finally {
      await handle.close();
    }
  } catch {
    // onnxruntime says better what is wrong with it.
    return 0;
  }
}

type Visit = (field: number, start: number, length: number) => Promise<void>;

class GraphReader {
  readonly operators = new Set<string>();
  /** Files that hold weights outside of the model file. */
  readonly locations = new Set<string>();
  readonly #handle: FileHandle;
  readonly #file: string;
  #window = Buffer.alloc(0);
  #windowStart = 0;

  constructor(handle: FileHandle, file: string) {
    this.#handle = handle;
    this.#file = file;
  }

  async model(size: number): Promise<void> {
    let graphs = 0;
    await this.#fields(0, size, async (field, start, length) => {
      if (field === MODEL.graph) {
        graphs++;
        await this.#graph(start, length, 0);
      } else if (field === MODEL.functions) {
        // FunctionProto: node = 7.
        await this.#fields(start, length, async (inner, at, bytes) => {
          if (inner === 7) await this.#node(at, bytes, 1);
        });
      }
    });
    if (graphs === 0) throw this.#broken("it has no graph");
  }

  /** GraphProto: node = 1, initializer = 5. */
  async #graph(start: number, length: number, depth: number): Promise<void> {
    if (depth > 16) throw this.#broken("its graphs are nested too deep");
    await this.#fields(start, length, async (field, at, bytes) => {
      if (field === 1) await this.#node(at, bytes, depth);
      else if (field === 5) await this.#initializer(at, bytes);
    });
  }

  /** NodeProto: op_type = 4, attribute = 5. AttributeProto: g = 6, graphs = 11. */
  async #node(start: number, length: number, depth: number): Promise<void> {
    await this.#fields(start, length, async (field, at, bytes) => {
      if (field === 4) this.operators.add((await this.#bytes(at, Math.min(bytes, 256))).toString("utf8"));
      else if (field === 5) {
        await this.#fields(at, bytes, async (inner, from, count) => {
          if (inner === 6 || inner === 11) await this.#graph(from, count, depth + 1);
        });
      }
    });
  }

  /** TensorProto: external_data = 13, entries of key = 1, value = 2. */
  async #initializer(start: number, length: number): Promise<void> {
    await this.#fields(start, length, async (field, at, bytes) => {
      if (field !== 13) return;
      const pair: string[] = [];
      await this.#fields(at, bytes, async (inner, from, count) => {
        if (inner <= 2) pair[inner] = (await this.#bytes(from, Math.min(count, 4096))).toString("utf8");
      });
      if (pair[1] === "location" && pair[2] !== undefined) this.locations.add(pair[2]);
    });
  }

  async #fields(start: number, length: number, visit: Visit): Promise<void> {
    const end = start + length;
    let at = start;
    while (at < end) {
      const [key, afterKey] = await this.#varint(at, end);
      const field = Math.floor(key / 8);
      if (field === 0) throw this.#broken("a field has no number");
      switch (key % 8) {
        case 0:
          [, at] = await this.#varint(afterKey, end);
          break;
        case 1:
          at = afterKey + 8;
          break;
        case 2: {
          const [count, from] = await this.#varint(afterKey, end);
          at = from + count;
          if (at > end) throw this.#broken("it is cut short");
          await visit(field, from, count);
          break;
        }
        case 5:
          at = afterKey + 4;
          break;
        default:
          throw this.#broken("it is no protobuf message");
      }
    }
    if (at > end) throw this.#broken("it is cut short");
  }

  async #varint(start: number, end: number): Promise<[value: number, next: number]> {
    let value = 0;
    let scale = 1;
    for (let at = start; at < start + 10; at++) {
      if (at >= end) break;
      const byte = await this.#byte(at);
      value += (byte & 127) * scale;
      scale *= 128;
      if (byte < 128) return [value, at + 1];
    }
    throw this.#broken(start + 10 > end ? "it is cut short" : "it is no protobuf message");
  }

  async #byte(at: number): Promise<number> {
    const near = this.#window[at - this.#windowStart];
    if (near !== undefined && at >= this.#windowStart) return near;
    await this.#fill(at, WINDOW);
    const byte = this.#window[0];
    if (byte === undefined) throw this.#broken("it is cut short");
    return byte;
  }

  async #bytes(at: number, length: number): Promise<Buffer> {
    if (at < this.#windowStart || at + length > this.#windowStart + this.#window.length) {
      await this.#fill(at, Math.max(WINDOW, length));
    }
    return this.#window.subarray(at - this.#windowStart, at - this.#windowStart + length);
  }

  async #fill(at: number, length: number): Promise<void> {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await this.#handle.read(buffer, 0, length, at);
    this.#window = buffer.subarray(0, bytesRead);
    this.#windowStart = at;
  }

  #broken(why: string): ModelError {
    return new ModelError("ModelLoadFailed", `${this.#file} cannot be loaded as ONNX: ${why}`);
  }
}
