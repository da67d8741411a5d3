/** onnxruntime behind an interface of ours. Unsafe because its tensors' types do not follow from a table of datatypes. */
import { messageOf } from "../../../../kernel/errors/index.js";
import { HttpError } from "../../../../kernel/http1/index.js";
import {
  checkTexts,
  datatypeOfOrt,
  type TensorData,
  type TensorSpec,
  type TensorValue,
  typeInfo,
} from "../../../../kernel/tensors/index.js";
import { ModelError } from "../../failures.js";
import type { Engine } from "../types.js";
import {
  loadRuntime,
  type OrtResults,
  type OrtSession,
  type OrtSettings,
  type OrtTensor,
  type OrtValue,
} from "./sessions.unsafe.js";

/** How models are loaded. */
export interface OnnxOptions {
  /** Threads of one run; default 1: concurrency comes from requests. */
  readonly threads?: number;
  /** Keeps what the greatest run took for the next ones. Small models are no faster with it (measured: 10 to 12 µs CPU a run either way), default no. */
  readonly arena?: boolean;
  /** `wasm`: onnxruntime's WebAssembly form, which is otherwise taken only where its binary does not work. */
  readonly runtime?: "wasm";
}

/** Loads an ONNX file. Throws `ModelError`: `RuntimeUnavailable` when onnxruntime has no binary for this machine, `ModelLoadFailed` for a bad file. */
export async function loadOnnx(file: string, options: OnnxOptions = {}): Promise<Engine> {
  const open = await loadRuntime(options.runtime);
  const settings: OrtSettings = {
    intraOpNumThreads: options.threads ?? 1,
    interOpNumThreads: 1,
    executionMode: "sequential",
    enableCpuMemArena: options.arena ?? false,
    logSeverityLevel: 4,
  };
  let session: OrtSession;
  try {
    session = await open(file, settings);
  } catch (error) {
    const words = await explainLoad(messageOf(error));
    throw new ModelError("ModelLoadFailed", `${file} cannot be loaded as ONNX: ${words}`, { cause: error });
  }
  return new OnnxEngine(session, file);
}

class OnnxEngine implements Engine {
  readonly platform = "onnxruntime_onnx";
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly batchable: boolean;
  readonly concurrency = 1;
  readonly memoryBytes = 0;
  readonly #session: OrtSession;
  /** The first dimensions of the inputs have one name: the model declares them equal, and onnxruntime does not look. */
  readonly #hasEqualRows: boolean;
  lastRunMs = 0;

  constructor(session: OrtSession, file: string) {
    this.#session = session;
    this.inputs = describeTensors(session.inputs, file).map((spec) =>
      spec.datatype === "BYTES" ? { ...spec, isText: true } : spec,
    );
    this.outputs = describeTensors(session.outputs, file);
    const first = new Set([...session.inputs, ...session.outputs].map(({ shape }) => shape[0]));
    const names = new Set(session.inputs.map(({ shape }) => shape[0]));
    this.#hasEqualRows = session.inputs.length > 1 && names.size === 1 && !names.has("") && !names.has(undefined);
    this.batchable = this.inputs.length > 0 && first.size === 1 && typeof [...first][0] === "string";
  }

  async run(values: readonly TensorValue[]): Promise<TensorValue[]> {
    if (this.#hasEqualRows) checkRows(values);
    const session = this.#session;
    const feeds: Record<string, OrtTensor> = {};
    let results: OrtResults;
    try {
      for (const { name, datatype, data, shape } of values) {
        if (datatype === "BYTES") checkTexts({ name, data });
        feeds[name] = session.tensor(typeInfo(datatype).ort, data, shape);
      }
      const begun = performance.now();
      const running = session.run(feeds);
      results = running instanceof Promise ? await running : running;
      this.lastRunMs = performance.now() - begun;
    } catch (error) {
      throw asHttpError(error);
    }
    return this.outputs.map(({ name, datatype }) => {
      const tensor = results[name];
      if (tensor === undefined) throw new HttpError(500, `the model did not give output ${name}`);
      return {
        name,
        datatype,
        shape: tensor.dims,
        data: datatype === "FP16" ? bitsOf(tensor.data) : (tensor.data as TensorData),
      };
    });
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
}

function checkRows(values: readonly TensorValue[]): void {
  const [first] = values;
  for (const { name, shape } of values)
    if (shape[0] !== first?.shape[0])
      throw new HttpError(
        400,
        `input ${name} has ${shape[0]} rows, but input ${first?.name} has ${first?.shape[0]}; the model takes as many of each`,
      );
}

/** onnxruntime's Node binding names element types that it cannot pass (BF16 among them) by number. */
async function explainLoad(message: string): Promise<string> {
  const number = /unsupported data type: (\d+)/i.exec(message)?.[1];
  if (number === undefined) return message;
  const onnx = await import("../../../../kernel/onnx/index.js");
  const name = Object.entries(onnx.ONNX_TYPES).find(([, value]) => value === Number(number))?.[0];
  return name === undefined ? message : `an input or output is ${name}, which onnxruntime's Node binding cannot pass`;
}

/** Halves as their bits: onnxruntime's package gives them as `Float16Array` where Node has that (from version 24 on). */
function bitsOf(data: unknown): TensorData {
  return ArrayBuffer.isView(data) && !(data instanceof Uint16Array)
    ? new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2)
    : (data as TensorData);
}

/** What the data of a request caused is the request's fault; the rest is ours. */
function asHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  const message = messageOf(error);
  const fault =
    /Got invalid dimensions|Non-zero status code|Unexpected input data type|Invalid rank|data bounds|shape/i.test(
      message,
    );
  return new HttpError(
    fault ? 400 : 500,
    `the model could not compute: ${message.replaceAll("\n", " ").slice(0, 400)}`,
  );
}

function describeTensors(metadata: readonly OrtValue[], file: string): TensorSpec[] {
  return metadata.map((value) => {
    if (!value.isTensor)
      throw new ModelError(
        "ModelLoadFailed",
        `${file}: ${value.name} is no tensor (a sequence or a map); only tensors can be served`,
      );
    const datatype = datatypeOfOrt(value.type);
    if (datatype === undefined)
      throw new ModelError(
        "ModelLoadFailed",
        `${file}: ${value.name} has element type ${value.type}, which has no datatype in the protocol`,
      );
    return {
      name: value.name,
      datatype,
      shape: value.shape.map((size) => (typeof size === "number" && size >= 0 ? size : -1)),
    };
  });
}
