import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmSync } from "node:fs";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { messageOf } from "../../../kernel/errors/index.js";
import { isRunning } from "../../../kernel/files/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import {
  enterHolder,
  liveNetwork,
  type NamespaceNetwork,
  NetworkSockets,
  SocketMaker,
  writeNetworkFile,
} from "../../../kernel/netns/index.js";
import { requireProgram, runCommand } from "../commands.js";
import { NodeError } from "../errors.js";
import { Egress, machineOutward, type Outward } from "./egress.js";
import { Guards } from "./guard.js";
import { attachScript, endHolder, outsideName, runningHolder, startHolder, userNetworkPlan } from "./holder.js";
import { AddressLeases } from "./leases.js";
import { listenDirectly } from "./sockets.js";
import type { PodAddress, PodNetwork } from "./types.js";

export interface UserNetworkOptions {
  /** The platform's data directory, or a folder in it. */
  readonly dataDir: string;
  readonly log: Logger;
  /** Where pods' connections to elsewhere are made; default: the machine's network. */
  readonly outward?: Outward;
}

const plan = userNetworkPlan;
const firstAddress = "198.18.0.2";
const lastAddress = "198.18.127.254";

/** The file that describes the network of a data directory to whoever connects to its pods. */
export function networkFileOf(dataDir: string): string {
  return join(dataDir, "pod-network.json");
}

/** Whether a data directory was used with this network before. */
export function hasUserNetwork(dataDir: string): boolean {
  return existsSync(networkFileOf(dataDir));
}

/**
 * The network of a plain user: a bridge and a network namespace for each pod, as root has them, in namespaces of the user's
 * own. A small process holds those and outlives this one; sockets of this process are made there where an address is.
 */
export function userNetwork(options: UserNetworkOptions): PodNetwork {
  return new UserNetwork(options);
}

