import { type GatewayDriver, gatewayDriver } from "../dataplane/gateway/index.js";
import type { ClusterAccess } from "../kernel/control/types.js";
import type { Module } from "../kernel/module/types.js";
import { createFleetModule } from "../modules/fleet/index.js";
import { createHttpProbe, createServingModule } from "../modules/serving/index.js";
import { createTrackingModule } from "../modules/tracking/index.js";
import type { Surroundings } from "./cluster.js";
import { programFile } from "./images.js";
import type { Layout } from "./layout.js";
import type { ClusterPlan } from "./plan.js";
import type { Stores } from "./stores.js";

export interface ModuleSurroundings extends Surroundings {
  readonly layout: Layout;
  readonly stores: Stores;
  readonly plans: readonly ClusterPlan[];
  /** A member with the hub's identity there. */
  readonly members: (name: string) => ClusterAccess | undefined;
}

/** The modules of one Argosy and the gateway that they share. */
export interface Modules {
  readonly all: readonly Module[];
  readonly gateway: GatewayDriver;
}

/** The only place that names all modules. */
export async function createModules(surroundings: ModuleSurroundings): Promise<Modules> {
  const { clock, random, log, stores, plans, layout, members } = surroundings;
  const { ledger, records, blobs } = stores;
  const gateway = gatewayDriver({
    directory: layout.gateway,
    clock,
    log: log.with({ part: "gateway" }),
    supervise: {
      command: [
        process.execPath,
        programFile("dist", "src", "dataplane", "gateway", "main.js"),
        "--directory",
        layout.gateway,
      ],
    },
  });
  const planOf = (cluster: string): ClusterPlan | undefined => plans.find((plan) => plan.name === cluster);
  const hub = plans[0];
  const fleet = createFleetModule({
    members,
    gateway,
    ledger,
    headListener: { name: "head", host: "127.0.0.1", port: hub?.ingressPort ?? 0 },
    ingressListener: (cluster) => {
      const plan = planOf(cluster);
      return plan === undefined || plan.role === "hub"
        ? undefined
        : { name: `ingress-${plan.name}`, host: "127.0.0.1", port: plan.ingressPort, trustForwarded: true };
    },
  });
  const serving = createServingModule({
    ledger,
    probe: createHttpProbe((host) => {
      const plan = plans.find(({ domain }) => host.endsWith(`.${domain}`));
      return plan === undefined ? undefined : `127.0.0.1:${plan.ingressPort}`;
    }),
    address: (cluster) => {
      const plan = planOf(cluster.name);
      return { domain: plan?.domain ?? `${cluster.name}.argosy.localhost`, port: plan?.ingressPort ?? 80 };
    },
  });
  return { all: [fleet, serving, await createTrackingModule({ records, blobs, clock, random })], gateway };
}
