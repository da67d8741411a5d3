import type { GatewayDriver } from "../../src/dataplane/gateway/index.js";
import { ArgosyError } from "../../src/kernel/errors/index.js";

/** A gateway without a process: the fleet's controllers compute, nothing listens. */
export const noGateway: GatewayDriver = {
  start: async () => {},
  apply: async () => {},
  open: async () => {},
  keep: async () => "",
  observe: async () => {
    throw new ArgosyError("Simulated", "there is no gateway in the simulation");
  },
  lastState: undefined,
  partOf: () => undefined,
  onActivators: () => () => {},
  onState: () => () => {},
  process: { running: true, pid: 1, adopted: false, restarts: 0, reason: "" },
  close: async () => {},
};
