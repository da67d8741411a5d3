import type { Socket as DatagramSocket, RemoteInfo } from "node:dgram";
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { createServer, isIP, type Server, type Socket } from "node:net";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { type Connect, connectDirectly, type SocketMaker } from "../../../kernel/netns/index.js";
import { joinSockets } from "./sockets.js";

const dnsPort = 53;

/** TCP ports on which pods of a network of a user's own reach other machines. */
export const egressPorts: readonly number[] = [
  22, 25, 53, 80, 443, 465, 587, 993, 1883, 2049, 3000, 3128, 3306, 4317, 4318, 5000, 5432, 5672, 6379, 6443, 8000,
  8080, 8081, 8443, 8883, 8888, 9000, 9090, 9092, 9200, 9418, 11_434, 27_017,
];

/** What lies outside of the pods' network, as this process reaches it. */
export interface Outward {
  readonly connect: Connect;
  /** Where names are asked for. */
  resolver(): { readonly host: string; readonly port: number };
}

/** The machine's own network, and its resolver. */
export const machineOutward: Outward = {
  connect: connectDirectly,
  resolver: () => ({ host: machineResolver(), port: dnsPort }),
};

export interface EgressOptions {
  /** In the namespace where every address answers. */
  readonly outside: SocketMaker;
  /** In the pods' network. */
  readonly inside: SocketMaker;
  /** The machine's address among the pods: their resolver. */
  readonly gateway: string;
  readonly outward: Outward;
  readonly log: Logger;
}

/** Answers are waited for in this many questions at a time; the oldest gives way. */
const maxQuestions = 512;

/**
 * Lets pods out of a network that has no way out: connections of some TCP ports are accepted where every address answers, and
 * made again from here to the address that the pod asked for; questions to the pods' resolver are asked of the machine's.
 */
export class Egress {
  readonly #options: EgressOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #questions = new Set<DatagramSocket>();
  #resolver: DatagramSocket | undefined;

  constructor(options: EgressOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { outside, inside, gateway, outward } = this.#options;
    await Promise.all(
      egressPorts.map((port) =>
        this.#serve(outside, "0.0.0.0", port, (socket) => ({ host: socket.localAddress ?? "", port })),
      ),
    );
    outside.rest();
    await this.#serve(inside, gateway, dnsPort, () => outward.resolver());
    this.#resolver = await inside.bindDatagrams(gateway, dnsPort);
    this.#resolver.on("message", (question, from) => this.#answer(question, from));
    this.#resolver.on("error", () => undefined);
    this.#resolver.unref();
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
    for (const question of this.#questions) question.close();
    this.#questions.clear();
    this.#resolver?.close();
  }

  async #serve(
    maker: SocketMaker,
    host: string,
    port: number,
    targetOf: (socket: Socket) => { readonly host: string; readonly port: number },
  ): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
      this.#passOn(socket, targetOf(socket)),
    );
    this.#servers.push(server);
    await maker.listen(server, host, port);
    server.on("error", () => undefined);
    server.unref();
  }

  #passOn(client: Socket, target: { readonly host: string; readonly port: number }): void {
    this.#sockets.add(client);
    client.on("close", () => this.#sockets.delete(client));
    client.on("error", () => client.destroy());
    this.#options.outward.connect(target.host, target.port).then(
      (upstream) => {
        if (client.destroyed) upstream.destroy();
        else joinSockets(client, upstream);
      },
      (error: unknown) => {
        this.#options.log.debug("a pod's connection to elsewhere failed", { ...target, cause: messageOf(error) });
        client.resetAndDestroy();
      },
    );
  }

  /** One socket a question, as a program of this machine would ask it. */
  #answer(question: Buffer, from: RemoteInfo): void {
    const [oldest] = this.#questions;
    if (this.#questions.size >= maxQuestions && oldest !== undefined) this.#forget(oldest);
    const { host, port } = this.#options.outward.resolver();
    const asking = createSocket(isIP(host) === 6 ? "udp6" : "udp4");
    this.#questions.add(asking);
    asking.on("message", (answer) => {
      this.#resolver?.send(answer, from.port, from.address);
      this.#forget(asking);
    });
    asking.on("error", () => this.#forget(asking));
    asking.unref();
    asking.send(question, port, host, (error) => {
      if (error !== null) this.#forget(asking);
    });
  }

  #forget(question: DatagramSocket): void {
    if (this.#questions.delete(question)) question.close();
  }
}

/** The first resolver of /etc/resolv.conf, read anew each time: it changes with the network that a laptop is in. */
function machineResolver(): string {
  try {
    return /^\s*nameserver\s+([^\s%]+)/m.exec(readFileSync("/etc/resolv.conf", "utf8"))?.[1] ?? "127.0.0.1";
  } catch {
    return "127.0.0.1";
  }
}
