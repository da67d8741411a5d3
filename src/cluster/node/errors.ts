import { ArgosyError } from "../../kernel/errors/index.js";

/**
 * A failure while making a pod true. `code` is the reason that the pod's status or event carries
 * (`CreateContainerConfigError`, `FailedMount`, …); the message is shown to the user.
 */
export class NodeError extends ArgosyError {}

/** The program of a container could not be started: exit code 128, reason `StartError`. */
export class StartError extends NodeError {
  constructor(message: string, options?: ErrorOptions) {
    super("StartError", message, options);
  }
}

/** `text` inside single quotes for /bin/sh. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
