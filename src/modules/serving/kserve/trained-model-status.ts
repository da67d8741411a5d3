/** The status of a TrainedModel from what was seen. Pure. */
import { withCondition } from "../../../kernel/kinds/index.js";
import type { Fault } from "../diagnosis.js";
import type { TrainedModel, TrainedModelStatus } from "./storage-kinds.js";

/** What was seen; a fault where it is not so. */
export interface ModelSeen {
  /** Its InferenceService is ready. */
  readonly service?: Fault | undefined;
  /** Its pods take models while they run. */
  readonly multi?: Fault | undefined;
  readonly framework?: Fault | undefined;
  readonly memory?: Fault | undefined;
  /** Every pod has loaded it. */
  readonly loaded?: Fault | undefined;
  /** Absent until its InferenceService has an address. */
  readonly url?: string;
  readonly address?: string;
}

/** Why the model does not answer; `undefined` when it does. */
export function modelReadiness({ service, multi, framework, memory, loaded }: ModelSeen): Fault | undefined {
  return multi ?? framework ?? memory ?? service ?? loaded;
}

/** The whole status. */
export function trainedModelStatus(model: TrainedModel, seen: ModelSeen, nowMs: number): TrainedModelStatus {
  const generation = model.metadata.generation ?? 0;
  const { service, multi, framework, memory, url, address } = seen;
  const unknown =
    multi?.reason === "RuntimeUnknown" ? multi : service?.reason === "ServiceNotFound" ? service : undefined;
  const updates = [
    says("InferenceServiceReady", service, ["Ready", `InferenceService ${model.spec.inferenceService} is ready`]),
    says("IsMMSPredictor", unknown ?? multi, ["MultiModel", "its pods take models while they run"]),
    says("FrameworkSupported", unknown ?? multi ?? framework, ["Supported", `${model.spec.model.framework} is served`]),
    says("MemoryResourceAvailable", unknown ?? multi ?? memory, [
      "Available",
      "the models' memory is within that of a pod",
    ]),
    says("Ready", modelReadiness(seen), [
      "Loaded",
      `every pod of InferenceService ${model.spec.inferenceService} has loaded it`,
    ]),
  ];
  let conditions = (model.status?.conditions ?? []).filter(({ type }) =>
    updates.some((update) => update.type === type),
  );
  for (const update of updates)
    conditions = withCondition(conditions, { ...update, observedGeneration: generation }, nowMs);
  return {
    observedGeneration: generation,
    conditions,
    ...(url === undefined ? {} : { url }),
    ...(address === undefined ? {} : { address: { url: address } }),
  };
}

const WAITING = new Set(["Loading", "RuntimeUnknown", "ServiceAtZero", "NotAsked"]);

function says(type: string, fault: Fault | undefined, [reason, message]: [string, string]) {
  if (fault === undefined) return { type, status: "True" as const, reason, message };
  const isOpen =
    WAITING.has(fault.reason) ||
    (fault.reason === "ServiceNotFound" && type !== "InferenceServiceReady" && type !== "Ready");
  return {
    type,
    status: isOpen ? ("Unknown" as const) : ("False" as const),
    reason: fault.reason,
    message: fault.message,
  };
}
