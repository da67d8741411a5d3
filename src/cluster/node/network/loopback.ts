import { createHash } from "node:crypto";
import { join } from "node:path";
import { AddressLeases, numberToAddress } from "./leases.js";
import type { PodAddress, PodNetwork } from "./types.js";

/** 127.64.0.0/10 is cut into pieces of this many addresses, one for a data directory. */
const pieceSize = 4096;
const rangeStart = 127 * 2 ** 24 + 64 * 2 ** 16;

/**
 * The network of a plain user: every pod has a loopback address of its own and the machine's ports. The piece of
 * 127.64.0.0/10 is chosen by hash of the directory; two directories on one piece only share numbers, ports still tell
 * them apart.
 */
export function loopbackNetwork(options: { readonly dataDir: string }): PodNetwork {
  const leases = new AddressLeases(join(options.dataDir, "leases"));
  // The upper half of the range belongs to ClusterIPs (127.96.0.0/11).
  const pieces = 2 ** 21 / pieceSize;
  const piece = createHash("sha256").update(options.dataDir).digest().readUInt32BE(0) % pieces;
  const first = rangeStart + piece * pieceSize;
  return {
    mode: "user",
    hostAddress: "127.0.0.1",
    async start() {
      await leases.open(numberToAddress(first + 2), numberToAddress(first + pieceSize - 2));
    },
    async attach(podUid, ownerPath): Promise<PodAddress> {
      return { ip: await leases.take(podUid, ownerPath) };
    },
    detach: (podUid) => leases.release(podUid),
    claimRange: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
