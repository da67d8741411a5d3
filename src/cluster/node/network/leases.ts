import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { NodeError } from "../errors.js";

/** `a.b.c.d` as a number. */
export function addressToNumber(address: string): number {
  return address.split(".").reduce((value, part) => value * 256 + Number(part), 0);
}

/** The number as `a.b.c.d`. */
export function numberToAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

interface Lease {
  readonly ip: string;
  readonly ownerPath: string;
}

/** Addresses given to pods, one small file each, so that they survive the agent. */
export class AddressLeases {
  readonly #folder: string;
  readonly #byPod = new Map<string, Lease>();
  readonly #used = new Set<number>();
  readonly #byAddress = new Map<string, string>();
  #first = 0;
  #last = 0;
  #next = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Reads what is there; leases whose owner is gone are returned, and dropped. */
  async open(firstAddress: string, lastAddress: string): Promise<string[]> {
    this.#first = addressToNumber(firstAddress);
    this.#last = addressToNumber(lastAddress);
    this.#next = this.#first;
    await mkdir(this.#folder, { recursive: true });
    const stale: string[] = [];
    for (const podUid of await readdir(this.#folder)) {
      const [ip = "", ownerPath = ""] = (await readFile(join(this.#folder, podUid), "utf8")).trim().split("\n");
      const value = addressToNumber(ip);
      if (existsSync(ownerPath) && value >= this.#first && value <= this.#last) this.#keep(podUid, { ip, ownerPath });
      else stale.push(podUid);
    }
    for (const podUid of stale) await rm(join(this.#folder, podUid), { force: true });
    return stale;
  }

  get(podUid: string): string | undefined {
    return this.#byPod.get(podUid)?.ip;
  }

  /** The pod that has an address. */
  podAt(ip: string): string | undefined {
    return this.#byAddress.get(ip);
  }

  pods(): string[] {
    return [...this.#byPod.keys()];
  }

  /** The pod's address, a new one if it has none. Addresses are used in turn, so an old one comes back late. */
  async take(podUid: string, ownerPath: string): Promise<string> {
    const known = this.#byPod.get(podUid);
    if (known !== undefined) return known.ip;
    const ip = numberToAddress(this.#free());
    this.#keep(podUid, { ip, ownerPath });
    await writeFile(join(this.#folder, podUid), `${ip}\n${ownerPath}\n`);
    return ip;
  }

  async release(podUid: string): Promise<void> {
    const lease = this.#byPod.get(podUid);
    if (lease === undefined) return;
    this.#byPod.delete(podUid);
    this.#byAddress.delete(lease.ip);
    this.#used.delete(addressToNumber(lease.ip));
    await rm(join(this.#folder, podUid), { force: true });
  }

  #keep(podUid: string, lease: Lease): void {
    this.#byPod.set(podUid, lease);
    this.#byAddress.set(lease.ip, podUid);
    this.#used.add(addressToNumber(lease.ip));
    this.#next = Math.max(this.#next, addressToNumber(lease.ip) + 1);
  }

  #free(): number {
    const count = this.#last - this.#first + 1;
    for (let step = 0; step < count; step += 1) {
      const candidate = this.#first + ((this.#next - this.#first + step) % count);
      if (!this.#used.has(candidate)) {
        this.#next = candidate + 1;
        return candidate;
      }
    }
    throw new NodeError("NoAddress", `all ${count} pod addresses of this machine are in use`);
  }
}
