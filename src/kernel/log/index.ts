/**
 * Structured logging. In: a constant message and fields. Out: one JSON line an event, with secrets masked and errors spelt out,
 * handed to a `write` function. May use: clock (types), errors.
 */

export { createLogger, silentLogger } from "./logger.js";
export type { Logger } from "./types.js";
