import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, failure, invalid } from "../failures.js";
import { objectAt } from "../fields.js";
import { parseBody } from "../request/body.js";
import type { ApiRequest } from "../types.js";
import { readDryRun } from "./options.js";

/** What a delete was asked to do. */
export interface DeleteOptions {
  readonly dryRun: boolean;
  readonly graceSeconds: number | undefined;
  readonly propagation: "Foreground" | "Background" | "Orphan" | undefined;
  /** The deprecated flag asked for background deletion: an unfinished delete is answered with 202. */
  readonly isOldCascade: boolean;
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
}

const policies = ["Foreground", "Background", "Orphan"] as const;

/** Reads a body of kind DeleteOptions, or else the query. Throws 400 or 422. */
export function readDeleteOptions(request: ApiRequest): DeleteOptions {
  const causes: StatusCause[] = [];
  const query = request.body.byteLength > 0 ? toQuery(request) : request.query;
  const dryRun = readDryRun(query, causes);
  const orphan = query.get("orphanDependents");
  const policy = query.get("propagationPolicy") ?? "";
  // Empty in a body is a value, and none of the known; in a query it is as if it were not there.
  const isGiven = policy !== "" || (request.body.byteLength > 0 && query.has("propagationPolicy"));
  const propagation = policies.find((known) => known === policy);
  if (isGiven && propagation === undefined) {
    causes.push({
      reason: "FieldValueNotSupported",
      field: "propagationPolicy",
      message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "Foreground", "Background", "Orphan", "nil"`,
    });
  }
  if (orphan !== null && policy !== "") {
    causes.push({
      reason: "FieldValueInvalid",
      field: "propagationPolicy",
      message: `Invalid value: ${JSON.stringify(policy)}: orphanDependents and deletionPropagation cannot be both set`,
    });
  }
  if (causes.length > 0) throw invalid({ group: "meta.k8s.io", kind: "DeleteOptions" }, "", causes);
  return {
    dryRun,
    graceSeconds: readGrace(query.get("gracePeriodSeconds")),
    propagation: propagation ?? (orphan === null ? undefined : orphan === "true" ? "Orphan" : "Background"),
    isOldCascade: orphan === "false",
    uid: query.get("preconditions.uid") ?? undefined,
    resourceVersion: query.get("preconditions.resourceVersion") ?? undefined,
  };
}

function readGrace(text: string | null): number | undefined {
  if (text === null || text === "") return undefined;
  if (!/^-?\d+$/.test(text)) {
    throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  }
  return Number(text);
}

/** The body's fields as if they had come in the query; what is in the query itself does not count then, as upstream. */
function toQuery(request: ApiRequest): URLSearchParams {
  const { value } = parseBody(request.body, request.headers["content-type"], "DeleteOptions");
  const kind = value["kind"] ?? "DeleteOptions";
  if (kind !== "DeleteOptions") {
    throw badRequest(`${JSON.stringify(kind)} cannot be handled as a DeleteOptions`);
  }
  const query = new URLSearchParams();
  for (const field of ["gracePeriodSeconds", "propagationPolicy", "orphanDependents"]) {
    const text = plainMember(value, field);
    if (text !== undefined) query.set(field, text);
  }
  const dryRun = value["dryRun"];
  if (Array.isArray(dryRun))
    for (const item of dryRun) query.append("dryRun", typeof item === "string" ? item : JSON.stringify(item));
  for (const [field, member] of Object.entries(objectAt(value, "preconditions"))) {
    if (typeof member === "string") query.set(`preconditions.${field}`, member);
  }
  return query;
}

function plainMember(options: JsonObject, field: string): string | undefined {
  const member = options[field];
  if (member === undefined || member === null) return undefined;
  if (field === "gracePeriodSeconds" && typeof member !== "number") {
    const why = `cannot unmarshal ${typeof member} into Go struct field DeleteOptions.gracePeriodSeconds of type int64`;
    throw failure(500, "", `json: ${why}`);
  }
  if (typeof member === "object") throw badRequest(`DeleteOptions.${field} is no plain value`);
  return String(member);
}
