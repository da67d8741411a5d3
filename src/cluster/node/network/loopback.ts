import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { connectDirectly } from "../../../kernel/netns/index.js";
import { AddressLeases, numberToAddress } from "./leases.js";
import { listenDirectly } from "./sockets.js";
import type { PodAddress, PodNetwork } from "./types.js";

/** 127.64.0.0/10 is cut into pieces of this many addresses, one for a data directory. */
const pieceSize = 4096;
const rangeStart = 127 * 2 ** 24 + 64 * 2 ** 16;

/** Whether a data directory was used before: its addresses are loopback ones when nothing else says what they are. */
export function hasLoopbackNetwork(dataDir: string): boolean {
  return existsSync(leasesOf(dataDir));
}

function leasesOf(dataDir: string): string {
  return join(dataDir, "leases");
}

/**
 * The network of a plain user who may have none of his own: every pod has a loopback address of its own and the machine's ports. The piece of
 * 127.64.0.0/10 is chosen by hash of the directory; two directories on one piece only share numbers, ports still tell
 * them apart.
 */
export function loopbackNetwork(options: { readonly dataDir: string }): PodNetwork {
  const leases = new AddressLeases(leasesOf(options.dataDir));
  // The upper half of the range belongs to ClusterIPs (127.96.0.0/11).
  const pieces = 2 ** 21 / pieceSize;
  const piece = createHash("sha256").update(options.dataDir).digest().readUInt32BE(0) % pieces;
  const first = rangeStart + piece * pieceSize;
  return {
    mode: "user",
    keepsApart: false,
    hostAddress: "127.0.0.1",
    async start() {
      await leases.open(numberToAddress(first + 2), numberToAddress(first + pieceSize - 2));
    },
    async attach(podUid, ownerPath): Promise<PodAddress> {
      return { ip: await leases.take(podUid, ownerPath), enter: [] };
    },
    hasLost: () => false,
    guard: () => Promise.resolve(),
    // Connections come from the machine's one loopback address, whoever made them.
    podAt: () => undefined,
    detach: (podUid) => leases.release(podUid),
    claimRange: () => Promise.resolve(),
    connect: connectDirectly,
    listen: listenDirectly,
    close: () => Promise.resolve(),
  };
}
