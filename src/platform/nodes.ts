import {
  createNodeAgent,
  createPolicyKeeper,
  createServiceProxy,
  type EndpointOptions,
  type Isolation,
  isolationRefusal,
  type PodNetwork,
  type PodNetworkKind,
  podNetworkKind,
} from "../cluster/node/index.js";
import type { ApiClient } from "../kernel/client/types.js";
import type { ClusterAccess } from "../kernel/control/types.js";
import { ArgosyError } from "../kernel/errors/index.js";
import { findCondition, NodeKind } from "../kernel/kinds/index.js";
import type { Surroundings } from "./access.js";
import type { Closers } from "./closers.js";
import type { EmbeddedCluster } from "./cluster.js";
import { nodeIdentity, serviceProxy, volumeProvisioner } from "./identities.js";
import { platformImages } from "./images.js";
import type { Layout } from "./layout.js";
import type { ClusterPlan } from "./plan.js";
import { endPods } from "./remains.js";
import { lastRuntime, type NodeRuntime, noteRuntime, openRuntimes, type Runtimes } from "./runtime.js";
import { productVersion } from "./version.js";

/** One node of this machine, in any cluster. */
export interface NodeInput extends Surroundings {
  readonly name: string;
  /** With the node's identity. */
  readonly cluster: ClusterAccess;
  /** May make volumes and bind claims; absent: the node's own identity may. */
  readonly provisioner?: ApiClient;
  readonly layout: Layout;
  readonly isolation: Isolation;
  readonly network: PodNetwork;
  readonly runtimes: Runtimes;
  /** Absent: no logs, exec and port-forward through the API. */
  readonly endpoint?: EndpointOptions;
  readonly labels?: Readonly<Record<string, string>>;
  readonly closers: Closers;
  readonly ending: { readonly keepPods: boolean };
}

