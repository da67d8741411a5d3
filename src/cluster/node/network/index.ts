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

/** Where pods have their addresses. */
export type PodNetworkKind = "bridge" | "user" | "loopback";

/** The network that fits what a machine can do. */
export function podNetworkKind({ mode, hasNetworkNamespace }: Isolation): PodNetworkKind {
  if (mode === "root") return "bridge";
  return hasNetworkNamespace ? "user" : "loopback";
}

/**
 * What holds in a data directory, of what the machine can do: one that was used with loopback addresses before keeps them,
 * since addresses of its pods are written down in it.
 */
export function isolationIn(dataDir: string, isolation: Isolation): Isolation {
  const isKept = hasLoopbackNetwork(dataDir) && !hasUserNetwork(dataDir);
  if (podNetworkKind(isolation) !== "user" || !isKept) return isolation;
  const reason = "this data directory was made with a loopback address per pod, and keeps them";
  const remedy = "start over for a network namespace per pod (argosy up --fresh)";
  return {
    ...isolation,
    hasNetworkNamespace: false,
    capabilities: isolation.capabilities.map((each) =>
      each.capability === "network-namespace"
        ? { ...each, available: false, reason, remedy }
        : each.capability === "egress"
          ? { ...each, reason: "pods use the machine's own network" }
          : each,
    ),
  };
}

/** The network that fits the machine; call `start` before the first agent. */
export function createPodNetwork(options: {
  readonly dataDir: string;
  readonly isolation: Isolation;
  readonly log: Logger;
}): PodNetwork {
  switch (podNetworkKind(options.isolation)) {
    case "bridge":
      return bridgeNetwork(options);
    case "user":
      return userNetwork(options);
    case "loopback":
      return loopbackNetwork(options);
  }
}
