import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { failure } from "../failures.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import type { ApiResponse } from "../types.js";

/** The Status of something done. */
export function success(code: number): JsonObject {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code };
}

/** What a request that the server sent to itself was answered. Throws the refusal, if it is one. */
export function accepted({ status, body }: ApiResponse): void {
  if (status < 300) return;
  const value: unknown = body instanceof Uint8Array ? JSON.parse(Buffer.from(body).toString("utf8")) : {};
  const answer = isObject(value) ? value : {};
  const { causes, retryAfterSeconds, ...details } = objectAt(answer, "details");
  const { status: known } = failure(status, stringAt(answer, "reason"), stringAt(answer, "message"));
  throw new ApiError({
    ...known,
    details: {
      ...Object.fromEntries(Object.keys(details).map((field) => [field, stringAt(details, field)])),
      ...(typeof retryAfterSeconds === "number" ? { retryAfterSeconds } : {}),
      ...(Array.isArray(causes)
        ? {
            causes: causes.filter(isObject).map((cause) => ({
              reason: stringAt(cause, "reason"),
              message: stringAt(cause, "message"),
              field: stringAt(cause, "field"),
            })),
          }
        : {}),
    },
  });
}

/** RFC 3339 with seconds. */
export function timestamp(epochMs: number): string {
  return new Date(epochMs).toISOString().replace(/\.\d+Z$/, "Z");
}
