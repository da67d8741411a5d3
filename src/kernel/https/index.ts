/**
 * HTTPS servers of the platform's own APIs. In: a certificate, an address, a function that answers. Out: a server that listens,
 * and ends after its running calls. For others' servers too: how node is made to read TLS connections safely. May use: clock, errors, log.
 */

export { readByStream } from "./reading.js";
export { createHttpsServer, type HttpsAddress, type HttpsServer, type HttpsServerOptions } from "./server.js";
