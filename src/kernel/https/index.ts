/**
 * HTTPS servers of the platform's own APIs. In: a certificate, an address, a function that answers. Out: a server that listens,
 * and ends after its running calls. May use: clock, errors, log.
 */

export { createHttpsServer, type HttpsAddress, type HttpsServer, type HttpsServerOptions } from "./server.js";
