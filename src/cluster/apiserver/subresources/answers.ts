import type { JsonObject } from "../../../kernel/kinds/object.js";
import { parseBody } from "../request/body.js";
import type { ApiRequest, ApiResponse } from "../types.js";

/** A JSON answer. */
export function json(status: number, body: JsonObject): ApiResponse {
  return {
    status,
    headers: { "content-type": "application/json" },
    body: Buffer.from(`${JSON.stringify(body)}\n`),
  };
}

/** The Status of something done. */
export function success(code: number): JsonObject {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code };
}

/** The body (JSON or YAML) as an object; an empty one counts as `{}`. Throws 400, 415. */
export function readObject(request: ApiRequest): JsonObject {
  if (request.body.length === 0) return {};
  return parseBody(request.body, request.headers["content-type"], "object").value;
}

/** Whether the request is a rehearsal. */
export function isDryRun(request: ApiRequest): boolean {
  return request.query.getAll("dryRun").includes("All");
}

/** RFC 3339 with seconds. */
export function timestamp(epochMs: number): string {
  return new Date(epochMs).toISOString().replace(/\.\d+Z$/, "Z");
}
