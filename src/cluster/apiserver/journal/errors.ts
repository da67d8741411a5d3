import { ArgosyError } from "../../../kernel/errors/index.js";

/** The journal cannot be opened or read: says which file and what to do. */
export class JournalError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("JournalUnreadable", message, options);
  }
}
