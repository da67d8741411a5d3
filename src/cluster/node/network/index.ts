/**
 * Addresses of pods on this machine. In: what the machine can do. Out: one network a data directory: a bridge as root,
 * loopback addresses as a plain user. May use: iproute2.
 */
import type { Logger } from "../../../kernel/log/index.js";
import type { Isolation } from "../isolation/detect.js";
import { bridgeNetwork } from "./bridge.js";
import { loopbackNetwork } from "./loopback.js";
import type { PodNetwork } from "./types.js";

export { podHostAddresses } from "./bridge.js";
export type { PodAddress, PodNetwork } from "./types.js";

/** The network that fits the machine; call `start` before the first agent. */
export function createPodNetwork(options: {
  readonly dataDir: string;
  readonly isolation: Isolation;
  readonly log: Logger;
}): PodNetwork {
  return options.isolation.mode === "root" ? bridgeNetwork(options) : loopbackNetwork(options);
}
