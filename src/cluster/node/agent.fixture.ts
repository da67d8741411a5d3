import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { ConfigMapKind, type Draft, EventKind, type Pod, PodKind, type PodSpec } from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import {
  createNodeAgent,
  createPodNetwork,
  detectIsolation,
  type ImageCatalogueOptions,
  type Isolation,
  imageCatalogue,
  type PodNetwork,
} from "./index.js";
import { type RuntimeHome, runtimeHomes } from "./runtime/runtimes.fixture.js";

/** A cluster with one node whose pods are real. */
export interface TestNode {
  readonly cluster: TestCluster;
  readonly network: PodNetwork;
  readonly folder: string;
  create(pod: Draft<Pod>): Promise<Pod>;
  /** The pod once it looks as wanted. */
  seen(name: string, wanted: (pod: Pod) => boolean): Promise<Pod>;
  /** Resolves when there is no such pod any more. */
  gone(name: string): Promise<void>;
  logs(name: string, query?: string): Promise<string>;
  /** Messages of the events about a pod, by reason. */
  events(name: string): Promise<Map<string, string>>;
  close(): Promise<void>;
}

/** A pod of the test's node. */
export function podDraft(name: string, spec: Partial<PodSpec> & Pick<PodSpec, "containers">): Draft<Pod> {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: { nodeName: "node-1", terminationGracePeriodSeconds: 1, ...spec },
  };
}

/** A container that runs a shell script. */
export const shell = (script: string) => ({ name: "main", image: "shell", command: ["sh", "-c", script] });

/** Starts cluster, network and node; `isolation` default: what this machine can; `runtime` default: processes. */
export async function startNode(
  options: {
    readonly isolation?: Isolation;
    readonly images?: ImageCatalogueOptions["entries"];
    readonly runtime?: RuntimeHome["name"];
  } = {},
): Promise<TestNode> {
  const isolation = options.isolation ?? detectIsolation();
  const folder = mkdtempSync(join(tmpdir(), "argosy-node-"));
  const cluster = await startTestCluster();
  // Usually a controller's work.
  await cluster.client.resource(ConfigMapKind).create({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "kube-root-ca.crt", namespace: "default" },
    data: { "ca.crt": cluster.server.caPem },
  });
  const network = createPodNetwork({ dataDir: join(folder, "network"), isolation, log: silentLogger });
  await network.start();
  const dataDir = join(folder, "node-1");
  const home = runtimeHomes.find((each) => each.name === (options.runtime ?? "process"));
  const runtimes = await home?.open({ folder, isolation, network });
  if (runtimes === undefined) throw new Error("no such runtime");
  const shared = { dataDir, clock: systemClock, log: silentLogger, isolation, network, hiddenPaths: [folder] };
  const agent = createNodeAgent({
    ...shared,
    name: "node-1",
    cluster,
    random: systemRandom,
    runtime: runtimes.make(dataDir),
    images: imageCatalogue({
      entries: { shell: { entrypoint: ["/bin/sh"], files: [] }, ...options.images },
      cacheDir: join(folder, "images"),
    }),
    endpoint: {
      issueCertificate: (names) => cluster.server.issueServerCertificate(names),
      clientCaPem: cluster.server.caPem,
    },
    capacity: { cpuMillis: 1000 },
    labels: { zone: "a" },
  });
  await agent.start();
  return {
    ...watching(cluster),
    network,
    folder,
    close: async () => {
      await agent.close({ keepPods: false });
      await runtimes.close();
      await network.close({ keepPods: false });
      await cluster.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function watching(cluster: TestCluster): Omit<TestNode, "network" | "folder" | "close"> {
  return {
    cluster,
    create: (pod) => cluster.client.resource(PodKind).create(pod),
    seen: async (name, wanted) => {
      const pod = await podUntil(cluster, name, (each) => each !== undefined && wanted(each));
      if (pod === undefined) throw new Error(`pod ${name} is gone`);
      return pod;
    },
    gone: async (name) => {
      await podUntil(cluster, name, (pod) => pod === undefined);
    },
    logs: (name, query = "") => logsOf(cluster, name, query),
    events: async (name) => {
      const { items } = await cluster.client.resource(EventKind).list({ namespace: "default" });
      const own = items.filter((event) => event.involvedObject.name === name);
      return new Map(own.map((event) => [event.reason ?? "", event.message ?? ""]));
    },
  };
}

function podUntil(
  cluster: TestCluster,
  name: string,
  wanted: (pod: Pod | undefined) => boolean,
): Promise<Pod | undefined> {
  const pods = cluster.informers.informer(PodKind);
  return new Promise((resolve) => {
    const check = (): void => {
      const pod = pods.get({ namespace: "default", name });
      if (!wanted(pod)) return;
      stop();
      resolve(pod);
    };
    const stop = pods.onChange(check);
    check();
  });
}

async function logsOf(cluster: TestCluster, name: string, query: string): Promise<string> {
  const response = await cluster.client.transport.request({
    method: "GET",
    path: `/api/v1/namespaces/default/pods/${name}/log${query}`,
  });
  let text = "";
  for await (const chunk of response.body) text += Buffer.from(chunk).toString("utf8");
  return text;
}
