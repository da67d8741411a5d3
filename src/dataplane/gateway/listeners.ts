import { readFileSync } from "node:fs";
import { createServer as createPlainServer, type Server, type Socket } from "node:net";
import {
  createSecureContext,
  createServer as createTlsServer,
  type SecureContext,
  TLSSocket,
  Server as TlsServer,
} from "node:tls";
import type { Timer } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { ClientConnection } from "./client-connection.js";
import type { GatewayCore, ListenerState } from "./core.js";
import type { ListenerTable, NamedCertificate } from "./table.js";

const RETRY_MS = 1000;

/** A listener as `/state` shows it. */
export interface ListenerReport {
  readonly name: string;
  readonly address: string;
  readonly listening: boolean;
  /** Why it is not listening; empty otherwise. */
  readonly reason: string;
  /** It is not listening because another program has the port. */
  readonly taken: boolean;
  readonly connections: number;
}

/** The listening sockets. A port that cannot be had is tried again every second and reported, the others are not disturbed. */
export class Listeners {
  readonly #core: GatewayCore;
  readonly #listeners = new Map<string, Listener>();
  readonly #connections = new Set<ClientConnection>();

  constructor(core: GatewayCore) {
    this.#core = core;
  }

  /** Opens what is new, closes what is gone, leaves what is unchanged alone. Resolves when each was tried once. */
  async apply(tables: readonly ListenerTable[]): Promise<void> {
    const wanted = new Map(tables.map((table) => [table.name, table]));
    const closing: Promise<void>[] = [];
    for (const [name, listener] of this.#listeners) {
      const table = wanted.get(name);
      if (table !== undefined && (JSON.stringify(table) === JSON.stringify(listener.table) || listener.renew(table)))
        continue;
      this.#listeners.delete(name);
      closing.push(listener.close());
      for (const connection of this.#connections)
        if (connection.listener === listener.state && connection.isIdle) connection.closeSoon();
    }
    // Listening sockets close at once; waiting for it lets a renamed listener have the same port.
    await Promise.all(closing);
    const opening: Promise<void>[] = [];
    for (const table of tables) {
      if (this.#listeners.has(table.name)) continue;
      const listener = new Listener(this.#core, table, this.#connections);
      this.#listeners.set(table.name, listener);
      opening.push(listener.open());
    }
    await Promise.all(opening);
  }

  /** Tries those that could not open at once; resolves when each was tried. */
  async retry(): Promise<void> {
    await Promise.all([...this.#listeners.values()].map((listener) => listener.retry()));
  }

  report(): ListenerReport[] {
    return [...this.#listeners.values()].map((listener) => ({
      name: listener.table.name,
      address: listener.address,
      listening: listener.reason === "",
      reason: listener.reason,
      taken: listener.isTaken,
      connections: [...this.#connections].filter((connection) => connection.listener === listener.state).length,
    }));
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Deadlines of all connections. */
  sweep(nowMs: number): void {
    for (const connection of this.#connections) if (connection.deadlineMs <= nowMs) connection.onDeadline();
    for (const one of this.#core.timed) if (one.deadlineMs <= nowMs) one.onDeadline();
  }

  /** Stops accepting and ends idle connections. Running requests go on. */
  async drain(): Promise<void> {
    await Promise.all([...this.#listeners.values()].map((listener) => listener.close()));
    for (const connection of this.#connections) if (connection.isIdle) connection.closeSoon();
  }

  destroy(): void {
    for (const connection of [...this.#connections]) connection.destroy();
  }
}

class Listener {
  table: ListenerTable;
  readonly state: ListenerState & { isClosed: boolean };
  reason = "not open yet";
  isTaken = false;
  readonly #core: GatewayCore;
  readonly #connections: Set<ClientConnection>;
  #server: Server | undefined;
  #retry: Timer | undefined;
  #certificates: CertificateChoice = (_name, answer) => answer(null);

  constructor(core: GatewayCore, table: ListenerTable, connections: Set<ClientConnection>) {
    this.#core = core;
    this.table = table;
    this.#connections = connections;
    this.state = {
      name: table.name,
      isSecure: table.tls !== undefined,
      trustForwarded: table.trustForwarded,
      isClosed: false,
    };
  }

  get address(): string {
    const bound = this.#server?.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : this.table.port;
    return `${this.table.host.includes(":") ? `[${this.table.host}]` : this.table.host}:${port}`;
  }

  /** Tries now what is waiting to be tried again. */
  async retry(): Promise<void> {
    if (this.#retry === undefined) return;
    this.#retry.cancel();
    await this.open();
  }

  /** Tries to listen; on failure says why in `reason` and keeps trying. */
  async open(): Promise<void> {
    this.#retry = undefined;
    if (this.state.isClosed) return;
    try {
      const server = this.#createServer();
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen({ host: this.table.host, port: this.table.port, backlog: 1024 }, () => resolve());
      });
      server.on("error", (error) => this.#core.log.warn("listener error", { listener: this.table.name, err: error }));
      this.#server = server;
      this.reason = "";
      this.isTaken = false;
      if (this.state.isClosed) await this.close();
    } catch (error) {
      this.isTaken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
      this.reason = `cannot listen on ${this.address}: ${messageOf(error)}`;
      this.#core.log.warn("listener cannot open", { listener: this.table.name, reason: this.reason });
      this.#retry = this.#core.clock.setTimer(RETRY_MS, () => void this.open());
    }
  }

  #createServer(): Server {
    const options = { allowHalfOpen: true, noDelay: true };
    const { tls } = this.table;
    if (tls === undefined)
      return createPlainServer({ ...options, pauseOnConnect: true }, (socket) => this.#accept(socket));
    this.#certificates = this.#choiceOf(tls.names ?? []);
    const server = createTlsServer(
      {
        ...options,
        cert: readFileSync(tls.certFile),
        key: readFileSync(tls.keyFile),
        SNICallback: (name, answer) => this.#certificates(name, answer),
        ALPNProtocols: ["h2", "http/1.1"],
        minVersion: "TLSv1.2",
        handshakeTimeout: 10_000,
      },
      (socket) => this.#accept(socket),
    );
    // A failed handshake is the client's affair.
    server.on("tlsClientError", () => {});
    return server;
  }

  #choiceOf(names: readonly NamedCertificate[]): CertificateChoice {
    return certificatesFor(names, ({ hosts }, error) =>
      this.#core.log.warn("a certificate cannot be used", { listener: this.table.name, hosts, err: error }),
    );
  }

  #accept(socket: Socket): void {
    const { totals, limits } = this.#core;
    if (this.#connections.size >= limits.maxConnections) {
      totals.refusedConnections++;
      socket.destroy();
      return;
    }
    totals.connections++;
    const connection = new ClientConnection(this.#core, this.state, socket);
    this.#connections.add(connection);
    if (socket instanceof TLSSocket && socket.alpnProtocol === "h2") connection.becomeHttp2();
    connection.socket.on("close", () => this.#connections.delete(connection));
  }

  /** Other certificates on the same socket: takes them over without closing it; what is no certificate changes nothing. False where another socket is wanted. */
  renew(table: ListenerTable): boolean {
    const server = this.#server;
    const { tls } = table;
    const isSame = JSON.stringify({ ...table, tls: "" }) === JSON.stringify({ ...this.table, tls: "" });
    if (!isSame || tls === undefined || !(server instanceof TlsServer)) return false;
    try {
      server.setSecureContext({ cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) });
      this.#certificates = this.#choiceOf(tls.names ?? []);
    } catch (error) {
      // Whoever is served goes on being served.
      this.#core.log.warn("certificates cannot be taken over", { listener: table.name, err: error });
      return true;
    }
    this.table = table;
    return true;
  }

  async close(): Promise<void> {
    this.state.isClosed = true;
    this.#retry?.cancel();
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    // The callback waits for connections too; only the socket's own closing is of interest, and that is immediate.
    server.close();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

type Answer = (error: Error | null, context?: SecureContext) => void;
type CertificateChoice = (name: string, answer: Answer) => void;

/** The certificate for a name, of several the first that can be used; the listener's own where none fits. */
function certificatesFor(
  names: readonly NamedCertificate[],
  onFault: (named: NamedCertificate, error: unknown) => void,
): CertificateChoice {
  const byHost = new Map<string, SecureContext>();
  for (const named of names) {
    try {
      const context = createSecureContext({ cert: readFileSync(named.certFile), key: readFileSync(named.keyFile) });
      for (const host of named.hosts) if (!byHost.has(host)) byHost.set(host, context);
    } catch (error) {
      // One host's slip is not the others'.
      onFault(named, error);
    }
  }
  return (name, answer) => {
    const host = name.toLowerCase();
    answer(null, byHost.get(host) ?? byHost.get(`*${host.slice(host.indexOf("."))}`) ?? byHost.get("*"));
  };
}
