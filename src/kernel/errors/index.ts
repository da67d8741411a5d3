/**
 * The errors that cross rooms. Rooms subclass `ArgosyError` for their own; nothing in `src` throws a bare `Error`.
 */

/** Base of every error thrown on purpose: `code` is stable and for machines, the message a sentence for people. */
export class ArgosyError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Input that cannot be accepted: names the file, line and field where known. CLI exit code 2. */
export class InputError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("InvalidInput", message, options);
  }
}

/** Tells a controller's queue that retrying is useless until the object changes. */
export class TerminalError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("Terminal", message, options);
  }
}

/** One cause inside a Status: which field, what is wrong with it. */
export interface StatusCause {
  reason: string;
  message: string;
  field: string;
}

/** Kubernetes' metav1.Status of a failure. */
export interface Status {
  kind: "Status";
  apiVersion: "v1";
  /** `continue`: where a list whose token expired may go on, inconsistently. */
  metadata: { continue?: string };
  status: "Failure";
  message: string;
  reason: string;
  details?: {
    name?: string;
    group?: string;
    kind?: string;
    uid?: string;
    causes?: Partial<StatusCause>[];
    retryAfterSeconds?: number;
  };
  code: number;
}

/** A failure answered by (or, in the server, to be answered as) a Kubernetes `Status`. */
export class ApiError extends ArgosyError {
  readonly status: Status;

  constructor(status: Status, options?: ErrorOptions) {
    super(status.reason, status.message, options);
    this.status = status;
  }

  get httpCode(): number {
    return this.status.code;
  }
}

export const isNotFound = (error: unknown): error is ApiError => error instanceof ApiError && error.httpCode === 404;
/** A write that lost a race, or met another field manager. */
export const isConflict = (error: unknown): error is ApiError =>
  error instanceof ApiError && error.status.reason === "Conflict";
export const isAlreadyExists = (error: unknown): error is ApiError =>
  error instanceof ApiError && error.status.reason === "AlreadyExists";
/** The caller may not do it (403). */
export const isForbidden = (error: unknown): error is ApiError => error instanceof ApiError && error.httpCode === 403;
/** The resourceVersion or continue token is too old (410). */
export const isExpired = (error: unknown): error is ApiError => error instanceof ApiError && error.httpCode === 410;

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
