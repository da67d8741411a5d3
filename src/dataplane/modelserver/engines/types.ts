import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { TensorSpec, TensorValue } from "../../../kernel/tensors/index.js";

/** A loaded model: what it takes and gives, and running it. */
export interface Engine {
  /** Kind of model as clients see it: `onnxruntime_onnx`, `sklearn`, `xgboost`, … */
  readonly platform: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Rows of different requests may share a run: every input and output has the same free first dimension. */
  readonly batchable: boolean;
  /** Runs that may be under way at once. */
  readonly concurrency: number;
  /** Bytes that it is known to hold (measured where it has a process of its own); 0: not known. */
  readonly memoryBytes: number;
  /** Milliseconds that the last run took of the thread; absent where nobody knows but from outside. */
  readonly lastRunMs?: number;
  /** Throws `EngineFault` when the place where the model runs failed, a 400 `HttpError` when the input cannot be computed with, a 500 one otherwise. */
  run(inputs: readonly TensorValue[]): Promise<TensorValue[]>;
  close(): Promise<void>;
}

/** Formats of model files. */
export type EngineKind = "onnx" | "xgboost" | "lightgbm" | "sklearn" | "javascript" | "python";

/** A model file to be loaded in the thread that is told to. */
export interface EngineFile {
  readonly kind: EngineKind;
  /** The file itself; for `javascript` the module, for `python` the module or the pickle. */
  readonly file: string;
  /** What the model's configuration says to its engine. */
  readonly settings: JsonObject;
}
