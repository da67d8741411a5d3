/**
 * Structured logging. In: a constant message and fields. Out: one JSON line an event, with secrets masked and errors spelt out,
 * handed to a `write` function. May use: clock (types), errors.
 */

export { createLogger, type LogLevel, silentLogger } from "./logger.js";
export type { LogFields, Logger } from "./types.js";
