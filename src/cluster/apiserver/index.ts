/**
 * The embedded API server: Kubernetes' API over a journal. In: HTTP requests (TLS or in-process). Out: objects, lists,
 * watches, Status; what was acknowledged is on the disk. Parts: `front` (sockets, in-process), `server` (the request
 * line), `request` and `render` (what is asked, how it is answered), `verbs`, `registry`, `native` and `merge` (what kinds
 * are), `auth`, `admission`, `cel`, `subresources`, `node-metrics`, `store` and `journal`. May use: kernel.
 */

import { join } from "node:path";
import type { Transport } from "../../kernel/client/index.js";
import { type KeptCertificate, keepCertificate } from "../../kernel/identity/index.js";
import { publishApiAddress } from "./admission/index.js";
import { type ApiServerOptions, type Assembly, assemble } from "./assemble.js";
import { inProcessTransport } from "./front/in-process.js";
import { type Listener, listen } from "./front/listener.js";
import { openLocalWebSocket } from "./front/local-websocket.js";
import type { ApiRequest, ApiResponse } from "./types.js";

export { type CheckResult, checksOf, type ObjectCheck } from "./admission/index.js";
export type { ApiServerOptions } from "./assemble.js";
export { type AuditOptions, defaultAuditFile, defaultAuditPolicy, readAuditPolicy } from "./audit/index.js";
export { type AuthenticationConfig, readAuthenticationConfig } from "./auth/index.js";
export { type EncryptionConfig, readEncryptionConfig } from "./encryption/index.js";
export { invalid as invalidObject } from "./failures.js";
export { ListenError } from "./front/errors.js";
export { copyJournal } from "./journal/backup.js";
export { defaultLimits, type LimitOptions } from "./limits/index.js";
export type { ObjectProxy } from "./subresources/index.js";
export type { ApiRequest, ApiResponse, UserInfo } from "./types.js";

/** A running API server. */
export interface ApiServer {
  /** The way in for clients in this process; every request passes the whole request line as the token's user. */
  transport(token: string): Transport;
  /** Opens an HTTPS port (0: any). May be called for several addresses. Throws `ListenError` when it is taken. */
  listen(address: {
    readonly host: string;
    readonly port: number;
  }): Promise<{ readonly url: string; readonly caPem: string }>;
  handle(request: ApiRequest): Promise<ApiResponse>;
  readonly caPem: string;
  /** A token of a member of system:masters. */
  readonly adminToken: string;
  /** Revision of the last write. */
  readonly revision: number;
  issueClientCertificate(
    user: string,
    groups: readonly string[],
  ): Promise<{ readonly certPem: string; readonly keyPem: string }>;
  /** For servers that this cluster's clients shall trust (node agents, say). */
  issueServerCertificate(names: readonly string[]): Promise<{ readonly certPem: string; readonly keyPem: string }>;
  /** Stops listening, finishes the writes under way and closes the journal. */
  close(): Promise<void>;
}

/** Opens (or makes) a cluster's API. Throws `JournalError` when its journal is in use or unreadable. */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  return new RunningServer(options, await assemble(options));
}

class RunningServer implements ApiServer {
  readonly #options: ApiServerOptions;
  readonly #assembly: Assembly;
  readonly #listeners: Listener[] = [];
  readonly #certificates: KeptCertificate[] = [];

  constructor(options: ApiServerOptions, assembly: Assembly) {
    this.#options = options;
    this.#assembly = assembly;
  }

  get caPem(): string {
    return this.#assembly.authority.caPem;
  }

  get adminToken(): string {
    return this.#assembly.adminToken;
  }

  get revision(): number {
    return this.#assembly.store.revision;
  }

  transport(token: string): Transport {
    const { line } = this.#assembly;
    const { log } = this.#options;
    return inProcessTransport(
      {
        handle: (request) => line.handle(request),
        upgrade: (request) => line.upgrade(request),
        openWebSocket: (path, protocols, options) =>
          openLocalWebSocket({ upgrade: (request) => line.upgrade(request), log }, path, protocols, options),
      },
      token,
    );
  }

  handle(request: ApiRequest): Promise<ApiResponse> {
    return this.#assembly.line.handle(request);
  }

  async listen(address: {
    readonly host: string;
    readonly port: number;
  }): Promise<{ readonly url: string; readonly caPem: string }> {
    const { host, port } = address;
    const certificate = await this.#servingCertificate(host);
    const { line, store, submit } = this.#assembly;
    const listener = await listen({
      host,
      port,
      certPem: certificate.current.certPem,
      keyPem: certificate.current.keyPem,
      caPem: this.caPem,
      target: { handle: (request) => line.handle(request), upgrade: (request) => line.upgrade(request) },
      clock: this.#options.clock,
      log: this.#options.log,
    });
    this.#listeners.push(listener);
    await publishApiAddress({ store, submit }, host, listener.port);
    const shown = host.includes(":") ? `[${host}]` : host;
    return { url: `https://${shown}:${listener.port}`, caPem: this.caPem };
  }

  async #servingCertificate(host: string): Promise<KeptCertificate> {
    const { clock, log, dataDir } = this.#options;
    const certificate = await keepCertificate({
      authority: this.#assembly.authority,
      clock,
      log,
      subject: { use: "server", names: servingNames(host), commonName: "kube-apiserver" },
      ...(dataDir === undefined
        ? {}
        : { file: join(dataDir, "pki", `serving-${host.replace(/[^a-z0-9.]/gi, "_")}.pem`) }),
      onRenewed: ({ certPem, keyPem }) => {
        for (const listener of this.#listeners) if (listener.host === host) listener.setCertificate(certPem, keyPem);
      },
    });
    this.#certificates.push(certificate);
    return certificate;
  }

  issueClientCertificate(
    user: string,
    groups: readonly string[],
  ): Promise<{ readonly certPem: string; readonly keyPem: string }> {
    return this.#assembly.authority.issueClient(user, groups);
  }

  issueServerCertificate(names: readonly string[]): Promise<{ readonly certPem: string; readonly keyPem: string }> {
    return this.#assembly.authority.issueServer(names);
  }

  async close(): Promise<void> {
    for (const certificate of this.#certificates) certificate.close();
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
    await this.#assembly.close();
  }
}

/** By what clients reach it, from this machine and from pods. */
function servingNames(host: string): string[] {
  const inCluster = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
  ];
  return [...new Set([host, "localhost", "127.0.0.1", "::1", ...inCluster])];
}
