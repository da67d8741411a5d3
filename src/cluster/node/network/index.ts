/**
 * Addresses of pods on this machine. In: what the machine can do. Out: one network a data directory: a bridge as root, a
 * bridge in namespaces of his own as a plain user, loopback addresses where he may have none; connections and listeners in it.
 * May use: iproute2, kernel netns.
 */
import type { Logger } from "../../../kernel/log/index.js";
import type { Isolation } from "../isolation/detect.js";
import { bridgeNetwork } from "./bridge.js";
import { hasLoopbackNetwork, loopbackNetwork } from "./loopback.js";
import type { PodNetwork } from "./types.js";
import { hasUserNetwork, userNetwork } from "./user.js";

export { podHostAddresses } from "./bridge.js";
export type { PodAddress, PodNetwork } from "./types.js";
export { networkFileOf } from "./user.js";

/** Where pods of a data directory have their addresses. */
export type PodNetworkKind = "bridge" | "user" | "loopback";

/**
 * The network that fits the machine and the directory: one that was used with loopback addresses before keeps them, since
 * addresses of its Services and pods are written down in it.
 */
export function podNetworkKind(dataDir: string, isolation: Isolation): PodNetworkKind {
  if (isolation.mode === "root") return "bridge";
  const isKept = hasLoopbackNetwork(dataDir) && !hasUserNetwork(dataDir);
  return isolation.hasNetworkNamespace && !isKept ? "user" : "loopback";
}

/** The network that fits the machine; call `start` before the first agent. */
export function createPodNetwork(options: {
  readonly dataDir: string;
  readonly isolation: Isolation;
  readonly log: Logger;
}): PodNetwork {
  switch (podNetworkKind(options.dataDir, options.isolation)) {
    case "bridge":
      return bridgeNetwork(options);
    case "user":
      return userNetwork(options);
    case "loopback":
      return loopbackNetwork(options);
  }
}
