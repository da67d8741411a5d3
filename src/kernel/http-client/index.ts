/**
 * Clients that cost little: for HTTP/1.1, connections that are kept, one exchange after the other on each, plain or with TLS; for HTTP/2, where a
 * server agrees to it, many exchanges on each. In: where to, heads and bodies. Out: answers, as they come or as a whole. Strict with what is answered,
 * as `http1` and `http2` are, and bounded in everything that a server may send. A room beside them because servers that ask nobody need no TLS. May
 * use: clock, errors, http1, http2.
 */

export type { OutgoingRequest } from "./connection.js";
export { answerFields, isFieldValue, requestHead } from "./fields.js";
export { Http2Pool } from "./http2-pool.js";
export { ClientPool, type ExchangeOptions, type SendOptions } from "./pool.js";
export type { StreamedAnswer } from "./stream.js";
export type { ClientTarget } from "./target.js";
export type { WholeAnswer } from "./whole.js";
