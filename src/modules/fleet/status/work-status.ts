import { findCondition, type KubeObject, withCondition } from "../../../kernel/kinds/index.js";
import { asObject, isObject } from "../../../kernel/schema/index.js";
import type { Interpreters } from "../interpreters/index.js";
import { jsonOf } from "../json.unsafe.js";
import type { ConditionDraft, Work, WorkStatus } from "../kinds.js";
import type { Target } from "../member-apply.js";
import { KARMADA } from "../names.js";
import { joinErrors } from "./words.js";

/** What became of one manifest in the member. */
export interface Outcome {
  /** `undefined`: the member could not say what it is. */
  readonly target: Target | undefined;
  /** As the member has it. */
  readonly object: KubeObject | undefined;
  readonly error: string | undefined;
  readonly isUnreachable: boolean;
  /** It was made again, after somebody had removed it. */
  readonly isRemade?: boolean;
  /** Something was written. */
  readonly isWritten?: boolean;
}

type ManifestStatus = NonNullable<WorkStatus["manifestStatuses"]>[number];

/** Whether the Work's present content was applied. */
export function isAppliedNow(work: Work): boolean {
  const applied = findCondition(work.status?.conditions, "Applied");
  return applied?.status === "True" && applied.observedGeneration === (work.metadata.generation ?? 0);
}

/** The condition Applied; `undefined`: it stays as it is. */
export function appliedCondition(work: Work, outcomes: readonly Outcome[]): ConditionDraft | undefined {
  const errors = outcomes.flatMap(({ error }) => (error === undefined ? [] : [error]));
  if (errors.length > 0) {
    const counts = `${outcomes.length - errors.length}/${outcomes.length}`;
    const message = `Failed to apply all manifests (${counts}): ${joinErrors(errors)}`;
    return { type: "Applied", status: "False", reason: "AppliedFailed", message };
  }
  if (isAppliedNow(work) && !outcomes.some(({ isWritten }) => isWritten === true)) return undefined;
  const reason = outcomes.some(({ isRemade }) => isRemade === true) ? "ReCreateSuccessful" : "AppliedSuccessful";
  return { type: "Applied", status: "True", reason, message: "Manifest has been successfully applied" };
}

/** The condition Dispatching. */
export function dispatchingCondition(work: Work): ConditionDraft {
  return work.spec.suspendDispatching === true
    ? {
        type: "Dispatching",
        status: "False",
        reason: "SuspendDispatching",
        message: "Work dispatching is in a suspended state.",
      }
    : {
        type: "Dispatching",
        status: "True",
        reason: "Dispatching",
        message: "Work is being dispatched to member clusters.",
      };
}

/** What the member tells of the objects that name this Work; others are sent, and not followed. */
export function manifestStatuses(
  work: Work,
  outcomes: readonly Outcome[],
  interpreters: Interpreters,
): ManifestStatus[] {
  return outcomes.flatMap(({ target, object }, ordinal) => {
    if (target === undefined || object === undefined || !namesWork(target, work)) return [];
    const { kind, namespace, name } = target;
    const interpreter = interpreters.interpreterFor(object.apiVersion, object.kind);
    const json = jsonOf(object);
    const status = interpreter.reflectStatus(json);
    return [
      {
        identifier: {
          ordinal,
          group: kind.group,
          version: kind.version,
          kind: kind.kind,
          resource: kind.plural,
          name,
          ...(namespace === "" ? {} : { namespace }),
        },
        ...(isObject(status) ? { status } : {}),
        health: interpreter.health(json),
      },
    ];
  });
}

function namesWork(target: Target, work: Work): boolean {
  const annotations = asObject(asObject(target.manifest["metadata"])["annotations"]);
  return (
    annotations[KARMADA.workName] === work.metadata.name &&
    annotations[KARMADA.workNamespace] === work.metadata.namespace
  );
}

/** The Work's status with these conditions about its present generation. */
export function withConditions(work: Work, drafts: readonly ConditionDraft[], nowMs: number): WorkStatus {
  const observedGeneration = work.metadata.generation ?? 0;
  const conditions = drafts.reduce(
    (all, draft) => withCondition(all, { ...draft, observedGeneration }, nowMs),
    work.status?.conditions ?? [],
  );
  return { conditions };
}
