/**
 * onnxruntime behind an interface of ours. Unsafe because its tensor constructor ties each element type to one array class in
 * a way that a table of datatypes cannot show to the compiler.
 */

import { readFile } from "node:fs/promises";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { messageOf } from "../../../../kernel/errors/index.js";
import { HttpError } from "../../../../kernel/http1/index.js";
import { ONNX_TYPES } from "../../../../kernel/onnx/index.js";
import type { TensorData, TensorSpec, TensorValue } from "../../datatypes.js";
import { datatypeOfOrt, typeInfo } from "../../datatypes.js";
import { ModelError } from "../../failures.js";
import type { Engine } from "../types.js";

/** How models are loaded. */
export interface OnnxOptions {
  /** Threads of one run; default 1: concurrency comes from requests. */
  readonly threads?: number;
  /** Keeps what the greatest run took for the next ones. Small models are no faster with it (measured: 10 to 12 µs CPU a run either way), default no. */
  readonly arena?: boolean;
  /** `wasm`: onnxruntime's WebAssembly form, which is otherwise taken only where its binary does not work. */
  readonly runtime?: "wasm";
}

type Runtime = typeof import("onnxruntime-node");

/** Loads an ONNX file. Throws `ModelError`: `RuntimeUnavailable` when onnxruntime has no binary for this machine, `ModelLoadFailed` for a bad file. */
export async function loadOnnx(file: string, options: OnnxOptions = {}): Promise<Engine> {
  const { runtime, isWasm } = await loadRuntime(options.runtime);
  let session: InferenceSession;
  const settings: InferenceSession.SessionOptions = {
    intraOpNumThreads: options.threads ?? 1,
    interOpNumThreads: 1,
    executionMode: "sequential",
    enableCpuMemArena: options.arena ?? false,
    logSeverityLevel: 4,
  };
  try {
    // The WebAssembly form knows no files.
    session = await (isWasm
      ? runtime.InferenceSession.create(await readFile(file), settings)
      : runtime.InferenceSession.create(file, settings));
  } catch (error) {
    throw new ModelError("ModelLoadFailed", `${file} cannot be loaded as ONNX: ${explainLoad(messageOf(error))}`, {
      cause: error,
    });
  }
  const inputs = describeTensors(session.inputMetadata, file);
  const outputs = describeTensors(session.outputMetadata, file);
  const first = new Set(
    [...session.inputMetadata, ...session.outputMetadata].map((value) => (value.isTensor ? value.shape[0] : undefined)),
  );
  const batchable = inputs.length > 0 && first.size === 1 && typeof [...first][0] === "string";
  let lastRunMs = 0;
  return {
    get lastRunMs() {
      return lastRunMs;
    },
    platform: "onnxruntime_onnx",
    inputs,
    outputs,
    batchable,
    concurrency: 1,
    memoryBytes: 0,
    async run(values) {
      const feeds: Record<string, Tensor> = {};
      let result: InferenceSession.ReturnType;
      try {
        for (const value of values) feeds[value.name] = makeTensor(runtime, value);
        // The binding runs the model in a turn of its own, which is the one right behind this.
        let begun = 0;
        setImmediate(() => {
          begun = performance.now();
        });
        result = await session.run(feeds);
        lastRunMs = performance.now() - begun;
      } catch (error) {
        throw asHttpError(error);
      }
      return outputs.map((spec) => {
        const tensor = result[spec.name];
        if (tensor === undefined) throw new HttpError(500, `the model did not give output ${spec.name}`);
        return { name: spec.name, datatype: spec.datatype, shape: tensor.dims, data: tensor.data as TensorData };
      });
    },
    close: () => session.release(),
  };
}

/** onnxruntime's Node binding names element types that it cannot pass (BF16 among them) by number. */
function explainLoad(message: string): string {
  const number = /Unsupported data type: (\d+)/.exec(message)?.[1];
  const name = Object.entries(ONNX_TYPES).find(([, value]) => value === Number(number))?.[0];
  return name === undefined ? message : `an input or output is ${name}, which onnxruntime's Node binding cannot pass`;
}

/** What the data of a request caused is the request's fault; the rest is ours. */
function asHttpError(error: unknown): HttpError {
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

function makeTensor(runtime: Runtime, value: TensorValue): Tensor {
  return new runtime.Tensor(typeInfo(value.datatype).ort as "float32", value.data as Float32Array, value.shape);
}

/** `native` is faster by far; `wasm` runs where it has no binary. */
interface LoadedRuntime {
  readonly runtime: Runtime;
  readonly isWasm: boolean;
}

async function loadRuntime(wanted: OnnxOptions["runtime"]): Promise<LoadedRuntime> {
  // onnxruntime 1.30 keeps and uploads statistics of its use unless told not to; it looks when its library is loaded.
  process.env["ORT_DISABLE_TELEMETRY"] = "1";
  let obstacle = "";
  if (wanted !== "wasm") {
    try {
      return { runtime: await import("onnxruntime-node"), isWasm: false };
    } catch (error) {
      obstacle = `onnxruntime has no working binary for ${process.platform}/${process.arch} on this machine: ${messageOf(error)}; `;
    }
  }
  try {
    // Not among our dependencies: 140 MB that few need.
    const name: string = "onnxruntime-web";
    const runtime = (await import(name)) as Runtime;
    runtime.env.wasm.numThreads = 1;
    return { runtime, isWasm: true };
  } catch (error) {
    throw new ModelError(
      "RuntimeUnavailable",
      `${obstacle}its WebAssembly form is not installed (npm install onnxruntime-web)`,
      {
        cause: error,
      },
    );
  }
}

function describeTensors(metadata: readonly InferenceSession.ValueMetadata[], file: string): TensorSpec[] {
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
