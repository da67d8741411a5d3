import { ApiError, type Status } from "../errors/index.js";
import { isObject } from "../schema/index.js";
import { asStatus } from "./wire.unsafe.js";

const reasons: ReadonlyMap<number, string> = new Map([
  [400, "BadRequest"],
  [401, "Unauthorized"],
  [403, "Forbidden"],
  [404, "NotFound"],
  [405, "MethodNotAllowed"],
  [406, "NotAcceptable"],
  [409, "Conflict"],
  [410, "Expired"],
  [413, "RequestEntityTooLarge"],
  [415, "UnsupportedMediaType"],
  [422, "Invalid"],
  [429, "TooManyRequests"],
  [500, "InternalError"],
  [503, "ServiceUnavailable"],
  [504, "Timeout"],
]);
const maxQuotedLength = 512;

function statusOf(code: number, reason: string, message: string): Status {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code };
}

/** The server could not be reached, or the connection broke: the request may or may not have been carried out. */
export class UnavailableError extends ApiError {
  constructor(message: string, options?: ErrorOptions) {
    super(statusOf(503, "ServiceUnavailable", message), options);
  }
}

/** An `ApiError` made here, not by a server. */
export function localFailure(code: number, message: string): ApiError {
  return new ApiError(statusOf(code, reasons.get(code) ?? "Unknown", message));
}

/** The error that an answer with a failure code stands for: its Status, or one made from the code when a proxy or a crash answered instead. */
export function failureFrom(code: number, body: string, about: string): ApiError {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    parsed = undefined;
  }
  if (isObject(parsed) && parsed["kind"] === "Status" && parsed["status"] === "Failure")
    return new ApiError(asStatus(parsed, code));
  const text = body.trim().slice(0, maxQuotedLength);
  const reason = reasons.get(code) ?? (code >= 500 ? "InternalError" : "Unknown");
  return new ApiError(
    statusOf(code, reason, `${about} was answered with code ${code}${text === "" ? "" : `: ${text}`}`),
  );
}
