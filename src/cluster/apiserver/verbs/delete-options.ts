import { ApiError, type StatusCause } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, invalid, unexplained } from "../failures.js";
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
  const isFromBody = request.body.byteLength > 0;
  const query = isFromBody ? toQuery(request) : request.query;
  const dryRun = readDryRun(query, causes);
  const orphan = query.get("orphanDependents");
  const policy = query.get("propagationPolicy") ?? "";
  // Empty in a body is a value, and none of the known; in a query it is as if it were not there.
  const isGiven = policy !== "" || (isFromBody && query.has("propagationPolicy"));
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
    uid: query.get(isFromBody ? "preconditions.uid" : "uid") || undefined,
    resourceVersion: query.get(isFromBody ? "preconditions.resourceVersion" : "resourceVersion") || undefined,
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
  const value = parseOptions(request);
  const kind = value["kind"] ?? "DeleteOptions";
  if (kind !== "DeleteOptions") {
    const version = typeof value["apiVersion"] === "string" ? value["apiVersion"] : "v1";
    throw unexplained(
      `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(version)} in scheme "${scheme}"`,
    );
  }
  const query = new URLSearchParams();
  for (const field of ["gracePeriodSeconds", "propagationPolicy", "orphanDependents"]) {
    const text = plainMember(value, field);
    if (text !== undefined) query.set(field, text);
  }
  const dryRun = value["dryRun"];
  if (dryRun !== undefined && dryRun !== null && !Array.isArray(dryRun))
    throw unexplained(
      `json: cannot unmarshal ${goKind(dryRun)} into Go struct field DeleteOptions.dryRun of type []string`,
    );
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
  const { type, name } = goTypes[field] ?? { type: "string", name: "string" };
  if (typeof member !== type)
    throw unexplained(
      `json: cannot unmarshal ${goKind(member)} into Go struct field DeleteOptions.${field} of type ${name}`,
    );
  return JSON.stringify(member).replace(/^"|"$/g, "");
}

const scheme = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:28";
const goTypes: Readonly<Record<string, { readonly type: string; readonly name: string }>> = {
  gracePeriodSeconds: { type: "number", name: "int64" },
  propagationPolicy: { type: "string", name: "v1.DeletionPropagation" },
  orphanDependents: { type: "boolean", name: "bool" },
};

function goKind(value: Json): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** What is no JSON is the server's failure here, as upstream. */
function parseOptions(request: ApiRequest): JsonObject {
  try {
    return parseBody(request.body, request.headers["content-type"], "DeleteOptions").value;
  } catch (error) {
    if (!(error instanceof ApiError) || error.httpCode !== 400) throw error;
    throw unexplained(
      error.message
        .replace(/^the object provided is unrecognized \(must be of type DeleteOptions\): /, "")
        .replace(/ \([^()]*\)$/, ""),
    );
  }
}
