import type { Clock, Random } from "../../kernel/clock/index.js";
import type { StatusCause } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Logger } from "../../kernel/log/index.js";
import { asString, equalJson, isObject, toJson } from "../../kernel/schema/index.js";
import { type CheckResult, invalidObject, type ObjectCheck } from "../apiserver/index.js";

/** What of an AdmissionReview (admission.k8s.io/v1) matters to checks. */
export interface ReviewRequest {
  readonly uid: string;
  readonly operation: string;
  readonly group: string;
  readonly kind: string;
  readonly name: string;
  /** Absent where nothing is stored any more. */
  readonly object?: JsonObject;
  readonly old?: JsonObject;
}

/** Reads one; `undefined`: that is none. */
export function readReview(body: unknown): ReviewRequest | undefined {
  const request = isObject(body) && body["kind"] === "AdmissionReview" ? body["request"] : undefined;
  if (!isObject(request) || !isObject(request["kind"])) return undefined;
  const { uid, operation, kind, name, object, oldObject } = request;
  if (typeof uid !== "string" || typeof operation !== "string") return undefined;
  return {
    uid,
    operation,
    group: asString(kind["group"]),
    kind: asString(kind["kind"]),
    name: asString(name),
    ...(isObject(object) ? { object } : {}),
    ...(isObject(oldObject) ? { old: oldObject } : {}),
  };
}

/** What checks may draw on, and where what they throw goes. */
export interface ReviewContext {
  readonly checks: readonly ObjectCheck[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Fills in what was left out: a patch, where there was something. */
export function completeObject(request: ReviewRequest, context: ReviewContext): JsonObject {
  const { uid, object, old } = request;
  if (object === undefined) return { uid, allowed: true };
  const completed = structuredClone(object);
  const now = `${new Date(context.clock.now()).toISOString().slice(0, 19)}Z`;
  for (const check of checksFor(request, context)) {
    try {
      check.complete?.(completed, old, { now, uuid: () => context.random.uuid() });
    } catch (error) {
      note(request, error, context);
    }
  }
  const operations = differences(object, completed);
  if (operations.length === 0) return { uid, allowed: true };
  const patch = Buffer.from(JSON.stringify(operations)).toString("base64");
  return { uid, allowed: true, patchType: "JSONPatch", patch };
}

/** Says whether an object may be stored as it is, or go. */
export async function reviewObject(request: ReviewRequest, context: ReviewContext): Promise<JsonObject> {
  const { uid } = request;
  const warnings: string[] = [];
  for (const check of checksFor(request, context)) {
    const found = await outcomeOf(check, request, context);
    if (found === undefined) continue;
    if (found.faults.length > 0) return invalid(request, found.faults);
    if (found.denial !== undefined) return denial(uid, found.denial.message);
    warnings.push(...found.warnings);
  }
  return { uid, allowed: true, ...(warnings.length === 0 ? {} : { warnings }) };
}

/** A refusal as Karmada's webhooks answer; the server adds who refused. Pure. */
export function denial(uid: string, message: string): JsonObject {
  return { uid, allowed: false, status: { code: 403, reason: "Forbidden", message } };
}

function invalid(request: ReviewRequest, faults: readonly StatusCause[]): JsonObject {
  const { code, reason, message, details } = invalidObject(request, request.name, faults).status;
  return { uid: request.uid, allowed: false, status: toJson({ code, reason, message, details }) };
}

/** Those about the kind, then those about all of them, as the embedded server asks. */
function checksFor({ group, kind }: ReviewRequest, { checks }: ReviewContext): ObjectCheck[] {
  return [
    ...checks.filter(({ about }) => about?.group === group && about.kind === kind),
    ...checks.filter(({ about }) => about === undefined),
  ];
}

async function outcomeOf(
  check: ObjectCheck,
  request: ReviewRequest,
  context: ReviewContext,
): Promise<CheckResult | undefined> {
  const { operation, object, old } = request;
  try {
    if (operation === "DELETE") return old === undefined ? undefined : check.reviewDeletion?.(old);
    return object === undefined ? undefined : await check.review?.(object, old);
  } catch (error) {
    note(request, error, context);
    return undefined;
  }
}

function note({ kind, name }: ReviewRequest, error: unknown, { log }: ReviewContext): void {
  log.warn("an object was not checked by its module", { err: error, kind, name });
}

/** JSON Patch operations on members of the root. */
function differences(before: JsonObject, after: JsonObject): JsonObject[] {
  const path = (field: string): string => `/${field.replaceAll("~", "~0").replaceAll("/", "~1")}`;
  const removed = Object.keys(before).filter((field) => after[field] === undefined);
  const changed = Object.keys(after).filter(
    (field) => after[field] !== undefined && !equalJson(before[field], after[field]),
  );
  return [
    ...removed.map((field) => ({ op: "remove", path: path(field) })),
    // `add` replaces what is there.
    ...changed.map((field) => ({ op: "add", path: path(field), value: after[field] })),
  ];
}
