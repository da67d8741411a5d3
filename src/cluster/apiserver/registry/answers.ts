import { createHash } from "node:crypto";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { methodNotAllowed, notAcceptable } from "../failures.js";
import { isRouted, mediaTypes } from "../request/accept.js";
import { plainFormat, toYaml } from "../request/negotiate.js";
import type { ApiRequest, ApiResponse } from "../types.js";

const encoder = new TextEncoder();

/** A JSON answer. */
export function jsonAnswer(
  value: Json,
  options: { status?: number; type?: string; headers?: Record<string, string> } = {},
): ApiResponse {
  return bytesAnswer(encoder.encode(JSON.stringify(value)), { type: "application/json", ...options });
}

/** An answer of bytes that are JSON already. */
export function bytesAnswer(
  body: Uint8Array,
  options: { status?: number; type?: string; headers?: Record<string, string> } = {},
): ApiResponse {
  return {
    status: options.status ?? 200,
    headers: {
      "content-type": options.type ?? "application/json",
      "content-length": String(body.length),
      ...options.headers,
    },
    body,
  };
}

/** What upstream's router asks of a request before its handler sees it: a GET of what the route produces. Throws 405, 406. */
export function checkRoute(request: ApiRequest, produced: readonly string[] = mediaTypes): void {
  if (request.method !== "GET") throw methodNotAllowed();
  if (!isRouted(request.headers["accept"], produced)) throw notAcceptable(produced, false);
}

/** A document about the API as JSON or YAML, whichever the client prefers. Throws 406. */
export function documentAnswer(request: ApiRequest, value: JsonObject): ApiResponse {
  const format = plainFormat(request.headers["accept"]);
  if (format === undefined) throw notAcceptable(mediaTypes, true);
  return format === "json"
    ? jsonAnswer(value)
    : bytesAnswer(toYaml(encoder.encode(JSON.stringify(value))), { type: "application/yaml" });
}

/** What the server says of a path that nothing serves. */
export function pageNotFound(): ApiResponse {
  return bytesAnswer(encoder.encode("404 page not found\n"), {
    status: 404,
    type: "text/plain; charset=utf-8",
    headers: { "x-content-type-options": "nosniff" },
  });
}

/** An upper-case SHA-512 of a document, as entity tag and in hashes of /openapi/v3. */
export function hashOf(bytes: Uint8Array): string {
  return createHash("sha512").update(bytes).digest("hex").toUpperCase();
}
