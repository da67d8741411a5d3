import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../../../kernel/log/index.js";
import { connectDirectly } from "../../../kernel/netns/index.js";
import { requireProgram, runCommand } from "../commands.js";
import { NodeError } from "../errors.js";
import { Guards } from "./guard.js";
import { runIp } from "./ip.js";
import { AddressLeases, addressToNumber, numberToAddress } from "./leases.js";
import { listenDirectly } from "./sockets.js";
import type { PodAddress, PodNetwork } from "./types.js";
import { letOut, removeStaleRules } from "./way-out.js";

export interface BridgeNetworkOptions {
  /** The platform's data directory, or a folder in it. */
  readonly dataDir: string;
  readonly log: Logger;
}

/** 198.18.0.0/16 (RFC 2544, for benchmarks: collides with nothing) is cut into /21 pieces, one for a data directory. */
const rangeStart = addressToNumber("198.18.0.0");
const pieceSize = 2048;
const pieces = 32;
const namespaceFolder = "/run/netns";

/** Every address that the machine may have in a pod network of its own. */
export function podHostAddresses(): string[] {
  return Array.from({ length: pieces }, (_, piece) => numberToAddress(rangeStart + piece * pieceSize + 1));
}

/** The network as root: a bridge, and for each pod a network namespace with a veth pair and an address. */
export function bridgeNetwork(options: BridgeNetworkOptions): PodNetwork {
  return new BridgeNetwork(options);
}

