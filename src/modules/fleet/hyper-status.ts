import { findCondition, type JsonObject, withCondition } from "../../kernel/kinds/index.js";
import { isObject } from "../../kernel/schema/index.js";
import { type PlannedObject, qualified } from "./hyper-plan.js";
import type { AggregatedRow, ConditionDraft, HyperMLService, HyperMLServiceStatus, Work } from "./kinds.js";

/** How one planned object stands. */
export interface ObjectState {
  readonly object: PlannedObject;
  readonly work: Work | undefined;
  readonly isApplied: boolean;
  readonly reason: string;
  readonly message: string;
}

const MAX_NAMED = 3;

/** The status that follows from the objects' states. Pure but for the time of transitions. */
export function hyperStatusOf(
  owner: HyperMLService,
  states: readonly ObjectState[],
  faults: readonly string[],
  nowMs: number,
): HyperMLServiceStatus {
  const generation = owner.metadata.generation ?? 0;
  const applied = states.filter((state) => state.isApplied).length;
  const rows = faults.length > 0 ? (owner.status?.aggregatedStatus ?? []) : states.map(rowOf);
  let conditions = owner.status?.conditions;
  for (const draft of [fullyApplied(states, faults), readiness(rows, states, faults)]) {
    conditions = withCondition(conditions, { ...draft, observedGeneration: generation }, nowMs);
  }
  return {
    observedGeneration: generation,
    aggregatedStatus: rows,
    appliedSummary: `${applied}/${states.length}`,
    clusters: [...new Set(states.map((state) => state.object.cluster))].join(","),
    ...(conditions === undefined ? {} : { conditions }),
  };
}

function rowOf(state: ObjectState): AggregatedRow {
  const { object, work } = state;
  const status = work?.status?.manifestStatuses?.[0]?.status;
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
    ...(status === undefined ? {} : { status }),
  };
}

function fullyApplied(states: readonly ObjectState[], faults: readonly string[]): ConditionDraft {
  if (faults.length > 0) {
    const message = `the spec is not carried out, everything stays as it was: ${listed(faults)}`;
    return { type: "FullyApplied", status: "False", reason: "InvalidSpec", message };
  }
  const failed = states.filter((state) => !state.isApplied);
  if (failed.length === 0) {
    return {
      type: "FullyApplied",
      status: "True",
      reason: "FullyAppliedSuccess",
      message: "All manifests have been successfully applied",
    };
  }
  const reasons = failed.map(
    ({ object, message }) => `${object.cluster}/${object.kind}/${qualified(object)}: ${message}`,
  );
  const isProgressing = failed.every((state) => state.reason === "Pending" || state.reason === "WaitingForOrder");
  return {
    type: "FullyApplied",
    status: "False",
    reason: isProgressing ? "Progressing" : "FullyAppliedFailed",
    message: `${states.length - failed.length}/${states.length} manifests are applied; ${listed(reasons)}`,
  };
}

function readiness(
  rows: readonly AggregatedRow[],
  states: readonly ObjectState[],
  faults: readonly string[],
): ConditionDraft {
  const speaking = rows.flatMap((row) => {
    const ready = readyConditionIn(row.status);
    return ready === undefined && row.resource.kind !== "MLService" ? [] : [{ row, ready }];
  });
  const unready = speaking.filter(({ row, ready }) => !row.applied || ready?.status !== "True");
  if (unready.length > 0) {
    const reasons = unready.map(({ row, ready }) => {
      const why = row.applied ? (ready?.message ?? "has not reported yet") : "is not applied";
      return `${row.cluster}/${row.resource.kind}/${row.resource.name}: ${why}`;
    });
    return {
      type: "Ready",
      status: "False",
      reason: "NotReady",
      message: `${speaking.length - unready.length}/${speaking.length} are ready; ${listed(reasons)}`,
    };
  }
  if (faults.length > 0 || states.some((state) => !state.isApplied)) {
    return { type: "Ready", status: "False", reason: "NotApplied", message: "not everything is applied" };
  }
  const message =
    speaking.length === 0
      ? "everything is applied; none of the objects reports readiness"
      : `all ${speaking.length} are ready`;
  return { type: "Ready", status: "True", reason: "Ready", message };
}

/** A condition inside a raw member status, Ready unless another is asked for. */
export function readyConditionIn(
  status: JsonObject | undefined,
  wanted = "Ready",
): { readonly status: string; readonly message: string } | undefined {
  const list = status?.["conditions"];
  if (!Array.isArray(list)) return undefined;
  const conditions = list.flatMap((item) => {
    if (!isObject(item)) return [];
    const { type, status: value, message, reason } = item;
    if (typeof type !== "string" || typeof value !== "string") return [];
    const text = typeof message === "string" && message !== "" ? message : typeof reason === "string" ? reason : "";
    return [{ type, status: value, message: text }];
  });
  return findCondition(conditions, wanted);
}

function listed(items: readonly string[]): string {
  const more = items.length - MAX_NAMED;
  return `${items.slice(0, MAX_NAMED).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}
