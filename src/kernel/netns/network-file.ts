import { readFileSync, statSync } from "node:fs";
import { isRunning, type ProcessMark, replaceFileSync } from "../files/index.js";

/** A network in a namespace of a user's own, as it stands in a file. */
export interface NamespaceNetwork {
  /** The process whose namespaces it lives in. */
  readonly holder: ProcessMark;
  /** Addresses that are reached there and nowhere else, `198.18.0.0/16`. */
  readonly ranges: readonly string[];
}

/** Writes the file as a whole. */
export function writeNetworkFile(file: string, network: NamespaceNetwork): void {
  replaceFileSync(file, `${JSON.stringify(network)}\n`);
}

/** What stands in the file; `undefined` when there is none, or another thing. */
export function readNetworkFile(file: string): NamespaceNetwork | undefined {
  try {
    return parseNetwork(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return undefined;
  }
}

/** The network while its holder runs. */
export function liveNetwork(file: string): NamespaceNetwork | undefined {
  const network = readNetworkFile(file);
  return network !== undefined && isRunning(network.holder) ? network : undefined;
}

/** The command that runs another one as root of the holder's user namespace, in its network. */
export function enterHolder({ holder }: NamespaceNetwork, namespacePath?: string): string[] {
  const net = namespacePath === undefined ? "--net" : `--net=${namespacePath}`;
  return ["nsenter", "-t", String(holder.pid), "--user", "--preserve-credentials", net, "--"];
}

/** Reads the file again only when it changed. */
export class NetworkFile {
  readonly #path: string;
  #stamp = "";
  #network: NamespaceNetwork | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  get network(): NamespaceNetwork | undefined {
    const stamp = stampOf(this.#path);
    if (stamp !== this.#stamp) {
      this.#stamp = stamp;
      this.#network = stamp === "" ? undefined : readNetworkFile(this.#path);
    }
    return this.#network;
  }

  /** Whether the address is reached in the namespace only. */
  covers(host: string): boolean {
    return this.network?.ranges.some((range) => isInRange(host, range)) === true;
  }
}

function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.mtimeMs} ${stat.ino}`;
}

/** Whether an IPv4 address lies in `a.b.c.d/n`; false for everything that is no such address. */
export function isInRange(host: string, range: string): boolean {
  const [base = "", bits = "32"] = range.split("/");
  const [value, start] = [numberOf(host), numberOf(base)];
  const size = 2 ** (32 - Number(bits));
  return value !== undefined && start !== undefined && Math.floor(value / size) === Math.floor(start / size);
}

function numberOf(address: string): number | undefined {
  if (!/^(\d{1,3}\.){3}\d{1,3}$/.test(address)) return undefined;
  return address.split(".").reduce((value, part) => value * 256 + Number(part), 0);
}

function parseNetwork(value: unknown): NamespaceNetwork | undefined {
  const fields = fieldsOf(value);
  const holder = fieldsOf(fields.get("holder"));
  const [pid, startTicks, ranges] = [holder.get("pid"), holder.get("startTicks"), fields.get("ranges")];
  if (typeof pid !== "number" || typeof startTicks !== "string" || !Array.isArray(ranges)) return undefined;
  return {
    holder: { pid, startTicks },
    ranges: ranges.flatMap((range: unknown) => (typeof range === "string" ? [range] : [])),
  };
}

function fieldsOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map<string, unknown>(typeof value === "object" && value !== null ? Object.entries(value) : []);
}
