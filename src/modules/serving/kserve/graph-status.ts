/** The status of an InferenceGraph from what was seen. Pure. */
import { withCondition } from "../../../kernel/kinds/index.js";
import type { ConditionValue } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import type { UnitOutcome } from "../unit.js";
import { KSERVE } from "./annotations.js";
import type { InferenceGraph, InferenceGraphStatus } from "./graph-kind.js";

/** What was seen. */
export interface GraphSeen {
  readonly url: string;
  readonly mode: string;
  readonly unit: UnitOutcome | undefined;
  /** Why routers are not as asked for. */
  readonly fault: Fault | undefined;
  /** Why the steps cannot do their work. */
  readonly waiting: Fault | undefined;
  readonly ignored: readonly string[];
  readonly isStopped: boolean;
  readonly nowMs: number;
}

/** Why the routers are not as they should be. */
function routerFault({ unit, fault, url }: GraphSeen): Fault | undefined {
  if (fault !== undefined) return fault;
  if (unit === undefined) return { reason: "Starting", message: "nothing was seen of it yet" };
  if (unit.fault !== undefined) return unit.fault;
  if (!unit.settled) return { reason: "Updating", message: "its routers are being replaced" };
  // Without an address outside, its pods' readiness is all there is to see.
  const answers = unit.answers || url.includes(".svc.cluster.local");
  return answers ? undefined : { reason: "NotAnswering", message: `${url} does not answer` };
}

/** Why the graph is not ready; `undefined` when it is. */
export function graphReadiness(seen: GraphSeen): Fault | undefined {
  if (seen.isStopped) return { reason: "Stopped", message: `the annotation ${KSERVE.stop} is true: nothing runs` };
  return seen.waiting ?? routerFault(seen);
}

/** The whole status. */
export function graphStatus(graph: InferenceGraph, seen: GraphSeen): InferenceGraphStatus {
  const { url, mode, isStopped, nowMs } = seen;
  const generation = graph.metadata.generation ?? 0;
  const updates = conditionsOf(seen);
  const types = new Set(updates.map(({ type }) => type));
  let conditions = (graph.status?.conditions ?? []).filter(({ type }) => types.has(type));
  for (const update of updates)
    conditions = withCondition(conditions, { ...update, observedGeneration: generation }, nowMs);
  return {
    observedGeneration: generation,
    ...(isStopped ? {} : { url }),
    deploymentMode: mode,
    conditions,
  };
}

type Update = Omit<ConditionValue, "lastTransitionTime" | "observedGeneration">;
const WAITING = new Set(["Starting", "Loading", "Updating"]);

function says(type: string, fault: Fault | undefined, [reason, message]: [string, string]): Update {
  return fault === undefined
    ? { type, status: "True", reason, message }
    : { type, status: WAITING.has(fault.reason) ? "Unknown" : "False", reason: fault.reason, message: fault.message };
}

function conditionsOf(seen: GraphSeen): Update[] {
  const { url, waiting, fault, ignored, isStopped, unit } = seen;
  const stopped = isStopped ? graphReadiness(seen) : undefined;
  const honored: Update =
    ignored.length === 0
      ? {
          type: "AllFieldsHonored",
          status: "True",
          reason: "Honored",
          message: "every field that is set has its effect",
        }
      : {
          ...{ type: "AllFieldsHonored", status: "False", reason: "FieldsIgnored" },
          message: `without effect: ${ignored.join("; ")}`,
        };
  // Where nothing was made, it is a step that stands in the way.
  const steps = waiting ?? (unit === undefined ? fault : undefined);
  return [
    says("RouterReady", stopped ?? routerFault(seen), ["Answers", `${url} answers`]),
    says("StepsReady", stopped ?? steps, ["Known", "the service of every step is ready, or is an address"]),
    honored,
    isStopped
      ? { type: "Stopped", status: "True", reason: "Stopped", message: `the annotation ${KSERVE.stop} is true` }
      : { type: "Stopped", status: "False", reason: "Running", message: "nothing says that it should stop" },
    says("Ready", graphReadiness(seen), ["Answers", `the graph answers at ${url}`]),
  ];
}
