/**
 * HTTP/1.1 as bytes, for programs that count their CPU time per request: heads, framing of bodies, and a small server on them.
 * In: bytes of a socket, a function that answers. Out: parsed heads or the fault to answer with; answers, written at once.
 * Strict where messages could be read in two ways (RFC 9112). May use: clock, errors.
 */

export { type Http1Answer, HttpError } from "./answer.js";
export { type BodyHold, createBodyBudget, readBody } from "./bodies.js";
export type { Http1Limits } from "./connection.js";
export { Framing, type FramingKind } from "./framing.js";
export {
  Fields,
  HeadFault,
  latin1,
  MAX_HEAD_BYTES,
  normalisePath,
  parseRequestHead,
  parseResponseHead,
  type RequestHead,
  type ResponseHead,
} from "./head.js";
export { type BodyCharge, Http1Request, KnownHead, type RequestFollower } from "./request.js";
export { createHttp1Server, type Http1Server, type Http1ServerOptions } from "./server.js";
