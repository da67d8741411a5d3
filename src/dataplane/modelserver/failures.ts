import { ArgosyError } from "../../kernel/errors/index.js";

/** Why a model is not there: the words that `/ready`, the index, the termination message and the platform's conditions use. */
export type ModelFailureReason = "ModelDownloadFailed" | "ModelLoadFailed" | "RuntimeUnavailable" | "ModelNotFound";

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
