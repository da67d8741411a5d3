import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Clock } from "../clock/index.js";
import { ArgosyError } from "../errors/index.js";
import type { Logger } from "../log/index.js";
import { readByStream } from "./reading.js";

export interface HttpsServerOptions {
  readonly certPem: string;
  readonly keyPem: string;
  /** 127.0.0.1 unless told. */
  readonly host?: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a connection may stay silent within a call. */
  readonly idleMs: number;
  /** Answers one call; a caller that sent `Expect: 100-continue` waits for `response.writeContinue()`. */
  readonly answer: (request: IncomingMessage, response: ServerResponse) => void;
}

export interface HttpsAddress {
  readonly url: string;
  readonly port: number;
}

export interface HttpsServer {
  /** Listens; throws `ArgosyError` PortInUse when the port is taken, CannotListen otherwise. */
  start(): Promise<HttpsAddress>;
  /** Connections made from now on see this certificate. */
  setCertificate(certPem: string, keyPem: string): void;
  /** Lets running calls finish for up to five seconds. */
  close(): Promise<void>;
}

const minVersion = "TLSv1.2";
const GRACE_MS = 5000;
const HEADERS_MS = 15_000;
const KEEP_ALIVE_MS = 75_000;

/** A server over TLS 1.2 or later that speaks HTTP/1.1; malformed calls end their connection. */
export function createHttpsServer(options: HttpsServerOptions): HttpsServer {
  const { host = "127.0.0.1", clock, answer } = options;
  const server = createServer({
    cert: options.certPem,
    key: options.keyPem,
    minVersion,
    maxHeaderSize: 32 * 1024,
  });
  server.on("secureConnection", readByStream);
  server.on("request", answer);
  server.on("checkContinue", answer);
  server.on("tlsClientError", (error) => options.log.debug("tls handshake failed", { err: error }));
  server.on("clientError", (_error, socket) => socket.destroy());
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = 0;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.timeout = options.idleMs;
  return {
    start: async () => {
      const port = await listen(server, host, options.port);
      return { url: `https://${host.includes(":") ? `[${host}]` : host}:${port}`, port };
    },
    setCertificate: (cert, key) => server.setSecureContext({ cert, key, minVersion }),
    close: () =>
      new Promise((resolve) => {
        const timer = clock.setTimer(GRACE_MS, () => server.closeAllConnections());
        server.close(() => {
          timer.cancel();
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException): void => {
      const code = error.code === "EADDRINUSE" ? "PortInUse" : "CannotListen";
      reject(new ArgosyError(code, `cannot listen on ${host}:${port}: ${error.message}`, { cause: error }));
    };
    server.once("error", refuse);
    server.listen(port, host, () => {
      server.off("error", refuse);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
