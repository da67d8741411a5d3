/**
 * A client for HTTP/1.1 that costs little: connections that are kept, one exchange after the other on each, plain or with TLS. In: where to, heads
 * and bodies. Out: answers, as they come or as a whole. Strict with what is answered, as `http1` is, and bounded in everything that a server may send.
 * A room beside `http1` because servers that ask nobody need no TLS. May use: clock, errors, http1.
 */

export type { ClientTarget, OutgoingRequest } from "./connection.js";
export { answerFields, isFieldValue, requestHead } from "./fields.js";
export { ClientPool, type ExchangeOptions, type SendOptions } from "./pool.js";
export type { StreamedAnswer } from "./stream.js";
export type { WholeAnswer } from "./whole.js";
