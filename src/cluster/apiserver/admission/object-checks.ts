import type { Clock, Random } from "../../../kernel/clock/index.js";
import type { ClusterAccess } from "../../../kernel/control/index.js";
import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject, Kind } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/types.js";
import type { AdmissionLabel, ModuleAdmission } from "../../../kernel/module/types.js";
import { denied, invalid } from "../failures.js";
import type { AdmissionPlugin, AdmissionRequest, ResourceType } from "../types.js";
import { timestamp } from "../verbs/context.js";

/** What a check says of an object. */
export interface CheckResult {
  /** Each refuses the write (422). */
  readonly faults: readonly StatusCause[];
  readonly warnings: readonly string[];
  /** Refuses it as an admission webhook of this name does (403). */
  readonly denial?: { readonly webhook: string; readonly message: string };
}

/** A look at objects by somebody outside the API server, in any version. What it throws is logged and refuses nothing. */
export interface ObjectCheck {
  /** Of which kind; absent: of every one. */
  readonly about?: Pick<Kind, "group" | "kind" | "plural">;
  /** Of objects with this label only. */
  readonly label?: AdmissionLabel;
  /** Fills in what is created or changed, in place and before its schema is checked; not for status. */
  complete?(
    object: JsonObject,
    old: JsonObject | undefined,
    context: { readonly now: string; readonly uuid: () => string },
  ): void;
  /** Called for what is created or changed, not for status. */
  review?(object: JsonObject, old: JsonObject | undefined): Promise<CheckResult>;
  /** Called for what is to be removed. */
  reviewDeletion?(object: JsonObject): CheckResult;
}

/** The modules' looks at objects of one cluster, as checks; `cluster` is asked for when one is made. */
export function checksOf(admissions: readonly ModuleAdmission[], cluster: () => ClusterAccess): ObjectCheck[] {
  return admissions.map(({ kind, label, complete, review, reviewDeletion }) => ({
    ...(kind === undefined ? {} : { about: kind }),
    ...(label === undefined ? {} : { label }),
    ...(complete === undefined ? {} : { complete }),
    ...(review === undefined
      ? {}
      : { review: (object: JsonObject, old: JsonObject | undefined) => review(object, old, cluster()) }),
    ...(reviewDeletion === undefined ? {} : { reviewDeletion }),
  }));
}

const nothing: CheckResult = { faults: [], warnings: [] };

/** The checks of objects of a type; each list is made once. */
function checksByType(checks: readonly ObjectCheck[]): (type: ResourceType) => readonly ObjectCheck[] {
  const general = checks.filter(({ about }) => about === undefined);
  const byKind = new Map<string, ObjectCheck[]>();
  for (const check of checks) {
    if (check.about === undefined) continue;
    const key = keyOf(check.about);
    byKind.set(key, [...(byKind.get(key) ?? []), check]);
  }
  const known = new WeakMap<ResourceType, readonly ObjectCheck[]>();
  return (type) => {
    const before = known.get(type);
    if (before !== undefined) return before;
    const all = [...(byKind.get(keyOf(type)) ?? []), ...general];
    known.set(type, all);
    return all;
  };
}

/** Asks the checks that were given to the server. */
export function objectChecks(
  checks: readonly ObjectCheck[],
  { clock, random, log }: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
): AdmissionPlugin {
  const checksOf = checksByType(checks);
  const note = (type: ResourceType, error: unknown): void =>
    log.warn("an object was not checked by its module", { err: error, kind: type.kind });
  const reviewed = async (check: ObjectCheck, request: AdmissionRequest): Promise<CheckResult> => {
    const { type, operation, object, old } = request;
    try {
      if (operation === "DELETE") return check.reviewDeletion?.(shown(type, old ?? {})) ?? nothing;
      const before = old === undefined ? undefined : shown(type, old);
      return (await check.review?.(shown(type, object ?? {}), before)) ?? nothing;
    } catch (error) {
      note(type, error);
      return nothing;
    }
  };
  const validateBy = async (asked: readonly ObjectCheck[], request: AdmissionRequest): Promise<void> => {
    for (const check of asked) {
      const { faults, warnings, denial } = await reviewed(check, request);
      if (faults.length > 0) throw invalid(request.type, request.name, faults);
      if (denial !== undefined) throw denied(denial.webhook, denial.message);
      for (const warning of warnings) request.warn(warning);
    }
  };
  return {
    name: "ObjectChecks",
    mutate(request) {
      const { type, object, old } = request;
      if (object === undefined || !isWrite(request)) return;
      for (const check of checksOf(type)) {
        try {
          check.complete?.(object, old, { now: timestamp(clock), uuid: () => random.uuid() });
        } catch (error) {
          note(type, error);
        }
      }
    },
    validate(request) {
      const isDeletion = isRemoval(request);
      if (!isWrite(request) && !isDeletion) return undefined;
      const needed = isDeletion ? "reviewDeletion" : "review";
      const asked = checksOf(request.type).filter((check) => check[needed] !== undefined);
      return asked.length === 0 ? undefined : validateBy(asked, request);
    },
  };
}

function keyOf({ group, kind }: { readonly group: string; readonly kind: string }): string {
  return `${group}/${kind}`;
}

function isWrite({ operation, subresource, object }: AdmissionRequest): boolean {
  return object !== undefined && subresource === "" && (operation === "CREATE" || operation === "UPDATE");
}

function isRemoval({ operation, subresource, old }: AdmissionRequest): boolean {
  return operation === "DELETE" && subresource === "" && old !== undefined;
}

function shown(type: ResourceType, object: JsonObject): JsonObject {
  const apiVersion = type.group === "" ? type.version : `${type.group}/${type.version}`;
  return { ...object, apiVersion, kind: type.kind };
}
