import { ApiError, ArgosyError, InputError, isNotFound } from "../kernel/errors/index.js";

/** Exit codes of the command line; documented in docs/cli.md. */
export const exitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  notFound: 4,
  refused: 5,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

/** No Argosy answers on this data directory. */
export class NotRunningError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("NotRunning", message, options);
  }
}

/** A cluster does not serve the resource type that was asked for. */
export class UnknownTypeError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("UnknownType", message, options);
  }
}

/** A command did not reach its goal; the message says why and what to do. */
export class CommandError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("CommandFailed", message, options);
  }
}

/** Whether nobody listens at the address that was asked. */
export function isRefusedConnection(error: unknown): boolean {
  return hasCode(error, ["ECONNREFUSED"]);
}

/** Whether a certificate is refused for the time of day. */
export function isClockFault(error: unknown): boolean {
  return hasCode(error, ["CERT_NOT_YET_VALID", "CERT_HAS_EXPIRED"]);
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if ("code" in cause && typeof cause.code === "string" && codes.includes(cause.code)) return true;
  return false;
}

/** Ctrl-C, or another request to end, before the command was done. */
export class InterruptedError extends ArgosyError {
  constructor(message: string) {
    super("Interrupted", message);
  }
}

/** The exit code that a thrown error means. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof InterruptedError) {
    return exitCode.interrupted;
  }
  if (error instanceof InputError) {
    return exitCode.usage;
  }
  if (error instanceof NotRunningError || isRefusedConnection(error)) {
    return exitCode.notRunning;
  }
  if (error instanceof UnknownTypeError || isNotFound(error)) {
    return exitCode.notFound;
  }
  if (error instanceof ApiError) {
    return exitCode.refused;
  }
  return exitCode.failed;
}
