import { ApiError, ArgosyError, InputError, isNotFound } from "../kernel/errors/index.js";

/** Exit codes of the command line; documented in docs/cli.md. */
export const exitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  notFound: 4,
  refused: 5,
} as const;

export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

/** No Argosy answers on this data directory. */
export class NotRunningError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("NotRunning", message, options);
  }
}

/** A command did not reach its goal; the message says why and what to do. */
export class CommandError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("CommandFailed", message, options);
  }
}

/** The exit code that a thrown error means. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof InputError) {
    return exitCode.usage;
  }
  if (error instanceof NotRunningError) {
    return exitCode.notRunning;
  }
  if (isNotFound(error)) {
    return exitCode.notFound;
  }
  if (error instanceof ApiError) {
    return exitCode.refused;
  }
  return exitCode.failed;
}
