import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectPlain, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { NetworkSockets } from "../../kernel/netns/index.js";
import { KnownAnswer } from "./known-heads.js";
import { splitAddress } from "./place-table.js";
import { writeText } from "./socket.unsafe.js";
import type { BackendTable } from "./table.js";
import { describeTlsFailure } from "./tls-words.js";

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
  readonly pool: UpstreamPool;
  user: UpstreamUser | undefined;
  isConnected = false;
  isClosed = false;
  /** Exchanges finished on it. */
  uses = 0;
  /** When it must no longer be taken from the pool. */
  idleUntilMs = 0;
  #socket: Socket | undefined;
  /** What was written before there was a socket. */
  #early: (readonly [data: string | Buffer, encoding: BufferEncoding | undefined])[] = [];
  #error: Error | undefined;

  constructor(pool: UpstreamPool, user: UpstreamUser) {
    this.pool = pool;
    this.user = user;
    const receive = (buffer: Buffer, length: number): boolean => this.#receive(buffer, length);
    const late = pool.dialLate(receive);
    if (late === undefined) this.#attach(pool.dial(receive));
    else
      late.then(
        (socket) => this.#attachLate(socket),
        (error: unknown) => {
          this.#error = error instanceof Error ? error : undefined;
          this.#closed();
        },
      );
  }

  #attach(socket: Socket): void {
    this.#socket = socket;
    socket.on(this.pool.tls === undefined ? "connect" : "secureConnect", () => this.#connected());
    socket.on("drain", () => this.user?.onDrain());
    socket.on("end", () => {
      this.isClosed = true;
      if (this.user === undefined) this.close();
      else this.user.onEnd();
    });
    socket.on("error", (error) => {
      this.#error = this.pool.tls === undefined ? error : describeTlsFailure(error);
    });
    socket.on("close", () => this.#closed());
  }

  /** The socket comes connected, except for TLS. */
  #attachLate(socket: Socket): void {
    if (this.isClosed) {
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    this.#attach(socket);
    if (this.pool.tls === undefined) this.#connected();
    for (const [data, encoding] of this.#early.splice(0)) socket.write(data, encoding);
  }

  #connected(): void {
    this.isConnected = true;
    this.user?.onConnected();
  }

  #closed(): void {
    this.isClosed = true;
    this.pool.forget(this);
    const owner = this.user;
    this.user = undefined;
    owner?.onClosed(this.#error);
  }

  /** As `Socket.write`. */
  write(data: string | Buffer, encoding?: BufferEncoding): boolean {
    if (this.#socket !== undefined) {
      if (encoding === "latin1" && typeof data === "string" && this.isConnected) return writeText(this.#socket, data);
      return this.#socket.write(data, encoding);
    }
    this.#early.push([data, encoding]);
    return true;
  }

  resume(): void {
    this.#socket?.resume();
  }

  end(): void {
    this.#socket?.end();
  }

  #receive(buffer: Buffer, length: number): boolean {
    if (this.user === undefined) {
      // Bytes that nobody asked for: an answer to no question must not become the answer to the next one.
      this.close();
      return true;
    }
    return this.user.onData(buffer, length);
  }

  /** Closes it; whoever used it hears nothing more. */
  abandon(): void {
    this.user = undefined;
    this.close();
  }

  close(): void {
    const wasOpen = !this.isClosed;
    this.isClosed = true;
    if (this.#socket !== undefined) this.#socket.destroy();
    // As with a socket, whoever still uses it hears of it a turn later.
    else if (wasOpen) setImmediate(() => this.#closed());
  }
}

/** All connections to one address with one TLS setting. */
export class UpstreamPool {
  readonly host: string;
  readonly port: number;
  readonly tls: BackendTable["tls"];
  readonly idle: UpstreamConnection[] = [];
  readonly answer = new KnownAnswer();
  readonly #open = new Set<UpstreamConnection>();
  readonly #network: NetworkSockets | undefined;
  #isRetired = false;
  #http2: Promise<ClientHttp2Session> | undefined;
  /** Addresses in the table that are behind it. */
  owners = 0;

  /** `network` reaches addresses that this process does not reach by itself. */
  constructor(address: string, tls: BackendTable["tls"], network?: NetworkSockets) {
    const parts = splitAddress(address);
    this.host = parts?.host ?? "";
    this.port = parts?.port ?? 0;
    this.tls = tls;
    this.#network = network;
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
    this.#http2?.then(
      (session) => session.close(),
      () => undefined,
    );
    this.#http2 = undefined;
  }

  unretire(): void {
    this.#isRetired = false;
  }

  /** A connected HTTP/2 session, shared by all exchanges with this address. Throws what connecting throws. */
  async http2Session(): Promise<ClientHttp2Session> {
    const before = this.#http2;
    if (before !== undefined) {
      const session = await before;
      if (!session.closed && !session.destroyed) return session;
      if (this.#http2 !== before) return this.http2Session();
    }
    const opening = this.#openHttp2();
    this.#http2 = opening;
    opening.catch(() => {
      if (this.#http2 === opening) this.#http2 = undefined;
    });
    return opening;
  }

  async #openHttp2(): Promise<ClientHttp2Session> {
    const socket = await this.#dialWhole(["h2"]);
    const session = connectHttp2(`${this.tls === undefined ? "http" : "https"}://${this.host}:${this.port}`, {
      createConnection: () => socket,
    });
    session.on("error", () => undefined);
    session.unref();
    return session;
  }

  /** A socket that is connected, TLS included, and that nobody reads yet. */
  async #dialWhole(protocols: readonly string[]): Promise<Socket> {
    const covered = this.#network?.covers(this.host) === true;
    const plain = covered ? await this.#network?.connect(this.host, this.port) : undefined;
    if (plain !== undefined && this.tls === undefined) return plain;
    const place = plain === undefined ? { host: this.host, port: this.port } : { socket: plain };
    const socket =
      this.tls === undefined
        ? connectPlain({ host: this.host, port: this.port, noDelay: true })
        : connectTls({ ...place, ...this.#tlsOptions(protocols) });
    await once(socket, this.tls === undefined ? "connect" : "secureConnect");
    return socket;
  }

  destroy(): void {
    this.retire();
    this.#http2?.then(
      (session) => session.destroy(),
      () => undefined,
    );
    for (const connection of [...this.#open]) connection.close();
  }

  forget(connection: UpstreamConnection): void {
    this.#open.delete(connection);
    const index = this.idle.indexOf(connection);
    if (index >= 0) this.idle.splice(index, 1);
  }

  /** Opens a socket whose data goes to `receive`. A failure, TLS settings included, comes as an `error` event. */
  dial(receive: (buffer: Buffer, length: number) => boolean): Socket {
    if (this.tls !== undefined) return this.#secure({ host: this.host, port: this.port }, receive);
    return connectPlain({
      host: this.host,
      port: this.port,
      noDelay: true,
      onread: { buffer: readBuffer, callback: (length) => receive(readBuffer, length) },
    });
  }

  /** The same for an address that is reached in another network only, with a socket that is connected; `undefined` for all others. */
  dialLate(receive: (buffer: Buffer, length: number) => boolean): Promise<Socket> | undefined {
    if (this.#network?.covers(this.host) !== true) return undefined;
    return this.#network.connect(this.host, this.port).then((socket) => {
      if (this.tls !== undefined) return this.#secure({ socket }, receive);
      socket.allowHalfOpen = false;
      return receiveInto(socket, receive);
    });
  }

  #secure(
    place: { readonly host: string; readonly port: number } | { readonly socket: Socket },
    receive: (buffer: Buffer, length: number) => boolean,
  ): Socket {
    const socket = connectTls({ ...place, ...this.#tlsOptions(["http/1.1"]) });
    socket.setNoDelay(true);
    return receiveInto(socket, receive);
  }

  #tlsOptions(protocols: readonly string[]): ConnectionOptions {
    const { insecure = false, serverName, caFile, certFile, keyFile } = this.tls ?? {};
    return {
      ALPNProtocols: [...protocols],
      rejectUnauthorized: !insecure,
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(caFile === undefined ? {} : { ca: readCertificates(caFile) }),
      ...(certFile === undefined ? {} : { cert: readCertificates(certFile) }),
      ...(keyFile === undefined ? {} : { key: readCertificates(keyFile) }),
    };
  }
}

function receiveInto(socket: Socket, receive: (buffer: Buffer, length: number) => boolean): Socket {
  return socket.on("data", (chunk: Buffer) => {
    if (!receive(chunk, chunk.length)) socket.pause();
  });
}

function readCertificates(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // No certificate is trusted then, and the connection fails with the reason that TLS gives.
    return "";
  }
}
