import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../../kernel/clock/index.js";

/** Where connections go. */
export interface Backend {
  readonly ip: string;
  readonly port: number;
}

/** How connections are spread. */
export interface Spread {
  readonly backends: readonly Backend[];
  /** Clients stay with their backend for this long (sessionAffinity ClientIP); absent: round robin. */
  readonly affinityMs?: number;
}

interface Sticky {
  readonly backend: Backend;
  usedMs: number;
}

const maxSticky = 10_000;

/**
 * One address that accepts connections and passes them on. Open connections go on when backends change; a backend that
 * refuses is left out for that connection.
 */
export class ProxyListener {
  readonly #clock: Clock;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #sticky = new Map<string, Sticky>();
  #spread: Spread;
  #next = 0;

  constructor(clock: Clock, spread: Spread) {
    this.#clock = clock;
    this.#spread = spread;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  /** Resolves when bound; rejects with the socket's error (EACCES, EADDRINUSE, …). */
  listen(ip: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host: ip, port, backlog: 1024 }, () => {
        this.#server.off("error", reject);
        this.#server.on("error", () => undefined);
        this.#server.unref();
        resolve();
      });
    });
  }

  update(spread: Spread): void {
    this.#spread = spread;
  }

  /** Takes no more connections; `hard` ends those that are open. */
  close(hard: boolean): void {
    this.#server.close();
    if (hard) for (const socket of this.#sockets) socket.destroy();
  }

  #accept(client: Socket): void {
    client.on("error", () => client.destroy());
    this.#sockets.add(client);
    client.on("close", () => this.#sockets.delete(client));
    this.#connect(client, this.#order(client.remoteAddress ?? ""), 0);
  }

  /** The backends to try, best first. */
  #order(clientIp: string): readonly Backend[] {
    const { backends, affinityMs } = this.#spread;
    if (backends.length < 2) return backends;
    const start = this.#next % backends.length;
    const sticky = affinityMs === undefined ? undefined : this.#stickyFor(clientIp, affinityMs);
    if (sticky !== undefined) return [sticky, ...backends.filter((each) => each !== sticky)];
    this.#next = (start + 1) % backends.length;
    return [...backends.slice(start), ...backends.slice(0, start)];
  }

  #stickyFor(clientIp: string, affinityMs: number): Backend | undefined {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#sticky.get(clientIp);
    if (known === undefined || nowMs - known.usedMs > affinityMs) return undefined;
    known.usedMs = nowMs;
    return this.#spread.backends.find((each) => each.ip === known.backend.ip && each.port === known.backend.port);
  }

  #remember(clientIp: string, backend: Backend): void {
    if (this.#spread.affinityMs === undefined) return;
    this.#sticky.delete(clientIp);
    this.#sticky.set(clientIp, { backend, usedMs: this.#clock.monotonicMs() });
    const oldest = this.#sticky.keys().next().value;
    if (this.#sticky.size > maxSticky && oldest !== undefined) this.#sticky.delete(oldest);
  }

  #connect(client: Socket, order: readonly Backend[], index: number): void {
    const backend = order[index];
    if (backend === undefined || client.destroyed) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ host: backend.ip, port: backend.port, allowHalfOpen: true, noDelay: true });
    const failed = (): void => {
      upstream.destroy();
      this.#connect(client, order, index + 1);
    };
    upstream.once("error", failed);
    upstream.once("connect", () => {
      upstream.off("error", failed);
      this.#remember(client.remoteAddress ?? "", backend);
      join(client, upstream);
    });
    client.once("close", () => upstream.destroy());
  }
}

function join(client: Socket, upstream: Socket): void {
  upstream.on("error", () => {
    upstream.destroy();
    client.resetAndDestroy();
  });
  upstream.on("close", () => {
    if (!client.writableEnded) client.destroySoon();
  });
  client.pipe(upstream);
  upstream.pipe(client);
}
