/**
 * HTTP/2 as bytes, for servers and clients that count their CPU time per request: connections that begin with the preface, their streams, and
 * header compression. In: a socket, and what was read of it. Out: streams with their requests; answers. Strict (RFC 9113), and
 * bounded in everything that the other side may ask for. May use: clock, errors.
 */

export { type Http2Answer, Http2Client, type Http2Exchange, type Http2Receiver, type Http2Request } from "./client.js";
export { Http2Connection, type Http2Host } from "./connection.js";
export { CODES, FLAGS, TYPES } from "./frames.js";
export { encodeHeaders, type Field, HeaderDecoder } from "./hpack.js";
export type { Http2Stream } from "./stream.js";