class BridgeNetwork implements PodNetwork {
  readonly mode = "root";
  readonly keepsApart = true;
  readonly hasLost = (): boolean => false;
  readonly connect = connectDirectly;
  readonly listen = listenDirectly;
  readonly #options: BridgeNetworkOptions;
  readonly #hash: string;
  readonly #bridge: string;
  readonly #leases: AddressLeases;
  readonly #ranges = new Set<string>();
  readonly #attached = new Map<string, Promise<PodAddress>>();
  readonly #guards = new Guards({
    range: () => ({ base: numberToAddress(this.#first), prefix: 21, gateway: this.hostAddress }),
    run: (podUid, lines) => runIp({ lines, namespace: this.#namespaceName(podUid) }),
    exists: (podUid) => existsSync(join(namespaceFolder, this.#namespaceName(podUid))),
  });
  #first = 0;

  constructor(options: BridgeNetworkOptions) {
    this.#options = options;
    this.#hash = createHash("sha256").update(options.dataDir).digest("hex").slice(0, 6);
    this.#bridge = `argosy-${this.#hash}`;
    this.#leases = new AddressLeases(join(options.dataDir, "leases"));
  }

  get hostAddress(): string {
    return numberToAddress(this.#first + 1);
  }

  async start(): Promise<void> {
    await mkdir(this.#options.dataDir, { recursive: true });
    const links = await readLinks();
    await removeAbandoned(links, this.#options.log);
    this.#first = await this.#choosePiece(links);
    await this.#leases.open(numberToAddress(this.#first + 2), numberToAddress(this.#first + pieceSize - 2));
    const own = links.find((link) => link.name === this.#bridge);
    if (own === undefined) await this.#makeBridge();
    // One of an earlier version follows its pods.
    else await runIp({ lines: [`link set ${this.#bridge} address ${own.address}`] });
    await this.#removeLeftovers();
    await removeStaleClaims();
    await removeStaleRules();
    const cause = await letOut({ bridge: this.#bridge, subnet: this.#subnet });
    if (cause !== undefined) this.#options.log.warn("pods cannot reach other machines", { cause });
  }

  attach(podUid: string, ownerPath: string): Promise<PodAddress> {
    const known = this.#attached.get(podUid);
    if (known !== undefined) return known;
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

  async #removeNamespace(podUid: string): Promise<void> {
    this.#attached.delete(podUid);
    this.#guards.detached(podUid);
    const name = this.#namespaceName(podUid);
    if (!existsSync(join(namespaceFolder, name))) return;
    await runCommand(requireProgram("ip"), ["link", "del", this.#linkName(podUid)]);
    await runIp({ lines: [`netns del ${name}`] });
  }

  async claimRange(cidr: string): Promise<void> {
    if (this.#ranges.has(cidr)) return;
    this.#ranges.add(cidr);
    await runIp({ lines: [`route replace ${this.#claimOf(cidr)}`] });
  }

  /** A route of this data directory alone: another one may claim the same range, and give it up while this one has it. */
  #claimOf(cidr: string): string {
    return `local ${cidr} dev lo metric ${claimMetric(this.#hash)}`;
  }

  async close(options: { readonly keepPods: boolean }): Promise<void> {
    if (options.keepPods) return;
    // Leases stay: a pod that is started again has the address that its record names.
    for (const podUid of this.#leases.pods()) await this.#removeNamespace(podUid);
    for (const cidr of this.#ranges)
      await runCommand(requireProgram("ip"), ["route", "del", ...this.#claimOf(cidr).split(" ")]);
    await runCommand(requireProgram("ip"), ["link", "del", this.#bridge]);
    await removeStaleRules();
  }

  get #subnet(): string {
    return `${numberToAddress(this.#first)}/21`;
  }

  #namespaceName(podUid: string): string {
    return `${this.#bridge}-${podUid}`;
  }

  /** At most 15 characters: the kernel's limit for interfaces. */
  #linkName(podUid: string): string {
    return `av${this.#hash.slice(0, 4)}${createHash("sha256").update(podUid).digest("hex").slice(0, 8)}`;
  }

  async #attach(podUid: string, ownerPath: string): Promise<PodAddress> {
    const ip = await this.#leases.take(podUid, ownerPath);
    const name = this.#namespaceName(podUid);
    const namespacePath = join(namespaceFolder, name);
    const link = this.#linkName(podUid);
    const enter = [requireProgram("nsenter"), `--net=${namespacePath}`, "--"];
    const address = { ip, enter, namespace: namespacePath };
    if (existsSync(namespacePath)) {
      if (existsSync(`/sys/class/net/${link}`)) {
        await this.#guards.attached(podUid, false);
        return address;
      }
      await removeNamespace(name, link);
    }
    const outside = [
      `netns add ${name}`,
      `link add ${link} type veth peer name eth0 netns ${name}`,
      `link set ${link} master ${this.#bridge} up`,
    ];
    const inside = [
      "link set lo up",
      ...(existsSync("/proc/net/if_inet6") ? ["link set dev eth0 addrgenmode none"] : []),
      `addr add ${ip}/21 dev eth0`,
      "link set eth0 up",
      `route add default via ${this.hostAddress}`,
    ];
    await runIp({ lines: outside }, { lines: inside, namespace: name });
    await this.#guards.attached(podUid, true);
    return address;
  }

  async #choosePiece(links: readonly LinkInfo[]): Promise<number> {
    const file = join(this.#options.dataDir, "network.json");
    const saved = existsSync(file) ? Number(/\d+/.exec(await readFile(file, "utf8"))?.[0]) : undefined;
    const wantedPiece = saved ?? Number.parseInt(this.#hash, 16);
    const taken = new Set(links.filter((link) => link.name !== this.#bridge).flatMap((link) => link.addresses));
    for (let step = 0; step < pieces; step += 1) {
      const piece = (wantedPiece + step) % pieces;
      const first = rangeStart + piece * pieceSize;
      if (taken.has(numberToAddress(first + 1))) continue;
      await writeFile(file, `${JSON.stringify({ piece })}\n`);
      return first;
    }
    throw new NodeError("NoAddress", `all ${pieces} pieces of 198.18.0.0/16 are used by other bridges (ip addr)`);
  }

  async #makeBridge(): Promise<void> {
    // Without a hardware address of its own it has the lowest of its pods': pods that know another one do not reach the machine for a minute.
    const hardware = ["02:61", ...(this.#hash.match(/../g) ?? []), "01"].join(":");
    await runIp({
      lines: [
        `link add ${this.#bridge} address ${hardware} type bridge forward_delay 0 stp_state 0`,
        `link set ${this.#bridge} alias ${this.#options.dataDir}`,
        `addr add ${this.hostAddress}/21 dev ${this.#bridge}`,
        `link set ${this.#bridge} up`,
      ],
    });
  }

  /** Namespaces of this directory whose pod has no lease any more. */
  async #removeLeftovers(): Promise<void> {
    const prefix = `${this.#bridge}-`;
    for (const name of await namespaceNames()) {
      if (!name.startsWith(prefix) || this.#leases.get(name.slice(prefix.length)) !== undefined) continue;
      await removeNamespace(name, this.#linkName(name.slice(prefix.length)));
    }
  }
}

/** Removes a pod's link and namespace; either may be gone already. */
async function removeNamespace(name: string, link: string): Promise<void> {
  await runCommand(requireProgram("ip"), ["-force", "-batch", "-"], `link del ${link}\nnetns del ${name}\n`);
}

/** Tells the claims of data directories apart; never 0. */
const claimMetric = (hash: string): number => 1 + Number.parseInt(hash, 16);

/** Takes away claims of bridges that are gone: nothing answers at their addresses, and another data directory's Service may have one. */
async function removeStaleClaims(): Promise<void> {
  const { stdout } = await runCommand(requireProgram("ip"), ["route", "show", "table", "local"]);
  for (const [line, metric] of stdout.matchAll(/^local (?:198\.19|24\d)\.\S+ dev lo .*metric (\d+)/gm)) {
    const hash = (Number(metric) - 1).toString(16).padStart(6, "0");
    if (!existsSync(`/sys/class/net/argosy-${hash}`))
      await runCommand(requireProgram("ip"), ["route", "del", ...line.trim().split(/\s+/)]);
  }
}

interface LinkInfo {
  readonly name: string;
  readonly address: string;
  readonly alias: string;
  readonly addresses: readonly string[];
}

function textField(value: unknown, name: string): string {
  const found = field(value, name);
  return typeof found === "string" ? found : "";
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && name in value
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined;
}

async function readLinks(): Promise<LinkInfo[]> {
  const result = await runCommand(requireProgram("ip"), ["-j", "-d", "addr", "show"]);
  const parsed: unknown = result.code === 0 ? JSON.parse(result.stdout) : [];
  if (!Array.isArray(parsed)) return [];
  return parsed.map((link: unknown) => {
    const info = field(link, "addr_info");
    return {
      name: textField(link, "ifname"),
      address: textField(link, "address"),
      alias: textField(link, "ifalias"),
      addresses: Array.isArray(info) ? info.map((each: unknown) => textField(each, "local")) : [],
    };
  });
}

async function namespaceNames(): Promise<string[]> {
  return existsSync(namespaceFolder) ? readdir(namespaceFolder) : [];
}

/** Bridges whose data directory is gone belong to nobody: they go, with their namespaces. */
async function removeAbandoned(links: readonly LinkInfo[], log: Logger): Promise<void> {
  const abandoned = links.filter(
    (link) => /^argosy-[0-9a-f]{6}$/.test(link.name) && link.alias !== "" && !existsSync(link.alias),
  );
  for (const link of abandoned) {
    log.info("removing the network of a data directory that is gone", { bridge: link.name, dataDir: link.alias });
    for (const name of (await namespaceNames()).filter((each) => each.startsWith(`${link.name}-`))) {
      await runCommand(requireProgram("ip"), ["netns", "del", name]);
    }
    await runCommand(requireProgram("ip"), ["link", "del", link.name]);
  }
}
