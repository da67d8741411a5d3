import { fieldFaults } from "../../kernel/client/index.js";
import { ApiError, messageOf } from "../../kernel/errors/index.js";
import { qualified } from "./hyper-plan.js";
import type { Target } from "./member-apply.js";
import { ManifestError } from "./member-apply.js";

const MAX_FIELDS = 5;

/** Why a member did not take an object, for people: which cluster, which object, which field, and what to do. `target` is absent where the member could not say what the manifest is. */
export function describeRefusal(error: unknown, target: Target | undefined, cluster: string): string {
  if (!(error instanceof ApiError) || target === undefined) {
    return error instanceof ManifestError ? error.message : `cluster ${cluster}: ${messageOf(error)}`;
  }
  const subject = `${target.kind.kind} ${qualified(target)}`;
  const { message, httpCode, status } = error;
  if (status.reason === "Forbidden" && isMissingRight(message))
    return `the hub may not deliver ${subject} to cluster ${cluster}: ${message}; give that user a role with this right there`;
  const faults = fieldFaults(error).filter(({ field }) => field !== "");
  // A server answers 500 to an applied object of wrong types, and 409 only while somebody else writes.
  if (faults.length === 0 && (httpCode >= 500 || httpCode === 429 || httpCode === 409))
    return `cluster ${cluster} could not take ${subject} now: ${plain(message)}`;
  if (faults.length === 0) return `cluster ${cluster} refuses ${subject}: ${plain(message)}`;
  const named = faults.slice(0, MAX_FIELDS).map(({ field, fault }) => `${field}: ${fault ?? "unknown field"}`);
  const more = faults.length > MAX_FIELDS ? [`and ${faults.length - MAX_FIELDS} more`] : [];
  return `cluster ${cluster} refuses ${subject}: ${[...named, ...more].join("; ")} — correct the manifest`;
}

/** As the RBAC authorizer of every Kubernetes words it; what admission forbids is another matter. */
function isMissingRight(message: string): boolean {
  return /\bcannot (get|list|watch|create|update|patch|delete)\b/.test(message);
}

function plain(message: string): string {
  return message.replace(/&value\.valueUnstructured\{Value:(.*?)\}/g, "$1");
}