/** Starts a node that runs pods on this machine: the images and folders are those of its data directory. */
export async function startNode(input: NodeInput): Promise<void> {
  const { name, cluster, provisioner, layout, isolation, network, endpoint, closers, ending, clock, random } = input;
  const dataDir = layout.node(cluster.name, name);
  const hiddenPaths = [layout.root];
  const log = input.log.with({ cluster: cluster.name, node: name });
  const agent = createNodeAgent({
    name,
    cluster,
    ...(provisioner === undefined ? {} : { provisioner }),
    clock,
    random,
    log,
    dataDir,
    runtime: input.runtimes.make({ dataDir, log, network, hiddenPaths }),
    images: platformImages(layout),
    network,
    isolation,
    labels: input.labels ?? {},
    hiddenPaths,
    sharedPaths: [layout.models(cluster.name)],
    version: `v${(await productVersion()).argosy}`,
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  await agent.start();
  closers.add(() => agent.close({ keepPods: ending.keepPods }));
}

export interface ProxyInput extends Surroundings {
  readonly cluster: ClusterAccess;
  readonly network: PodNetwork;
  /** All ClusterIPs of the cluster; absent: they become this machine's one by one. */
  readonly serviceCidrs?: readonly string[];
  readonly closers: Closers;
}

/** Makes the ClusterIPs and node ports of one cluster answer on this machine, to whom its NetworkPolicies let in. */
export async function startServiceProxy(input: ProxyInput): Promise<void> {
  const { cluster, network, serviceCidrs, clock, random, closers } = input;
  const log = input.log.with({ cluster: cluster.name });
  const keeper = createPolicyKeeper({ cluster, network, clock, random, log });
  await keeper.start();
  closers.add(() => keeper.close());
  const proxy = createServiceProxy({
    cluster,
    network,
    refusal: (from, to, service) => keeper.refusal(from, to, service),
    ...(serviceCidrs === undefined ? {} : { serviceCidrs }),
    clock,
    random,
    log,
  });
  await proxy.start();
  closers.add(() => proxy.close());
}

/** Starts the network that the pods of a data directory share. */
export async function startPodNetwork(
  network: PodNetwork,
  { closers, ending }: Pick<NodeInput, "closers" | "ending">,
): Promise<void> {
  await network.start();
  closers.add(() => network.close({ keepPods: ending.keepPods }));
}

/** Opens the runtime that is wanted, else that of the last start; what another one left running is ended first. */
export async function startRuntimes(
  wanted: NodeRuntime | undefined,
  input: Pick<NodeInput, "layout" | "isolation" | "closers" | "ending" | "clock" | "log">,
): Promise<Runtimes> {
  const { layout, closers, ending } = input;
  const last = await lastRuntime(layout);
  const name = wanted ?? last;
  const runtimes = await openRuntimes(name, input);
  closers.add(() => runtimes.close({ keepPods: ending.keepPods }));
  if (name !== last) await endPods(layout, last);
  await noteRuntime(layout, name);
  return runtimes;
}

export interface NodesInput extends Surroundings {
  readonly layout: Layout;
  readonly isolation: Isolation;
  /** Not started yet. */
  readonly network: PodNetwork;
  /** Absent: as at the last start. */
  readonly runtime?: NodeRuntime;
  readonly members: readonly { readonly plan: ClusterPlan; readonly cluster: EmbeddedCluster }[];
  readonly closers: Closers;
  readonly ending: { readonly keepPods: boolean };
  readonly detail: (text: string) => void;
}

const readyTimeoutMs = 30_000;
const isolationWords: Readonly<Record<PodNetworkKind, string>> = {
  bridge: "pods have namespaces and addresses of their own",
  user: "pods have namespaces and addresses of their own, without root",
  loopback:
    "pods share the machine's network, each with a loopback address: nothing keeps them from calling each other's models (argosy doctor says why)",
};

/** Refuses at once a machine that no pod could run on: no node of it would ever be Ready. Throws `ArgosyError`. */
export function requirePods(isolation: Isolation): void {
  const refusal = isolationRefusal(isolation);
  if (refusal === undefined) return;
  throw new ArgosyError(
    "NoPods",
    `${refusal} (\`argosy doctor\` shows all that was tried); without pods: \`argosy up --without nodes\``,
  );
}

/** Starts every member's nodes and waits until they are Ready. Returns one line for people. */
export async function startNodes(input: NodesInput): Promise<string> {
  const { isolation, members, network } = input;
  const runtimes = await startRuntimes(input.runtime, input);
  await startPodNetwork(network, input);
  for (const { plan, cluster } of members) {
    await startServiceProxy({
      ...input,
      cluster: cluster.as(serviceProxy),
      network,
      serviceCidrs: [plan.serviceCidr, plan.serviceOverflow],
    });
    for (const name of plan.nodes) {
      await startNode({
        ...input,
        name,
        cluster: cluster.as(nodeIdentity(name)),
        provisioner: cluster.as(volumeProvisioner).client,
        network,
        runtimes,
        labels: { "topology.kubernetes.io/region": plan.name },
        endpoint: {
          issueCertificate: (names) => cluster.server.issueServerCertificate(names),
          clientCaPem: cluster.server.caPem,
        },
      });
    }
  }
  await untilReady(input);
  const count = members.reduce((sum, { plan }) => sum + plan.nodes.length, 0);
  return `${count} nodes in ${members.length} members, ${isolationWords[podNetworkKind(isolation)]}${runtimes.name === "podman" ? ", containers by podman" : ""}`;
}

async function untilReady({ members, clock, detail }: NodesInput): Promise<void> {
  const end = clock.monotonicMs() + readyTimeoutMs;
  for (const { plan, cluster } of members) {
    for (;;) {
      const { items } = await cluster.admin.client.resource(NodeKind).list();
      const waiting = plan.nodes.flatMap((name) => {
        const node = items.find(({ metadata }) => metadata.name === name);
        const ready = findCondition(node?.status?.conditions, "Ready");
        return ready?.status === "True" ? [] : [ready === undefined ? name : `${name} (${ready.message})`];
      });
      if (waiting.length === 0) {
        break;
      }
      detail(`waiting for ${plan.name}: ${waiting.join(", ")}`);
      if (clock.monotonicMs() > end) {
        throw new ArgosyError(
          "NodesNotReady",
          `nodes of ${plan.name} are not Ready after ${readyTimeoutMs / 1000} s: ${waiting.join(", ")}`,
        );
      }
      await clock.sleep(50);
    }
  }
}
