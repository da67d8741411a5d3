import { ArgosyError } from "../../kernel/errors/index.js";
import { HttpError } from "../../kernel/http1/index.js";

/**
 * Why a model is not there: the words that `/ready`, the index, the termination message and the platform's conditions use.
 * `RuntimeUnhealthy`: it was there, and its worker died or did not answer. `ModelTooLarge`: more than the memory budget.
 * `ModelChanged`: its files are not those that were loaded. `ModelRefused`: the configuration does not allow this kind. `ModelIsCode`: it may run,
 * but not beside the keys of the stores that it came from.
 */
export type ModelFailureReason =
  | "ModelDownloadFailed"
  | "ModelLoadFailed"
  | "RuntimeUnavailable"
  | "ModelNotFound"
  | "RuntimeUnhealthy"
  | "ModelTooLarge"
  | "ModelChanged"
  | "ModelRefused"
  | "ModelIsCode"
  | "UnsupportedFormat";

/** A model that could not be fetched or loaded. */
export class ModelError extends ArgosyError {
  readonly reason: ModelFailureReason;
  /** Trying again may help. */
  readonly transient: boolean;

  constructor(reason: ModelFailureReason, message: string, options: { cause?: unknown; transient?: boolean } = {}) {
    super(reason, message, options.cause === undefined ? {} : { cause: options.cause });
    this.reason = reason;
    this.transient = options.transient ?? false;
  }
}

/** How the place where a model ran failed. */
export type FaultKind = "timeout" | "crash" | "memory" | "restarting";

/** A model's worker died, was ended, or is not back yet: not the fault of any one request, so others may be tried again. */
export class EngineFault extends HttpError {
  readonly kind: FaultKind;

  constructor(kind: FaultKind, message: string, retryAfterSeconds = 1) {
    super(kind === "timeout" ? 504 : 503, message, { "retry-after": String(retryAfterSeconds) });
    this.kind = kind;
  }
}
