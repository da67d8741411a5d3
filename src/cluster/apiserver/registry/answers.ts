import { createHash } from "node:crypto";
import type { Json } from "../../../kernel/kinds/object.js";
import type { ApiResponse } from "../types.js";

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
