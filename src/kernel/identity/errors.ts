import { ArgosyError } from "../errors/index.js";

/** Keys, certificates or tokens that cannot be used; the message names the file and what to do, never a secret. */
export class IdentityError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("IdentityError", message, options);
  }
}
