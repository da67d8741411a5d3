import { ArgosyError } from "../../../kernel/errors/index.js";

/** What stands in the journal cannot be decrypted: names the object and the key that is missing. */
export class EncryptionError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("Undecipherable", message, options);
  }
}