class UserNetwork implements PodNetwork {
  readonly mode = "user";
  readonly keepsApart = true;
  /** Nodes and `hostNetwork` pods are in the machine's own network. */
  readonly hostAddress = "127.0.0.1";
  readonly nameserver = plan.gateway;
  readonly #options: UserNetworkOptions;
  readonly #file: string;
  readonly #leases: AddressLeases;
  readonly #sockets: NetworkSockets;
  readonly #outside: SocketMaker;
  readonly #attached = new Map<string, Promise<PodAddress>>();
  readonly #guards = new Guards({
    range: () => ({ base: plan.range.split("/")[0] ?? "", prefix: plan.prefix, gateway: plan.gateway }),
    run: (podUid, lines) => this.#run(this.#enter(podUid), `ip -batch - <<END\n${lines.join("\n")}\nEND\n`),
    exists: (podUid) => this.#network !== undefined && existsSync(this.#namespacePath(podUid)),
  });
  #network: NamespaceNetwork | undefined;
  #egress: Egress | undefined;
  #claims: Promise<void> = Promise.resolve();
  #isRebuilt = false;

  constructor(options: UserNetworkOptions) {
    this.#options = options;
    this.#file = networkFileOf(options.dataDir);
    this.#leases = new AddressLeases(join(options.dataDir, "leases"));
    this.#sockets = new NetworkSockets(this.#file);
    this.#outside = new SocketMaker(() => this.#enter(outsideName));
  }

  async start(): Promise<void> {
    const { dataDir } = this.#options;
    const running = runningHolder(this.#folder);
    const live = liveNetwork(this.#file);
    if (live !== undefined && running?.pid === live.holder.pid) this.#network = live;
    else {
      // One that never came to stand, or stands for nobody.
      if (running !== undefined) endHolder(running);
      const holder = await startHolder(this.#folder, plan);
      this.#isRebuilt = true;
      this.#describe({ holder, ranges: [plan.range] });
    }
    await this.#leases.open(firstAddress, lastAddress);
    for (const name of readdirSync(this.#namespacePath(""))) {
      if (name !== outsideName && this.#leases.get(name) === undefined) await this.#removeNamespace(name);
    }
    const egress = new Egress({
      outside: this.#outside,
      inside: this.#sockets.maker,
      gateway: plan.gateway,
      outward: this.#options.outward ?? machineOutward,
      log: this.#options.log,
    });
    this.#egress = egress;
    await egress
      .start()
      .catch((error: unknown) =>
        this.#options.log.warn("pods cannot reach other machines", { dataDir, cause: messageOf(error) }),
      );
  }

  attach(podUid: string, ownerPath: string): Promise<PodAddress> {
    const known = this.#attached.get(podUid);
    if (known !== undefined && this.fault() === undefined) return known;
    const attaching = this.#attach(podUid, ownerPath);
    this.#attached.set(podUid, attaching);
    attaching.catch(() => this.#attached.delete(podUid));
    return attaching;
  }

  async detach(podUid: string): Promise<void> {
    await this.#removeNamespace(podUid);
    this.#guards.forget(podUid);
    await this.#leases.release(podUid);
  }

  guard(podUid: string, callers: readonly string[] | undefined): Promise<void> {
    return this.#guards.set(podUid, callers);
  }

  podAt(ip: string): string | undefined {
    return this.#leases.podAt(ip);
  }

  hasLost(podUid: string): boolean {
    return this.#isRebuilt && !this.#attached.has(podUid);
  }

  fault(): string | undefined {
    if (this.#network === undefined || isRunning(this.#network.holder)) return undefined;
    return "the process that holds the pod network was ended: stop Argosy and start it again";
  }

  claimRange(cidr: string): Promise<void> {
    const claim = this.#claims.then(async () => {
      const network = this.#live();
      if (network.ranges.includes(cidr)) return;
      await this.#run(enterHolder(network), `ip route replace local ${cidr} dev lo\n`);
      this.#describe({ ...network, ranges: [...network.ranges, cidr] });
    });
    this.#claims = claim.catch(() => undefined);
    return claim;
  }

  readonly connect = (host: string, port: number): Promise<Socket> => this.#sockets.connect(host, port);

  listen(server: Server, ip: string, port: number): Promise<void> {
    return this.#sockets.covers(ip) ? this.#sockets.listen(server, ip, port) : listenDirectly(server, ip, port);
  }

  async close(options: { readonly keepPods: boolean }): Promise<void> {
    this.#egress?.close();
    this.#egress = undefined;
    this.#sockets.close();
    this.#outside.close();
    if (options.keepPods || this.#network === undefined) return;
    // Leases stay: a pod that is started again has the address that its record names.
    endHolder(this.#network.holder);
    rmSync(this.#folder, { recursive: true, force: true });
    await this.#claims;
  }

  get #folder(): string {
    return join(this.#options.dataDir, "pod-network");
  }

  #describe(network: NamespaceNetwork): void {
    this.#network = network;
    writeNetworkFile(this.#file, network);
  }

  #live(): NamespaceNetwork {
    const fault = this.fault();
    if (this.#network === undefined || fault !== undefined) {
      throw new NodeError("NetworkFailed", fault ?? "the pod network was not started");
    }
    return this.#network;
  }

  async #attach(podUid: string, ownerPath: string): Promise<PodAddress> {
    const network = this.#live();
    const ip = await this.#leases.take(podUid, ownerPath);
    const address = { ip, enter: this.#enter(podUid) };
    if (existsSync(this.#namespacePath(podUid))) {
      await this.#guards.attached(podUid, false);
      return address;
    }
    const script = attachScript({ name: podUid, link: linkName(podUid), ip }, plan);
    await this.#run(enterHolder(network), script).catch(async (error: unknown) => {
      await this.#removeNamespace(podUid);
      throw error;
    });
    await this.#guards.attached(podUid, true);
    return address;
  }

  /** Removes a pod's link and namespace; either may be gone already. */
  async #removeNamespace(podUid: string): Promise<void> {
    this.#attached.delete(podUid);
    this.#guards.detached(podUid);
    if (this.#network === undefined || !existsSync(this.#namespacePath(podUid))) return;
    const script = `ip -force -batch - <<END\nlink del ${linkName(podUid)}\nnetns del ${podUid}\nEND\n`;
    await runCommand(requireProgram("nsenter"), shellIn(enterHolder(this.#network)), script);
  }

  #namespacePath(name: string): string {
    return `/proc/${this.#network?.holder.pid ?? 0}/root/run/netns/${name}`;
  }

  #enter(name: string): string[] {
    return enterHolder(this.#live(), this.#namespacePath(name));
  }

  async #run(enter: readonly string[], script: string): Promise<string> {
    const result = await runCommand(requireProgram("nsenter"), shellIn(enter), script);
    if (result.code === 0) return result.stdout;
    throw new NodeError("NetworkFailed", `the pod network: ${result.stderr.trim() || `exit code ${result.code}`}`);
  }
}

/** Arguments of nsenter for a shell that sees the holder's files too, where the namespaces have their names. */
function shellIn(enter: readonly string[]): string[] {
  return [...enter.slice(1, -1), "--mount", "--", "/bin/sh", "-s"];
}

/** At most 15 characters: the kernel's limit for interfaces. */
function linkName(podUid: string): string {
  return `av${createHash("sha256").update(podUid).digest("hex").slice(0, 12)}`;
}
