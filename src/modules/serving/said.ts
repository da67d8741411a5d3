/** What statuses of several kinds say in the same words. Pure. */
import { withCondition } from "../../kernel/kinds/index.js";
import type { ConditionValue } from "../../kernel/schema/index.js";
import { type Fault, wordsOf } from "./diagnosis.js";

/** What a condition says. */
export interface Said {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

const NOTHING: ReadonlySet<string> = new Set();

/** True with `holds`, reason and message; else what is wrong, or not known yet where its reason is one of `open`. */
export function says(
  type: string,
  fault: Fault | undefined,
  [reason, message]: readonly [reason: string, message: string],
  open: ReadonlySet<string> = NOTHING,
): Said {
  return fault === undefined
    ? { type, status: "True", reason, message }
    : { type, status: open.has(fault.reason) ? "Unknown" : "False", reason: fault.reason, message: wordsOf(fault) };
}

/** Whether every field that is set has its effect; `ignored` names those that have none. */
export function saysHonored(ignored: readonly string[]): Said {
  const fault =
    ignored.length === 0 ? undefined : { reason: "FieldsIgnored", message: `without effect: ${ignored.join("; ")}` };
  return says("AllFieldsHonored", fault, ["Honored", "every field that is set has its effect"]);
}

/** Whether it was stopped by its annotation. */
export function saysStopped(isStopped: boolean, annotation: string): Said {
  const type = "Stopped";
  return isStopped
    ? { type, status: "True", reason: type, message: `the annotation ${annotation} is true` }
    : { type, status: "False", reason: "Running", message: "nothing says that it should stop" };
}

/** An object's conditions as they are said now, of its generation; those of which nothing is said any more go. */
export function conditionsSaying(
  object: {
    readonly metadata: { readonly generation?: number };
    readonly status?: { readonly conditions?: readonly ConditionValue[] };
  },
  said: readonly Said[],
  nowMs: number,
): ConditionValue[] {
  const { generation = 0 } = object.metadata;
  const types = new Set(said.map(({ type }) => type));
  let conditions = (object.status?.conditions ?? []).filter(({ type }) => types.has(type));
  for (const update of said)
    conditions = withCondition(conditions, { ...update, observedGeneration: generation }, nowMs);
  return conditions;
}
