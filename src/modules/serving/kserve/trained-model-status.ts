/** The status of a TrainedModel from what was seen. Pure. */
import type { Fault } from "../diagnosis.js";
import { conditionsSaying, type Said, says } from "../said.js";
import type { TrainedModel, TrainedModelStatus } from "./storage-kinds.js";

/** What was seen; a fault where it is not so. */
export interface ModelSeen {
  /** Its InferenceService is ready. */
  readonly service?: Fault | undefined;
  /** Its pods take models while they run. */
  readonly multi?: Fault | undefined;
  readonly framework?: Fault | undefined;
  readonly memory?: Fault | undefined;
  /** The list of its InferenceService's models has room for it, and its pods the volume that it lies in. */
  readonly place?: Fault | undefined;
  /** Every pod has loaded it. */
  readonly loaded?: Fault | undefined;
  /** Absent until its InferenceService has an address. */
  readonly url?: string;
  readonly address?: string;
}

/** Why the model does not answer; `undefined` when it does. */
export function modelReadiness(seen: ModelSeen): Fault | undefined {
  const { service, multi, framework, memory, place, loaded } = seen;
  return multi ?? framework ?? memory ?? place ?? service ?? loaded;
}

/** The whole status. */
export function trainedModelStatus(model: TrainedModel, seen: ModelSeen, nowMs: number): TrainedModelStatus {
  const { service, multi, framework, memory, url, address } = seen;
  const unknown =
    multi?.reason === "RuntimeUnknown" ? multi : service?.reason === "ServiceNotFound" ? service : undefined;
  const updates = [
    saysOf("InferenceServiceReady", service, ["Ready", `InferenceService ${model.spec.inferenceService} is ready`]),
    saysOf("IsMMSPredictor", unknown ?? multi, ["MultiModel", "its pods take models while they run"]),
    saysOf("FrameworkSupported", unknown ?? multi ?? framework, [
      "Supported",
      `${model.spec.model.framework} is served`,
    ]),
    saysOf("MemoryResourceAvailable", unknown ?? multi ?? memory, [
      "Available",
      "the models' memory is within that of a pod",
    ]),
    saysOf("Ready", modelReadiness(seen), [
      "Loaded",
      `every pod of InferenceService ${model.spec.inferenceService} has loaded it`,
    ]),
  ];
  return {
    observedGeneration: model.metadata.generation ?? 0,
    conditions: conditionsSaying(model, updates, nowMs),
    ...(url === undefined ? {} : { url }),
    ...(address === undefined ? {} : { address: { url: address } }),
  };
}

const WAITING = new Set(["Loading", "RuntimeUnknown", "ServiceAtZero", "NotAsked"]);
const WAITING_ELSEWHERE = new Set([...WAITING, "ServiceNotFound"]);

function saysOf(type: string, fault: Fault | undefined, holds: readonly [string, string]): Said {
  const isElsewhere = type !== "InferenceServiceReady" && type !== "Ready";
  return says(type, fault, holds, isElsewhere ? WAITING_ELSEWHERE : WAITING);
}
