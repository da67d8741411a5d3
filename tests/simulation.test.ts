import { expect, test } from "vitest";
import { createNodeAgent, simulatedImages, simulatedRuntime } from "../src/cluster/node/index.js";
import { workloadControllers } from "../src/cluster/workloads/index.js";
import { seededRandom, virtualClock } from "../src/kernel/clock/index.js";
import { type ControllerSpec, createManager } from "../src/kernel/control/index.js";
import { findCondition, NamespaceKind, PodKind } from "../src/kernel/kinds/index.js";
import { createLogger } from "../src/kernel/log/index.js";
import { ClusterKind, createFleetModule, HyperMLServiceKind } from "../src/modules/fleet/index.js";
import { createServingModule, MLServiceKind } from "../src/modules/serving/index.js";
import { memoryLedger } from "../src/stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../src/testing/index.js";
import { noGateway } from "./support/no-gateway.js";

const memberCount = 100;
const namespace = "demo";

const manifests = [
  {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "MLServiceRuntime",
    metadata: { name: "onnx", namespace },
    spec: {
      enabled: true,
      template: {
        spec: {
          containers: [{ name: "user-container", image: "argosy.dev/model-server", ports: [{ containerPort: 9000 }] }],
        },
      },
    },
  },
  {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "MLService",
    metadata: { name: "digits", namespace },
    spec: { default: "v1", releases: [{ name: "v1", predictor: { minReplicas: 2, model: { runtime: "onnx" } } }] },
  },
];

/** Hub and members on one virtual clock, journals in memory, pods simulated: the product's own code does the rest. */
async function startSimulation() {
  const clock = virtualClock();
  const random = seededRandom(42);
  const lines: string[] = [];
  const log = createLogger({ clock, level: "warn", write: (line) => lines.push(line) });
  const ledger = memoryLedger({ clock });
  const members = new Map<string, TestCluster>();
  const closers: (() => Promise<void>)[] = [];
  const runControllers = (cluster: TestCluster, specs: readonly ControllerSpec[]): void => {
    const manager = createManager({ cluster, clock, random, log });
    for (const spec of specs) manager.add(spec);
    manager.start();
    closers.push(() => manager.close());
  };
  const runNode = async (cluster: TestCluster): Promise<void> => {
    const agent = createNodeAgent({
      name: "node",
      cluster,
      clock,
      random,
      log,
      dataDir: "/nonexistent",
      runtime: simulatedRuntime({ clock, behaviour: () => ({ startDelayMs: 500, readyAfterMs: 2_000 }) }),
      images: simulatedImages(),
    });
    await agent.start();
    closers.push(() => agent.close({ keepPods: false }));
  };
  /** The simulated network: a model answers when a pod of its member is ready. */
  const answers = (host: string): boolean => {
    const cluster = members.get(host.split(".")[2] ?? "");
    const pods = cluster?.informers.informer(PodKind).list(namespace) ?? [];
    return pods.some((pod) => findCondition(pod.status?.conditions, "Ready")?.status === "True");
  };
  const fleet = createFleetModule({
    members: (name) => members.get(name),
    gateway: noGateway,
    ledger,
    headListener: { name: "head", host: "127.0.0.1", port: 0 },
    ingressListener: () => undefined,
  });
  const serving = createServingModule({
    ledger,
    probe: async (url) =>
      answers(new URL(url).hostname) ? { status: 200, body: "{}" } : { error: "connection refused" },
    address: ({ name }) => ({ domain: `${name}.argosy.localhost` }),
  });
  const kindsAt = (level: "continuum" | "cluster") =>
    [fleet, serving].flatMap((module) =>
      module.kinds.filter(({ levels }) => levels.includes(level)).map(({ definition }) => definition),
    );
  const start = (name: string, level: "continuum" | "cluster"): Promise<TestCluster> =>
    startTestCluster({ name, clock, random, log, kinds: kindsAt(level) });
  const hub = await start("hub", "continuum");
  runControllers(hub, [...workloadControllers({ ledger, clusterName: "hub" }), ...fleet.controllers("continuum", hub)]);
  await hub.client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace }, spec: {} });
  for (let i = 0; i < memberCount; i += 1) {
    const member = await start(`m${i}`, "cluster");
    members.set(member.name, member);
    await runNode(member);
    runControllers(member, [
      ...workloadControllers({ ledger, clusterName: member.name }),
      ...serving.controllers("cluster", member),
    ]);
    await hub.client.resource(ClusterKind).create({
      apiVersion: "cluster.karmada.io/v1alpha1",
      kind: "Cluster",
      metadata: { name: member.name },
      spec: { syncMode: "Push" },
    });
  }
  return {
    clock,
    hub,
    members,
    lines,
    async close() {
      const closing = Promise.all(closers.map((close) => close()));
      await clock.advance(30_000);
      await closing;
      const closed = Promise.all([hub, ...members.values()].map((cluster) => cluster.close()));
      await clock.advance(30_000);
      await closed;
    },
  };
}

test(`${memberCount} simulated members converge on a HyperMLService`, async () => {
  const simulation = await startSimulation();
  const { hub, members, clock } = simulation;
  const services = hub.client.resource(HyperMLServiceKind);
  await services.create({
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "HyperMLService",
    metadata: { name: "digits", namespace },
    spec: { workloads: [{ clusters: [...members.keys()], manifests }] },
  });

  const informer = hub.informers.informer(HyperMLServiceKind);
  const tookMs = await clock.runUntil(() => {
    const { status } = informer.get({ namespace, name: "digits" }) ?? {};
    return findCondition(status?.conditions, "Ready")?.status === "True";
  }, 300_000);

  const { status } = await services.get("digits", { namespace });
  expect(status?.appliedSummary).toBe(`${2 * memberCount}/${2 * memberCount}`);
  expect(tookMs).toBeLessThan(120_000);
  for (const member of members.values()) {
    const pods = (await member.client.resource(PodKind).list({ namespace })).items;
    expect(pods.map((pod) => pod.spec.nodeName)).toEqual(["node", "node"]);
    const service = await member.client.resource(MLServiceKind).get("digits", { namespace });
    expect(findCondition(service.status?.conditions, "Ready")?.status).toBe("True");
  }
  await simulation.close();
}, 240_000);
