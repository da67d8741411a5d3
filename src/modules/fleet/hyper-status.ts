import { withCondition } from "../../kernel/kinds/index.js";
import { drawConditions } from "./hyper-conditions.js";
import type { PlannedObject } from "./hyper-plan.js";
import { memberStatusOf } from "./hyper-readiness.js";
import type { TrafficRow } from "./hyper-traffic.js";
import type { AggregatedRow, HeadIngress, HyperMLService, HyperMLServiceStatus, Work } from "./kinds.js";

/** How one planned object stands. */
export interface ObjectState {
  readonly object: PlannedObject;
  readonly work: Work | undefined;
  readonly isApplied: boolean;
  readonly reason: string;
  readonly message: string;
}

/** How a rollout of it stands, as far as its conditions tell. */
export interface RolloutFacts {
  /** Name of the HyperRollout. */
  readonly name: string;
  readonly phase: string;
  readonly message: string;
  /** Clusters that do not have the present spec (yet). */
  readonly behind: readonly string[];
  /** Clusters that are just being given something else. */
  readonly updating: ReadonlySet<string>;
}

/** Everything that the conditions of a HyperMLService follow from. */
export interface HyperFacts {
  readonly states: readonly ObjectState[];
  /** Faults of the spec. */
  readonly faults: readonly string[];
  readonly leaving: NonNullable<HyperMLServiceStatus["leaving"]>;
  /** HeadIngresses that lead here. */
  readonly heads: readonly HeadIngress[];
  /** Clusters whose API does not answer, and why. */
  readonly silent: ReadonlyMap<string, string>;
  readonly traffic: readonly TrafficRow[];
  readonly rollout: RolloutFacts | undefined;
}

/** The status that follows from the objects' states. Pure but for the time of transitions. */
export function hyperStatusOf(owner: HyperMLService, facts: HyperFacts, nowMs: number): HyperMLServiceStatus {
  const { states, faults, traffic, leaving } = facts;
  const generation = owner.metadata.generation ?? 0;
  const applied = states.filter((state) => state.isApplied).length;
  const isSpecUsed = faults.length === 0;
  const rows = isSpecUsed ? states.map(rowOf) : (owner.status?.aggregatedStatus ?? []);
  let conditions = owner.status?.conditions;
  for (const draft of drawConditions(owner, facts)) {
    conditions = withCondition(conditions, { ...draft, observedGeneration: generation }, nowMs);
  }
  return {
    observedGeneration: generation,
    aggregatedStatus: rows,
    appliedSummary: `${applied}/${states.length}`,
    clusters: [...new Set(states.map((state) => state.object.cluster))].join(","),
    ...(leaving.length === 0 ? {} : { leaving }),
    ...(traffic.length === 0 ? {} : { traffic: [...traffic], trafficSummary: summaryOf(traffic) }),
    ...(conditions === undefined ? {} : { conditions }),
  };
}

function summaryOf(traffic: readonly TrafficRow[]): string {
  const isOne = new Set(traffic.map(({ ingress }) => ingress)).size === 1;
  const place = ({ ingress, cluster, release }: TrafficRow): string =>
    [...(isOne ? [] : [ingress]), cluster, ...(release === "" ? [] : [release])].join("/");
  return traffic.map((row) => `${place(row)} ${row.percent}%`).join(", ");
}

function rowOf(state: ObjectState): AggregatedRow {
  const { object, work } = state;
  const status = memberStatusOf(state);
  const health = work?.status?.manifestStatuses?.[0]?.health;
  return {
    applied: state.isApplied,
    appliedMessage: state.message,
    reason: state.reason,
    cluster: object.cluster,
    resource: {
      apiVersion: object.apiVersion,
      kind: object.kind,
      name: object.name,
      ...(object.namespace === "" ? {} : { namespace: object.namespace }),
    },
    ...(work?.status?.nextRetryTime === undefined || state.isApplied
      ? {}
      : { nextRetryTime: work.status.nextRetryTime }),
    ...(health === undefined ? {} : { health }),
    ...(status === undefined ? {} : { status }),
  };
}
