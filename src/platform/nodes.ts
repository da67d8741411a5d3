import {
  createNodeAgent,
  createPodNetwork,
  createServiceProxy,
  type ImageCatalogue,
  type Isolation,
  type NodeAgent,
  type PodNetwork,
  processRuntime,
} from "../cluster/node/index.js";
import { ArgosyError } from "../kernel/errors/index.js";
import { NodeKind } from "../kernel/kinds/index.js";
import type { Closers } from "./closers.js";
import type { EmbeddedCluster, Surroundings } from "./cluster.js";
import { nodeIdentity, serviceProxy } from "./identities.js";
import { platformImages } from "./images.js";
import type { Layout } from "./layout.js";
import type { ClusterPlan } from "./plan.js";
import { productVersion } from "./version.js";

export interface NodesInput extends Surroundings {
  readonly layout: Layout;
  readonly isolation: Isolation;
  readonly members: readonly { readonly plan: ClusterPlan; readonly cluster: EmbeddedCluster }[];
  readonly closers: Closers;
  readonly ending: { readonly keepPods: boolean };
  readonly detail: (text: string) => void;
}

const readyTimeoutMs = 30_000;

/** Starts every member's nodes and waits until they are Ready. Returns one line for people. */
export async function startNodes(input: NodesInput): Promise<string> {
  const { layout, isolation, members, closers, ending, clock, random, log } = input;
  const network = createPodNetwork({ dataDir: layout.root, isolation, log });
  await network.start();
  closers.add(() => network.close({ keepPods: ending.keepPods }));
  const images = platformImages(layout);
  const version = `v${(await productVersion()).argosy}`;
  for (const { plan, cluster } of members) {
    const proxy = createServiceProxy({
      cluster: cluster.as(serviceProxy),
      network,
      serviceCidr: plan.serviceCidr,
      clock,
      random,
      log: log.with({ cluster: plan.name }),
    });
    await proxy.start();
    closers.add(() => proxy.close());
    for (const name of plan.nodes) {
      const agent = makeAgent(input, { plan, cluster, name, network, images, version });
      await agent.start();
      closers.add(() => agent.close({ keepPods: ending.keepPods }));
    }
  }
  await untilReady(input);
  const count = members.reduce((sum, { plan }) => sum + plan.nodes.length, 0);
  return `${count} nodes in ${members.length} members, ${isolation.mode === "root" ? "pods have namespaces and addresses of their own" : "pods share the machine's network, each with a loopback address"}`;
}

interface NodeInput {
  readonly plan: ClusterPlan;
  readonly cluster: EmbeddedCluster;
  readonly name: string;
  readonly network: PodNetwork;
  readonly images: ImageCatalogue;
  readonly version: string;
}

function makeAgent({ layout, isolation, clock, random, log }: NodesInput, node: NodeInput): NodeAgent {
  const { plan, cluster, name, network, images, version } = node;
  const dataDir = layout.node(plan.name, name);
  const hiddenPaths = [layout.root];
  const nodeLog = log.with({ cluster: plan.name, node: name });
  return createNodeAgent({
    name,
    cluster: cluster.as(nodeIdentity(name)),
    provisioner: cluster.admin.client,
    clock,
    random,
    log: nodeLog,
    dataDir,
    runtime: processRuntime({ dataDir, clock, log: nodeLog, isolation, network, hiddenPaths }),
    images,
    network,
    isolation,
    labels: { "topology.kubernetes.io/region": plan.name },
    hiddenPaths,
    version,
    endpoint: {
      issueCertificate: (names) => cluster.server.issueServerCertificate(names),
      clientCaPem: cluster.server.caPem,
    },
  });
}

async function untilReady({ members, clock, detail }: NodesInput): Promise<void> {
  const end = clock.monotonicMs() + readyTimeoutMs;
  for (const { plan, cluster } of members) {
    for (;;) {
      const { items } = await cluster.admin.client.resource(NodeKind).list();
      const waiting = plan.nodes.filter(
        (name) =>
          !items.some(
            (node) =>
              node.metadata.name === name &&
              node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true,
          ),
      );
      if (waiting.length === 0) {
        break;
      }
      detail(`waiting for ${plan.name}: ${waiting.join(", ")}`);
      if (clock.monotonicMs() > end) {
        throw new ArgosyError(
          "NodesNotReady",
          `nodes ${waiting.join(", ")} of ${plan.name} are not Ready after ${readyTimeoutMs / 1000} s`,
        );
      }
      await clock.sleep(50);
    }
  }
}
