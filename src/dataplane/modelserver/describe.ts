/** What a model is, in the forms of Triton's metadata, configuration and statistics. */
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import type { Datatype, TensorSpec } from "../../kernel/tensors/index.js";
import type { ModelCounters } from "./counters.js";
import type { ServedModel } from "./repository.js";

/** `GET /v2/models/{m}`. */
export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** A version's tensors and its model's other versions. */
export function describeModel(model: ServedModel, versions: readonly string[]): ModelMetadata {
  const { name, inputs, outputs } = model;
  return { name, versions, platform: model.platform, inputs: inputs.map(plainSpec), outputs };
}

/** The model's configuration: what its file says, completed from the model itself. */
export function completeConfig(model: ServedModel, file: Json): JsonObject {
  const given = isObject(file) ? file : {};
  const { max_batch_size: batch = model.inputs.every(({ shape }) => shape[0] === -1) ? 64 : 0 } = given;
  const dimsOf = ({ shape }: TensorSpec): number[] => (batch === 0 ? [...shape] : shape.slice(1));
  const tensors = (specs: readonly TensorSpec[]): JsonObject[] =>
    specs.map((spec) => ({ name: spec.name, data_type: configType(spec.datatype), dims: dimsOf(spec) }));
  return {
    ...{ name: model.name, platform: model.platform, backend: "onnxruntime", max_batch_size: batch },
    ...{ input: tensors(model.inputs), output: tensors(model.outputs) },
    ...given,
  };
}

const configType = (datatype: Datatype): string => (datatype === "BYTES" ? "TYPE_STRING" : `TYPE_${datatype}`);

const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const duration = (count: number, ms: number): { count: number; ns: number } => ({
  count,
  ns: Math.max(0, Math.round(ms * 1e6)),
});

/** Triton's statistics of one version. Time in the queue is what requests waited beyond the runs that answered them. */
export function statisticsOf(counters: ModelCounters) {
  const { latency, reading, predicting, writing, batches } = counters;
  const count = latency.total;
  return {
    name: counters.model,
    version: counters.version,
    last_inference: counters.lastMs,
    inference_count: counters.rows,
    execution_count: counters.runs,
    inference_stats: {
      success: duration(count, latency.sum * 1000),
      fail: duration(counters.failed, counters.failedMs),
      queue: duration(count, predicting.sum * 1000 - counters.sharedRunMs),
      compute_input: duration(count, reading.sum * 1000),
      compute_infer: duration(count, counters.sharedRunMs),
      compute_output: duration(count, writing.sum * 1000),
      cache_hit: duration(0, 0),
      cache_miss: duration(0, 0),
    },
    batch_stats: [...batches]
      .filter(([rows]) => rows > 0)
      .sort(([a], [b]) => a - b)
      .map(([rows, batch]) => ({
        batch_size: rows,
        compute_input: duration(batch.count, 0),
        compute_infer: duration(batch.count, batch.ms),
        compute_output: duration(batch.count, 0),
      })),
  };
}

/** Without what only this server looks at. */
const plainSpec = ({ name, datatype, shape }: TensorSpec): TensorSpec => ({ name, datatype, shape });
