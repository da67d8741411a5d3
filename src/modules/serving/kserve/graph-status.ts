/** The status of an InferenceGraph from what was seen. Pure. */
import type { Fault } from "../diagnosis.js";
import { conditionsSaying, type Said, says, saysHonored, saysStopped } from "../said.js";
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
  return {
    observedGeneration: graph.metadata.generation ?? 0,
    ...(isStopped ? {} : { url }),
    deploymentMode: mode,
    conditions: conditionsSaying(graph, conditionsOf(seen), nowMs),
  };
}

const WAITING = new Set(["Starting", "Loading", "Updating"]);

function conditionsOf(seen: GraphSeen): Said[] {
  const { url, waiting, fault, ignored, isStopped, unit } = seen;
  const stopped = isStopped ? graphReadiness(seen) : undefined;
  // Where nothing was made, it is a step that stands in the way.
  const steps = waiting ?? (unit === undefined ? fault : undefined);
  const known = ["Known", "the service of every step is ready, or is an address"] as const;
  return [
    says("RouterReady", stopped ?? routerFault(seen), ["Answers", `${url} answers`], WAITING),
    says("StepsReady", stopped ?? steps, known, WAITING),
    saysHonored(ignored),
    saysStopped(isStopped, KSERVE.stop),
    says("Ready", graphReadiness(seen), ["Answers", `the graph answers at ${url}`], WAITING),
  ];
}
