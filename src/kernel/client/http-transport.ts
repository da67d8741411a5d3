import { Pool } from "undici";
import { ApiError, ArgosyError } from "../errors/index.js";
import { KeptConnections } from "./kept-connections.js";
import { switchProtocols } from "./switch.js";
import type { Duplex, Switched, Transport, TransportRequest, TransportResponse } from "./types.js";
import { openWebSocket } from "./websocket.js";

/** What proves who asks. A client certificate and a token may both be given. */
export interface Credentials {
  readonly token?: string;
  readonly clientCertPem?: string;
  readonly clientKeyPem?: string;
}

/** Where an API server is and how to talk to it. */
export interface HttpTransportOptions extends Credentials {
  /** `https://host:port`, optionally with a path prefix (a proxy). */
  readonly server: string;
  /** CA certificates that the server's certificate must chain to; absent: the system's. */
  readonly caPem?: string;
  /** Name that the server's certificate must carry, when it is not the host of `server`. */
  readonly tlsServerName?: string;
  /** Accepts any server certificate. Only when the user said so. */
  readonly insecureSkipTlsVerify?: boolean;
  /** Asked before each request (it caches); told `refused: true` after a 401. Overrides the fixed credentials. */
  readonly credentials?: (state: { readonly refused: boolean }) => Promise<Credentials>;
  /** Connections for plain requests wait in line above this; watches count too. Default unlimited. */
  readonly maxConnections?: number;
}

const connectTimeoutMs = 10_000;
/** What nobody has used for so long is closed. */
const idleMs = 30_000;

function flattenHeaders(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = typeof value === "string" ? value : value.join(", ");
  }
  return flat;
}

/** TLS options of a connection with these credentials. */
export function tlsOptions(options: HttpTransportOptions, credentials: Credentials) {
  return {
    ...(options.caPem === undefined ? {} : { ca: options.caPem }),
    ...(credentials.clientCertPem === undefined ? {} : { cert: credentials.clientCertPem }),
    ...(credentials.clientKeyPem === undefined ? {} : { key: credentials.clientKeyPem }),
    ...(options.tlsServerName === undefined ? {} : { servername: options.tlsServerName }),
    rejectUnauthorized: options.insecureSkipTlsVerify !== true,
  };
}

/** Connections over one set of TLS credentials; replaced when a credential plugin hands out a new certificate. */
class PoolOfCredentials {
  readonly #options: HttpTransportOptions;
  #pool: Pool | undefined;
  /** For exchanges that need no more. */
  #kept: KeptConnections | undefined;
  #certificate: string | undefined;
  #keptCertificate: string | undefined;

  constructor(options: HttpTransportOptions) {
    this.#options = options;
  }

  get(credentials: Credentials): Pool {
    if (this.#pool !== undefined && this.#certificate === credentials.clientCertPem) return this.#pool;
    const old = this.#pool;
    const { origin } = new URL(this.#options.server);
    this.#certificate = credentials.clientCertPem;
    this.#pool = new Pool(origin, {
      connections: this.#options.maxConnections ?? null,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: idleMs,
      // Watches and followed logs are silent for long; who reads them watches over them.
      bodyTimeout: 0,
      headersTimeout: 120_000,
      connect: { timeout: connectTimeoutMs, keepAlive: true, ...tlsOptions(this.#options, credentials) },
    });
    // Requests that run on the old certificate end as they would have; nothing waits for them.
    old?.close().catch(() => undefined);
    return this.#pool;
  }

  getKept(credentials: Credentials): KeptConnections {
    if (this.#kept !== undefined && this.#keptCertificate === credentials.clientCertPem) return this.#kept;
    this.#kept?.retire();
    this.#keptCertificate = credentials.clientCertPem;
    const tls = tlsOptions(this.#options, credentials);
    this.#kept = new KeptConnections({ url: new URL(this.#options.server), tls, connectTimeoutMs, idleMs });
    return this.#kept;
  }

  async destroy(): Promise<void> {
    this.#kept?.destroy();
    await this.#pool?.destroy();
  }
}

/** Upgrades a connection of its own; with other credentials when the first are refused and there may be others. */
async function switchWith(
  options: HttpTransportOptions,
  request: Omit<TransportRequest, "body">,
  credentialsOf: (refused: boolean) => Promise<Credentials>,
): Promise<Switched> {
  const base = new URL(options.server);
  const url = new URL(`${base.origin}${base.pathname.replace(/\/$/, "")}${request.path}`);
  const attempt = async (refused: boolean): Promise<Switched> => {
    const credentials = await credentialsOf(refused);
    const { token } = credentials;
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return switchProtocols({ url, tls: tlsOptions(options, credentials), headers }, request);
  };
  try {
    return await attempt(false);
  } catch (error) {
    if (options.credentials === undefined || !(error instanceof ApiError) || error.httpCode !== 401) throw error;
    return attempt(true);
  }
}

/**
 * Speaks to an API server; connections are kept alive and pooled. Answers that come as a whole are exchanged by clients of our own that do only
 * that, over HTTP/2 where the server agrees to it; watches and other streams by undici, over HTTP/1.1 (HTTP/2 of Node leaks in long watches).
 */
export function httpTransport(options: HttpTransportOptions): Transport {
  const base = new URL(options.server);
  const prefix = base.pathname.replace(/\/$/, "");
  const pools = new PoolOfCredentials(options);
  let isClosed = false;

  const credentialsOf = (refused: boolean): Promise<Credentials> =>
    options.credentials === undefined ? Promise.resolve(options) : options.credentials({ refused });

  const attempt = async (request: TransportRequest, refused: boolean): Promise<TransportResponse> => {
    if (isClosed) throw new ArgosyError("Closed", "the transport is closed");
    const credentials = await credentialsOf(refused);
    const { token } = credentials;
    // A bound on connections is one for all together.
    if (options.maxConnections === undefined && KeptConnections.takes(request)) {
      const by = token === undefined ? undefined : `Bearer ${token}`;
      return pools.getKept(credentials).send(request, `${prefix}${request.path}`, by);
    }
    const response = await pools.get(credentials).request({
      method: request.method,
      path: `${prefix}${request.path}`,
      headers: {
        ...request.headers,
        ...Object.fromEntries(
          Object.entries(request.repeatedHeaders ?? {}).map(([name, values]) => [name, [...values]]),
        ),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(request.body === undefined ? {} : { body: request.body }),
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    return { status: response.statusCode, headers: flattenHeaders(response.headers), body: response.body };
  };

  return {
    async request(request) {
      const response = await attempt(request, false);
      if (response.status !== 401 || options.credentials === undefined) return response;
      for await (const _chunk of response.body) break;
      return attempt(request, true);
    },
    async upgrade(path, protocols, signal): Promise<Duplex> {
      const credentials = await credentialsOf(false);
      const url = `${base.protocol === "http:" ? "ws:" : "wss:"}//${base.host}${prefix}${path}`;
      return openWebSocket(url, protocols, {
        tls: tlsOptions(options, credentials),
        headers: credentials.token === undefined ? {} : { authorization: `Bearer ${credentials.token}` },
        ...(signal === undefined ? {} : { signal }),
      });
    },
    switchProtocols: (request) => switchWith(options, request, credentialsOf),
    async close() {
      isClosed = true;
      await pools.destroy();
    },
  };
}
