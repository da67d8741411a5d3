import { ArgosyError } from "../../../kernel/errors/index.js";

/** An override cannot be carried out on this object; the message says which policy and why. */
export class OverrideError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("OverrideFailed", message, options);
  }
}
