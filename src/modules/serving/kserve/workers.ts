/** A model over the pods of several nodes: how many pods there are, with how many GPUs, and what the workers' are made of. Pure. */
import { InputError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, isObject, parseJson, toJsonObject } from "../../../kernel/schema/index.js";
import { mergeBy } from "../pod-template.js";

/** The container that works, in pods of workers. */
export const WORKER_CONTAINER = "worker-container";
/** What the server of several nodes is told, and nobody else may say. */
export const PARALLEL_ENV = { pipeline: "PIPELINE_PARALLEL_SIZE", tensor: "TENSOR_PARALLEL_SIZE" } as const;
const GPU_TYPES = ["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi"];

/** What there is of a model that several nodes serve. */
export interface NodeShare {
  readonly pipeline: number;
  readonly tensor: number;
  /** Pods, the head among them. */
  readonly nodes: number;
  readonly headGpus: number;
  readonly workerGpus: number;
  /** Name of the resource; `undefined`: the writer says that there are none. */
  readonly gpu: string | undefined;
}

/** Where the figures come from. */
export interface ParallelWish {
  /** Of the predictor, over the runtime's. */
  readonly workerSpec: JsonObject;
  readonly head: JsonObject;
  readonly worker: JsonObject;
  /** JSON list of further resources that are GPUs. */
  readonly gpuTypes: string | undefined;
}

/**
 * Pods and their GPUs. As many GPUs as both sizes make together are needed; workers have what their container asks for, the head what is left, or what it asks
 * for. Where nobody asks for any, each pod has one; a quantity of 0 says that the model needs none. Throws `InputError` where they are too few.
 */
export function shareNodes({ workerSpec, head, worker, gpuTypes }: ParallelWish): NodeShare {
  const pipeline = asNumber(workerSpec["pipelineParallelSize"]) ?? 1;
  const tensor = asNumber(workerSpec["tensorParallelSize"]) ?? 1;
  const total = pipeline * tensor;
  const types = [...GPU_TYPES, ...namesIn(gpuTypes)];
  const [ofHead, ofWorker] = [gpusOf(head, types), gpusOf(worker, types)];
  const gpu = ofWorker?.name ?? ofHead?.name ?? "nvidia.com/gpu";
  const sizes = { pipeline, tensor };
  const none = ofHead?.count === 0 || ofWorker?.count === 0;
  if (none && (ofHead?.count ?? 0) === 0 && (ofWorker?.count ?? 0) === 0)
    return { ...sizes, nodes: total, headGpus: 0, workerGpus: 0, gpu: undefined };
  const [h, w] = [ofHead?.count ?? 0, ofWorker?.count ?? 0];
  if (h >= total || w >= total) return { ...sizes, nodes: 1, headGpus: total, workerGpus: 0, gpu };
  if (w > 0) {
    const nodes = Math.ceil(total / w);
    const headGpus = h > 0 ? h : total - w * (nodes - 1);
    if (headGpus + w * (nodes - 1) < total)
      throw new InputError(
        `workerSpec needs ${total} GPUs (${pipeline} × ${tensor}), and ${headGpus} of the head and ${nodes - 1} × ${w} of workers are fewer: give the head ${total - w * (nodes - 1)}`,
      );
    return { ...sizes, nodes, headGpus, workerGpus: w, gpu };
  }
  if (h > 0) return { ...sizes, nodes: total - h + 1, headGpus: h, workerGpus: 1, gpu };
  return { ...sizes, nodes: total, headGpus: 1, workerGpus: 1, gpu };
}

function namesIn(list: string | undefined): string[] {
  const parsed = parseJson(list ?? "[]");
  return Array.isArray(parsed) ? parsed.filter((name) => typeof name === "string") : [];
}

function gpusOf(
  container: JsonObject,
  types: readonly string[],
): { readonly name: string; readonly count: number } | undefined {
  const { limits, requests } = asObject(container["resources"]);
  for (const [name, quantity] of Object.entries({ ...asObject(requests), ...asObject(limits) }))
    if (types.includes(name) || /^nvidia\.com\/mig-/.test(name)) return { name, count: Number(quantity) };
  return undefined;
}

/** What the predictor says of its workers over what its runtime says. Throws `InputError` where there is nothing to say it over. */
export function workerPart(predictor: JsonObject, runtimeWorker: unknown, runtimeName: string): JsonObject {
  const own = asObject(predictor["workerSpec"]);
  if (!isObject(runtimeWorker))
    throw new InputError(
      `workerSpec needs a runtime for several nodes, with a workerSpec of its own; ${runtimeName} has none`,
    );
  const part = mergeBy(toJsonObject(runtimeWorker), own);
  const names = asObjects(part["containers"]).map(({ name }) => name);
  if (!names.includes(WORKER_CONTAINER))
    throw new InputError(`the workerSpec of ${runtimeName} has no container named ${WORKER_CONTAINER}`);
  return part;
}

/** Adds variables and GPUs to the container of a head or a worker, in place. */
export function tellContainer(
  container: JsonObject,
  env: Readonly<Record<string, string>>,
  share: NodeShare,
  gpus: number,
): void {
  const all = {
    [PARALLEL_ENV.pipeline]: String(share.pipeline),
    [PARALLEL_ENV.tensor]: String(share.tensor),
    RAY_NODE_COUNT: String(share.nodes),
    REQUEST_GPU_COUNT: String(gpus),
    ...env,
  };
  const kept = asObjects(container["env"]).filter(({ name }) => typeof name !== "string" || !Object.hasOwn(all, name));
  // Variables refer to those before them.
  container["env"] = [...Object.entries(all).map(([name, value]): Json => ({ name, value })), ...kept];
  if (share.gpu === undefined) return;
  const { limits, requests } = asObject(container["resources"]);
  const amount = { [share.gpu]: String(gpus) };
  container["resources"] = {
    ...asObject(container["resources"]),
    limits: { ...asObject(limits), ...amount },
    requests: { ...asObject(requests), ...amount },
  };
}
