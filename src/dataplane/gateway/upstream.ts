import { readFileSync } from "node:fs";
import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { BackendTable } from "./table.js";
import { splitAddress } from "./table.js";

/** Who uses an upstream connection at the moment. */
export interface UpstreamUser {
  onConnected(): void;
  /** The buffer is reused after the call. `false` stops reading until `resume`. */
  onData(buffer: Buffer, length: number): boolean;
  onDrain(): void;
  /** The peer ended its side. `onClosed` follows. */
  onEnd(): void;
  onClosed(error: Error | undefined): void;
  /** Some owner of addresses in this pool was taken out of use because it is silent. */
  onSilence?(owner: object, reason: string): void;
}

const READ_BYTES = 65_536;
// One for all plain connections: each read is consumed or copied before the next one begins.
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);
const DEFAULT_IDLE_MS = 4000;
const MAX_IDLE = 256;

/** One connection to a backend address; carries one exchange at a time. */
export class UpstreamConnection {
  readonly socket: Socket;
  readonly pool: UpstreamPool;
  user: UpstreamUser | undefined;
  isConnected = false;
  isClosed = false;
  /** Exchanges finished on it. */
  uses = 0;
  /** When it must no longer be taken from the pool. */
  idleUntilMs = 0;
  #error: Error | undefined;

  constructor(pool: UpstreamPool, user: UpstreamUser) {
    this.pool = pool;
    this.user = user;
    this.socket = pool.dial((buffer, length) => this.#receive(buffer, length));
    this.socket.on(pool.tls === undefined ? "connect" : "secureConnect", () => {
      this.isConnected = true;
      this.user?.onConnected();
    });
    this.socket.on("drain", () => this.user?.onDrain());
    this.socket.on("end", () => {
      this.isClosed = true;
      if (this.user === undefined) this.close();
      else this.user.onEnd();
    });
    this.socket.on("error", (error) => {
      this.#error = error;
    });
    this.socket.on("close", () => {
      this.isClosed = true;
      pool.forget(this);
      const owner = this.user;
      this.user = undefined;
      owner?.onClosed(this.#error);
    });
  }

  #receive(buffer: Buffer, length: number): boolean {
    if (this.user === undefined) {
      // Bytes that nobody asked for: an answer to no question must not become the answer to the next one.
      this.close();
      return true;
    }
    return this.user.onData(buffer, length);
  }

  close(): void {
    this.isClosed = true;
    this.socket.destroy();
  }
}

/** All connections to one address with one TLS setting. */
export class UpstreamPool {
  readonly host: string;
  readonly port: number;
  readonly tls: BackendTable["tls"];
  readonly idle: UpstreamConnection[] = [];
  readonly #open = new Set<UpstreamConnection>();
  #isRetired = false;

  constructor(address: string, tls: BackendTable["tls"]) {
    const parts = splitAddress(address);
    this.host = parts?.host ?? "";
    this.port = parts?.port ?? 0;
    this.tls = tls;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** An idle connection, or a new one (always new when `fresh`). */
  acquire(user: UpstreamUser, nowMs: number, fresh = false): UpstreamConnection {
    while (!fresh && this.idle.length > 0) {
      const connection = this.idle.pop();
      if (connection === undefined || connection.isClosed) continue;
      if (connection.idleUntilMs <= nowMs) {
        connection.close();
        continue;
      }
      connection.user = user;
      return connection;
    }
    const connection = new UpstreamConnection(this, user);
    this.#open.add(connection);
    return connection;
  }

  /** Gives a connection back after a finished exchange. `keepAliveSeconds` is the peer's own limit, -1 when it named none. */
  release(connection: UpstreamConnection, nowMs: number, keepAliveSeconds: number): void {
    connection.user = undefined;
    connection.uses++;
    if (this.#isRetired || connection.isClosed || this.idle.length >= MAX_IDLE || keepAliveSeconds === 0) {
      connection.close();
      return;
    }
    // The peer may close at its limit just as we send: stay clear of it by a second.
    const limit = keepAliveSeconds < 0 ? DEFAULT_IDLE_MS : Math.max(keepAliveSeconds * 1000 - 1000, 500);
    connection.idleUntilMs = nowMs + Math.min(limit, 60_000);
    this.idle.push(connection);
  }

  /** Closes idle connections whose time is over. */
  sweep(nowMs: number): void {
    for (let index = this.idle.length - 1; index >= 0; index--) {
      const connection = this.idle[index];
      if (connection === undefined || connection.idleUntilMs > nowMs) continue;
      this.idle.splice(index, 1);
      connection.close();
    }
  }

  dropIdle(): void {
    for (const connection of this.idle.splice(0)) connection.close();
  }

  /** Tells the running exchanges that an owner of this address does not answer its checks. */
  announceSilence(owner: object, reason: string): void {
    for (const connection of [...this.#open]) connection.user?.onSilence?.(owner, reason);
  }

  /** No longer in the table: idle connections go now, busy ones when they are done. */
  retire(): void {
    this.#isRetired = true;
    this.dropIdle();
  }

  unretire(): void {
    this.#isRetired = false;
  }

  destroy(): void {
    this.retire();
    for (const connection of [...this.#open]) connection.close();
  }

  forget(connection: UpstreamConnection): void {
    this.#open.delete(connection);
    const index = this.idle.indexOf(connection);
    if (index >= 0) this.idle.splice(index, 1);
  }

  /** Opens a socket whose data goes to `receive`. A failure, TLS settings included, comes as an `error` event. */
  dial(receive: (buffer: Buffer, length: number) => boolean): Socket {
    if (this.tls === undefined) {
      return connectPlain({
        host: this.host,
        port: this.port,
        noDelay: true,
        onread: { buffer: readBuffer, callback: (length) => receive(readBuffer, length) },
      });
    }
    const socket = connectTls({
      host: this.host,
      port: this.port,
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: !this.tls.insecure,
      ...(this.tls.serverName === undefined ? {} : { servername: this.tls.serverName }),
      ...(this.tls.caFile === undefined ? {} : { ca: readCertificates(this.tls.caFile) }),
    });
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      if (!receive(chunk, chunk.length)) socket.pause();
    });
    return socket;
  }
}

function readCertificates(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // No certificate is trusted then, and the connection fails with the reason that TLS gives.
    return "";
  }
}
