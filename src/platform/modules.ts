import { networkInterfaces } from "node:os";
import { networkFileOf } from "../cluster/node/index.js";
import { type GatewayDriver, gatewayDriver } from "../dataplane/gateway/index.js";
import type { Transport } from "../kernel/client/index.js";
import type { ClusterAccess } from "../kernel/control/types.js";
import type { Module } from "../kernel/module/types.js";
import { createFleetModule } from "../modules/fleet/index.js";
import { createHttpProbe, createServingModule, prometheusQuery } from "../modules/serving/index.js";
import { createTrackingModule } from "../modules/tracking/index.js";
import type { Surroundings } from "./access.js";
import { programFile } from "./images.js";
import type { Layout } from "./layout.js";
import type { Stores } from "./stores.js";

/** Where the models of one cluster answer: below which domain, and where its ingress listens. */
export interface ClusterPlace {
  readonly name: string;
  readonly domain: string;
  readonly host: string;
  readonly port: number;
  /** Folder of its nodes in which pods share downloaded models; absent: each downloads for itself. */
  readonly models?: string;
  /** Models are called from their own namespace and by the gateway alone: its network carries that out. */
  readonly isIsolated?: boolean;
}

export interface ModuleSurroundings extends Surroundings {
  readonly gateway: GatewayDriver;
  readonly ledger: Stores["ledger"];
  /** Base URL of the Prometheus that scaling by PromQL asks; absent: there is none. */
  readonly prometheusUrl?: string;
  /** Where the gateway takes the requests for all members. */
  readonly head: Pick<ClusterPlace, "host" | "port">;
  /** The clusters that have an ingress. */
  readonly places: readonly ClusterPlace[];
  /** A member with the hub's identity there. */
  readonly members: (name: string) => ClusterAccess | undefined;
  /** A way into a member by which the hub speaks for others; default: as it delivers. */
  readonly speakers?: (name: string) => Transport | undefined;
  /** Whether a real Karmada delivers Works and watches members. */
  readonly hasKarmada?: boolean;
}

/** The control plane's side of the gateway of a data directory, which runs as a process of its own. `nodes` is the data directory of the nodes whose pods it reaches. */
export function platformGateway(
  layout: Layout,
  { clock, log }: Surroundings,
  nodes: Pick<Layout, "root"> = layout,
): GatewayDriver {
  return gatewayDriver({
    directory: layout.gateway,
    clock,
    log: log.with({ part: "gateway" }),
    supervise: {
      command: [
        process.execPath,
        programFile("dist", "src", "dataplane", "gateway", "main.js"),
        "--directory",
        layout.gateway,
        "--pod-network",
        networkFileOf(nodes.root),
      ],
    },
  });
}

/** The modules that have controllers; with `createTrackingModule` in `up`, the only places that name modules. */
export function controllerModules(surroundings: ModuleSurroundings): readonly Module[] {
  const { ledger, gateway, head, places, members, speakers } = surroundings;
  const prometheusUrl = surroundings.prometheusUrl ?? process.env["ARGOSY_PROMETHEUS_URL"];
  const placeOf = (cluster: string): ClusterPlace | undefined => places.find(({ name }) => name === cluster);
  const fleet = createFleetModule({
    ...(surroundings.hasKarmada === true ? { engine: "karmada" as const } : {}),
    members,
    ...(speakers === undefined ? {} : { speakers }),
    gateway,
    ledger,
    headListener: { name: "head", ...head },
    // As 8443 is to 8080.
    headTlsListener: { name: "head-tls", host: head.host, port: head.port === 0 ? 0 : head.port + 363 },
    ingressListener: (cluster) => {
      const place = placeOf(cluster);
      return place === undefined
        ? undefined
        : { name: `ingress-${cluster}`, host: place.host, port: place.port, trustForwarded: true };
    },
    insideAddress: (cluster) => insideAddress(placeOf(cluster)?.host),
  });
  const serving = createServingModule({
    ledger,
    probe: createHttpProbe((host) => {
      const place = places.find(({ domain }) => host.endsWith(`.${domain}`));
      return place === undefined ? undefined : `${reachable(place.host)}:${place.port}`;
    }),
    address: ({ name }) => {
      const place = placeOf(name);
      return { domain: place?.domain ?? `${name}.argosy.localhost`, port: place?.port ?? 80 };
    },
    cacheHostPath: ({ name }) => placeOf(name)?.models,
    isolates: ({ name }) => placeOf(name)?.isIsolated === true,
    loads: gateway,
    counts: gateway,
    ...(prometheusUrl === undefined || prometheusUrl === "" ? {} : { query: prometheusQuery(prometheusUrl) }),
  });
  return [fleet, serving];
}

/** By which address pods reach what listens on a host: of all of a machine's (or a pod's) own addresses, the first one that is not its loopback. */
function insideAddress(host: string | undefined): string | undefined {
  if (host !== "0.0.0.0" && host !== "::") return host === "localhost" ? "127.0.0.1" : host;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ internal, family }) => !internal && family === (host === "::" ? "IPv6" : "IPv4"))?.address;
}

/** Every module of a platform with stores of its own. */
export async function allModules(
  surroundings: ModuleSurroundings,
  { records, blobs }: Pick<Stores, "records" | "blobs">,
): Promise<readonly Module[]> {
  const { clock, random } = surroundings;
  return [...controllerModules(surroundings), await createTrackingModule({ records, blobs, clock, random })];
}

/** An address of this machine that reaches a listener of its own: one that listens everywhere is reached by the loopback. */
function reachable(host: string): string {
  return host === "0.0.0.0" ? "127.0.0.1" : host;
}
