import { ArgosyError } from "../../kernel/errors/index.js";
import type { Json } from "../../kernel/kinds/object.js";
import { pythonTypeOf, toPythonJson } from "./python-text.js";

/** Error codes of the protocol that this server gives, with the HTTP status of each. */
const STATUS = {
  INVALID_PARAMETER_VALUE: 400,
  BAD_REQUEST: 400,
  RESOURCE_ALREADY_EXISTS: 400,
  RESOURCE_DOES_NOT_EXIST: 404,
  INVALID_STATE: 500,
  NOT_IMPLEMENTED: 501,
  TEMPORARILY_UNAVAILABLE: 503,
  INTERNAL_ERROR: 500,
} as const;

export type TrackingErrorCode = keyof typeof STATUS;

/** A failure as clients of the tracking protocol expect it; `status` is the HTTP status. */
export class TrackingError extends ArgosyError {
  readonly status: number;

  constructor(code: TrackingErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.status = STATUS[code];
  }
}

const SEE_DOCS = "See the API docs for more information about request parameters.";

export function invalid(message: string): TrackingError {
  return new TrackingError("INVALID_PARAMETER_VALUE", message);
}

export function notFound(message: string): TrackingError {
  return new TrackingError("RESOURCE_DOES_NOT_EXIST", message);
}

export function missing(parameter: string): TrackingError {
  return invalid(`Missing value for required parameter '${parameter}'. ${SEE_DOCS}`);
}

/** A value of the wrong type. */
export function wrongType(parameter: string, value: Json): TrackingError {
  const hint = `Hint: Value was of type '${pythonTypeOf(value)}'. ${SEE_DOCS}`;
  return invalid(`Invalid value ${toPythonJson(value)} for parameter '${parameter}' supplied:  ${hint}`);
}

/** A value of the right type that breaks a rule. */
export function badValue(parameter: string, value: Json, why: string): TrackingError {
  return invalid(`Invalid value ${toPythonJson(value)} for parameter '${parameter}' supplied: ${why}`);
}
