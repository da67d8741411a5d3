/** The versions of a model: opened, and made to answer. */
import { messageOf } from "../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import type { TensorSpec } from "../../kernel/tensors/index.js";
import type { Batcher } from "./batcher.js";
import { createBatcher } from "./batcher.js";
import { openEngine } from "./engines/open-engine.js";
import type { Engine, EngineFile } from "./engines/types.js";
import type { ExplainRequest } from "./explain/explain.js";
import { ModelError } from "./failures.js";
import { findModelFile } from "./model-file.js";
import type { ModelConfig, ModelVersionFolder } from "./model-folder.js";
import type { RepositoryOptions } from "./repository.js";
import type { Residency } from "./residency.js";

/** A version that answers. */
export interface ServedModel {
  readonly name: string;
  readonly version: string;
  /** Where the version's files are. */
  readonly folder: string;
  /** Kind of model as clients see it: `onnxruntime_onnx`, `sklearn`, … */
  readonly platform: string;
  /** The model's configuration as it was written. */
  readonly config: Json;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly batcher: Batcher;
  /** Explains predictions; `undefined`: the model has not rows of numbers in and out. */
  readonly explain: ((request: ExplainRequest) => Promise<JsonObject>) | undefined;
  /** What is wrong with its worker now; `undefined` when nothing is. */
  readonly unhealthy: string | undefined;
}

/** Rows of numbers in, rows of numbers out. */
function isTabular({ inputs, outputs }: { inputs: readonly TensorSpec[]; outputs: readonly TensorSpec[] }): boolean {
  const isTable = ({ datatype, shape }: TensorSpec): boolean =>
    datatype !== "BYTES" && shape[0] === -1 && (shape.length === 1 || (shape.length === 2 && (shape[1] ?? -1) > 0));
  return inputs.length > 0 && inputs.every(isTable) && outputs.some(isTable);
}

/** Parameters `feature_names` (a list, or a text with commas) and `background` (rows, or JSON text of them). */
function readExplained(settings: JsonObject): { featureNames?: readonly string[]; background?: Json } {
  const { feature_names: names, background } = settings;
  const list = Array.isArray(names)
    ? names.map((name) => (typeof name === "string" ? name : JSON.stringify(name)))
    : undefined;
  const featureNames = list ?? (typeof names === "string" ? names.split(",").map((name) => name.trim()) : undefined);
  const rows: Json | undefined = typeof background === "string" ? JSON.parse(background) : background;
  return {
    ...(featureNames === undefined ? {} : { featureNames }),
    ...(rows === undefined ? {} : { background: rows }),
  };
}

/** A version and what runs it. */
export interface LoadedVersion {
  readonly served: ServedModel;
  readonly engine: Engine;
}

/** A version that cannot be had. */
export interface VersionFailure {
  readonly version: string;
  readonly error: ModelError;
  readonly reason: string;
}

/** What loading needs. */
export type VersionOptions = RepositoryOptions & { readonly residency: Residency };

/** Loads each version; one that fails does not stop the others. */
export async function loadVersions(
  name: string,
  folders: readonly ModelVersionFolder[],
  config: ModelConfig,
  options: VersionOptions,
): Promise<{ versions: LoadedVersion[]; failed: VersionFailure[] }> {
  const versions: LoadedVersion[] = [];
  const failed: VersionFailure[] = [];
  for (const folder of folders) {
    try {
      versions.push(await loadVersion(name, folder, config, options));
    } catch (error) {
      const known =
        error instanceof ModelError ? error : new ModelError("ModelLoadFailed", messageOf(error), { cause: error });
      failed.push({ version: folder.version, error: known, reason: `${known.reason}: ${known.message}` });
    }
  }
  return { versions, failed };
}

async function loadVersion(
  name: string,
  { version, folder }: ModelVersionFolder,
  config: ModelConfig,
  options: VersionOptions,
): Promise<LoadedVersion> {
  const { residency, metrics, clock, turns, log, threads, limits } = options;
  const { file, kind } = await findModelFile(folder, config.file);
  const model: EngineFile = { kind, file, settings: config.settings };
  const maxRows = config.maxBatchSize ?? options.maxBatchRows;
  let unhealthy: string | undefined;
  const onFault: Parameters<typeof openEngine>[1]["onFault"] = (fault) => {
    unhealthy = fault?.words;
    if (fault === undefined) return;
    metrics.fault(name, version, fault.kind);
    log.warn("a model's worker failed", { model: name, version, kind: fault.kind, words: fault.words });
  };
  const engine = await residency.admit({
    label: `${name}/${version}`,
    ...{ kind, file },
    open: () => openEngine(model, { threads, maxRows, limits, clock, onFault }),
  });
  const batcher = createBatcher(engine, {
    maxRows,
    maxDelayMs: config.maxDelayMs ?? options.maxBatchDelayMs,
    maxShortRows: config.maxBatchSize ?? options.maxShortBatchRows,
    maxWaiting: options.maxWaiting,
    ...{ clock, turns },
    onRun: metrics.runOf(name, version),
  });
  const { platform, inputs, outputs } = engine;
  const explained = { inputs, outputs, batcher, ...readExplained(config.settings) };
  const served: ServedModel = {
    ...{ name, version, folder, platform, config: config.raw, inputs, outputs, batcher },
    explain: isTabular(explained)
      ? async (request) => (await import("./explain/explain.js")).explain(explained, request)
      : undefined,
    get unhealthy() {
      return unhealthy;
    },
  };
  return { engine, served };
}
