import { createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../../kernel/clock/index.js";
import { joinSockets } from "../network/sockets.js";
import type { PodNetwork } from "../network/types.js";

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

/** Why a client's address may not reach a backend's, in words; absent: it may. */
export type Refusal = (client: string, backend: string) => string | undefined;

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
  readonly #network: Pick<PodNetwork, "connect" | "listen">;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #sticky = new Map<string, Sticky>();
  readonly #refusal: Refusal;
  #spread: Spread;
  #next = 0;

  constructor(
    clock: Clock,
    network: Pick<PodNetwork, "connect" | "listen">,
    spread: Spread,
    refusal: Refusal = () => undefined,
  ) {
    this.#clock = clock;
    this.#network = network;
    this.#refusal = refusal;
    this.#spread = spread;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  /** Resolves when bound; rejects with the socket's error (EACCES, EADDRINUSE, …). */
  async listen(ip: string, port: number): Promise<void> {
    await this.#network.listen(this.#server, ip, port);
    this.#server.on("error", () => undefined);
    this.#server.unref();
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
    const from = client.remoteAddress ?? "";
    const order = this.#order(from).filter(({ ip }) => this.#refusal(from, ip) === undefined);
    this.#connect(client, order, 0);
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
    this.#network.connect(backend.ip, backend.port).then(
      (upstream) => {
        if (client.destroyed) {
          upstream.destroy();
          return;
        }
        this.#remember(client.remoteAddress ?? "", backend);
        joinSockets(client, upstream);
      },
      () => this.#connect(client, order, index + 1),
    );
  }
}
