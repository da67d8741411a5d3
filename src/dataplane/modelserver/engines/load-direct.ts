/** Loads a model into the thread that calls. Imports are late: a server reads only the code of the formats that it serves. */
import { ModelError } from "../failures.js";
import type { ListedFile } from "../storage/types.js";
import { readText } from "./settings.js";
import type { Engine, EngineFile } from "./types.js";

/** Models up to this size are loaded by the answering thread: a few milliseconds. */
export const LOADED_HERE_BYTES = 2 * 2 ** 20;

/** How a model is loaded. */
export interface LoadOptions {
  readonly threads: number;
  /** The model has its thread or process for itself and may keep memory between runs. */
  readonly arena?: boolean;
}

/** Loads what most likely runs a model of these files, while they are on their way; what fails is told when the model is there. */
export async function expectModel(files: readonly ListedFile[]): Promise<void> {
  if (!files.some(({ name, size = 0 }) => name.endsWith(".onnx") && size <= LOADED_HERE_BYTES)) return;
  const { loadRuntime } = await import("./onnx/sessions.unsafe.js");
  await loadRuntime(undefined).catch(() => undefined);
}

/** Throws `ModelError` for a file that is not what its format demands, and where its runtime is missing. */
export async function loadDirect(model: EngineFile, options: LoadOptions): Promise<Engine> {
  switch (model.kind) {
    case "onnx": {
      const { loadOnnx } = await import("./onnx/session.unsafe.js");
      const runtime = readText(model.settings, "onnx_runtime");
      if (runtime !== undefined && runtime !== "native" && runtime !== "wasm")
        throw new ModelError("ModelLoadFailed", `parameter onnx_runtime is "${runtime}"; expected native or wasm`);
      return loadOnnx(model.file, { ...options, ...(runtime === "wasm" ? { runtime } : {}) });
    }
    case "xgboost":
    case "lightgbm":
    case "sklearn": {
      const { loadTable } = await import("./tabular/table-engine.js");
      return loadTable(model);
    }
    case "javascript": {
      const { loadJavascript } = await import("./javascript/javascript-model.js");
      return loadJavascript(model, options);
    }
    default:
      throw new ModelError(
        "UnsupportedFormat",
        `${model.file}: ${model.kind} models do not run in a thread of this server`,
      );
  }
}
