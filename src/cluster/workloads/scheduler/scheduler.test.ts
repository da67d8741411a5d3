import { afterAll, beforeAll, expect, test } from "vitest";
import {
  findCondition,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodDisruptionBudgetKind,
  PodKind,
  PriorityClassKind,
} from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster([]);
  for (const [name, zone] of [
    ["a", "east"],
    ["b", "east"],
    ["c", "west"],
  ] as const) {
    await play.addNode(name, { labels: { zone, disk: name === "c" ? "ssd" : "hdd" } });
  }
});
afterAll(() => play.close());

const at = { namespace: "default" };
const pods = () => play.client.resource(PodKind);

async function place(
  name: string,
  spec: Partial<Pod["spec"]> = {},
  cpu?: string,
  labels: Record<string, string> = {},
): Promise<Pod> {
  const resources = cpu === undefined ? {} : { resources: { requests: { cpu } } };
  await pods().create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels },
    spec: { containers: [{ name: "main", image: "one", ...resources }], ...spec },
  });
  await play.until(async () => {
    const pod = await pods().get(name, at);
    return pod.spec.nodeName !== undefined || findCondition(pod.status?.conditions, "PodScheduled")?.status === "False";
  });
  return pods().get(name, at);
}
const nodeOf = async (
  name: string,
  spec: Partial<Pod["spec"]> = {},
  cpu?: string,
  labels: Record<string, string> = {},
) => (await place(name, spec, cpu, labels)).spec.nodeName;
const refusal = async (name: string, spec: Partial<Pod["spec"]> = {}, cpu?: string) =>
  findCondition((await place(name, spec, cpu)).status?.conditions, "PodScheduled")?.message;
async function clear(): Promise<void> {
  await pods().deleteCollection({ namespace: "default", gracePeriodSeconds: 0 });
  await play.until(async () => (await pods().list(at)).items.length === 0);
}

test("node selector and affinity choose the node", async () => {
  expect(await nodeOf("ssd", { nodeSelector: { disk: "ssd" } })).toBe("c");
  const terms = [{ matchExpressions: [{ key: "zone", operator: "NotIn", values: ["east"] }] }];
  expect(
    await nodeOf("west", {
      affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } },
    }),
  ).toBe("c");
  const preferred = [
    { weight: 50, preference: { matchFields: [{ key: "metadata.name", operator: "In", values: ["b"] }] } },
  ];
  expect(
    await nodeOf("likes-b", {
      affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred } },
    }),
  ).toBe("b");
  await clear();
});

test("load goes where most is free, and what does not fit says why and waits", async () => {
  expect(new Set([await nodeOf("l1", {}, "2"), await nodeOf("l2", {}, "2"), await nodeOf("l3", {}, "2")])).toEqual(
    new Set(["a", "b", "c"]),
  );
  expect(await refusal("big", {}, "3")).toBe(
    "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
  );
  expect(await refusal("none", { nodeSelector: { disk: "tape" } })).toBe(
    "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
  );

  await pods().delete("l2", at);
  await play.until(async () => (await pods().get("big", at)).spec.nodeName !== undefined);

  expect((await pods().get("none", at)).spec.nodeName).toBeUndefined();
  await clear();
});

test("taints keep pods away unless tolerated; cordoned and not ready nodes too", async () => {
  const nodes = play.client.resource(NodeKind);
  await nodes.patch("a", "merge", { spec: { taints: [{ key: "gpu", value: "yes", effect: "NoSchedule" }] } });
  await nodes.patch("b", "merge", { spec: { unschedulable: true } });
  const c = await nodes.get("c");
  await nodes.updateStatus({
    ...c,
    status: { ...c.status, conditions: [{ type: "Ready", status: "False", reason: "x", message: "" }] },
  });
  await play.clock.advance(100);

  expect(await refusal("t1")).toBe(
    "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint(s). preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
  );
  expect(await nodeOf("t2", { tolerations: [{ key: "gpu", operator: "Exists" }] })).toBe("a");

  await nodes.patch("b", "merge", { spec: { unschedulable: null } });
  await play.until(async () => (await pods().get("t1", at)).spec.nodeName === "b");
  await nodes.patch("a", "merge", { spec: { taints: null } });
  await nodes.updateStatus({ ...(await nodes.get("c")), status: c.status ?? {} });
  await clear();
});

test("anti-affinity keeps apart, affinity together, in both directions", async () => {
  const apart = {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: "zone", labelSelector: { matchLabels: { app: "x" } } },
      ],
    },
  };
  const first = await nodeOf("x1", { affinity: apart }, undefined, { app: "x" });
  const second = await nodeOf("x2", { affinity: apart }, undefined, { app: "x" });
  const zone = (node: string | undefined) => (node === "c" ? "west" : "east");
  expect(zone(first)).not.toBe(zone(second));
  await pods().create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...at, name: "x3", labels: { app: "x" } },
    spec: { containers: [{ name: "m", image: "i" }] },
  });
  await play.until(
    async () => findCondition((await pods().get("x3", at)).status?.conditions, "PodScheduled")?.status === "False",
  );
  expect(findCondition((await pods().get("x3", at)).status?.conditions, "PodScheduled")?.message).toBe(
    "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
  );
  await clear();

  const together = {
    podAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: { app: "y" } } },
      ],
    },
  };
  const y1 = await nodeOf("y1", { affinity: together }, undefined, { app: "y" });
  expect(await nodeOf("y2", { affinity: together }, undefined, { app: "y" })).toBe(y1);
  await clear();
});

test("topology spreading keeps the skew", async () => {
  const topologySpreadConstraints = [
    {
      maxSkew: 1,
      topologyKey: "zone",
      whenUnsatisfiable: "DoNotSchedule",
      labelSelector: { matchLabels: { app: "s" } },
    },
  ];
  const zones: string[] = [];
  for (let i = 0; i < 6; i += 1)
    zones.push(
      (await nodeOf(`s${i}`, { topologySpreadConstraints }, undefined, { app: "s" })) === "c" ? "west" : "east",
    );
  expect(zones.filter((zone) => zone === "west")).toHaveLength(3);
  await clear();
});

test("host ports are given once a node", async () => {
  const containers = [{ name: "m", image: "i", ports: [{ containerPort: 80, hostPort: 8080 }] }];
  expect(
    new Set([
      await nodeOf("h1", { containers }),
      await nodeOf("h2", { containers }),
      await nodeOf("h3", { containers }),
    ]).size,
  ).toBe(3);
  expect(await refusal("h4", { containers })).toBe(
    "0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
  );
  await clear();
});

test("the ledger tells where a pod went and why", async () => {
  await place("told", { nodeSelector: { zone: "west" } }, "1");
  const [decision] = await play.ledger.query({ kind: "Pod", namespace: "default", name: "told" });

  expect(decision).toMatchObject({ topic: "placement", outcome: "placed on c", winners: [{ name: "c" }] });
  expect(decision?.losers.map(({ name, reason }) => `${name}: ${reason}`)).toEqual([
    "a: node(s) didn't match Pod's node affinity/selector",
    "b: node(s) didn't match Pod's node affinity/selector",
  ]);
  expect(decision?.inputs).toMatchObject({ requests: { cpu: "1" } });
  await clear();
});

test("a pod goes where its volume lies, and waits for a claim that is missing", async () => {
  const volumes = [{ name: "data", persistentVolumeClaim: { claimName: "data" } }];
  expect(await refusal("v1", { volumes })).toBe(
    '0/3 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.',
  );
  await play.client.resource(PersistentVolumeKind).create({
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: "pv" },
    spec: {
      capacity: { storage: "1Gi" },
      accessModes: ["ReadWriteOnce"],
      local: { path: "/data" },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: ["b"] }] }],
        },
      },
    },
  });
  await play.client.resource(PersistentVolumeClaimKind).create({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", namespace: "default" },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } }, volumeName: "pv" },
  });

  await play.until(async () => (await pods().get("v1", at)).spec.nodeName === "b");

  expect(await refusal("v2", { volumes, nodeSelector: { zone: "west" } })).toBe(
    "0/3 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
  );
  await clear();
});

test("an important pod displaces the least that must go, and nobody where it may not", async () => {
  const classes = play.client.resource(PriorityClassKind);
  const make = (name: string, value: number, preemptionPolicy = "PreemptLowerPriority") =>
    classes.create({
      apiVersion: "scheduling.k8s.io/v1",
      kind: "PriorityClass",
      metadata: { name },
      value,
      preemptionPolicy,
    });
  await make("high", 1000);
  await make("middle", 500);
  await make("polite", 1000, "Never");
  const on = (node: string) => ({ nodeSelector: { "kubernetes.io/hostname": node } });
  for (const node of ["a", "b"]) await nodeOf(`low-${node}`, on(node), "3");
  await nodeOf("middle-c", { ...on("c"), priorityClassName: "middle" }, "3");
  await nodeOf("small-a", on("a"), "500m");

  expect(await refusal("waits", { priorityClassName: "polite" }, "3")).toBe(
    "0/3 nodes are available: 3 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
  );
  await pods().delete("waits", at);
  await play.until(async () => (await pods().find("waits", at)) === undefined);

  await place("boss", { priorityClassName: "high" }, "3");
  await play.until(async () => (await pods().get("boss", at)).spec.nodeName !== undefined);

  const left = (await pods().list(at)).items.map((pod) => pod.metadata.name).toSorted((a, b) => a.localeCompare(b));
  expect(left).toContain("middle-c");
  expect(left).toHaveLength(4);
  expect(left.filter((name) => name.startsWith("low"))).toHaveLength(1);
  expect(left).toContain("small-a");
  expect((await play.ledger.query({ kind: "Pod", name: "boss", topic: "preemption" }))[0]?.losers).toHaveLength(1);
  await clear();
});

test("extended resources are counted as any other; what no node has, nobody makes room for", async () => {
  const nodes = play.client.resource(NodeKind);
  const c = await nodes.get("c");
  const gpus = { ...c.status?.allocatable, "nvidia.com/gpu": "2" };
  await nodes.updateStatus({ ...c, status: { ...c.status, allocatable: gpus, capacity: gpus } });
  await play.clock.advance(100);
  const gpu = (count: string) => ({
    containers: [{ name: "m", image: "i", resources: { limits: { "nvidia.com/gpu": count } } }],
  });

  expect(await nodeOf("g1", gpu("1"))).toBe("c");
  expect(await refusal("g2", gpu("2"))).toBe(
    "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
  );
  await pods().delete("g1", at);
  await play.until(async () => (await pods().get("g2", at)).spec.nodeName === "c");
  await clear();
});

test("budgets are broken last, and the promised node is kept for whom room was made", async () => {
  const on = (node: string) => ({ nodeSelector: { "kubernetes.io/hostname": node } });
  for (const node of ["a", "b", "c"]) {
    const app = node === "c" ? "free" : "guarded";
    await place(`old-${node}`, { ...on(node), terminationGracePeriodSeconds: 5 }, "3", { app });
  }
  const budgets = play.client.resource(PodDisruptionBudgetKind);
  await budgets.create({
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "guard", namespace: "default" },
    spec: { minAvailable: 2, selector: { matchLabels: { app: "guarded" } } },
  });
  await play.until(async () => (await budgets.get("guard", at)).status?.currentHealthy === 2);

  await place("chief", { priorityClassName: "high" }, "3");
  expect((await pods().get("chief", at)).status?.nominatedNodeName).toBe("c");
  // It wants the room that is promised to another one.
  expect(await refusal("sneak", {}, "3")).toMatch(/^0\/3 nodes are available: 3 Insufficient cpu\./);
  await play.until(async () => (await pods().get("chief", at)).spec.nodeName === "c");

  expect(await pods().find("old-c", at)).toBeUndefined();
  expect((await pods().get("sneak", at)).spec.nodeName).toBeUndefined();
  await clear();
});

test("gates keep a pod back, daemons are named by their node, minDomains asks for more domains than there are", async () => {
  await pods().create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "gated", namespace: "default" },
    spec: { schedulingGates: [{ name: "example.com/wait" }], containers: [{ name: "m", image: "i" }] },
  });
  await play.clock.advance(1000);
  expect((await pods().get("gated", at)).spec.nodeName).toBeUndefined();
  const [decision] = await play.ledger.query({ kind: "Pod", name: "gated" });
  expect(decision?.outcome).toBe("not placed: waiting for scheduling gates: [example.com/wait]");
  await pods().patch("gated", "merge", { spec: { schedulingGates: null } }, at);
  await play.until(async () => (await pods().get("gated", at)).spec.nodeName !== undefined);

  const matchFields = [{ key: "metadata.name", operator: "In", values: ["b"] }];
  const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] } };
  expect(await refusal("daemon", { affinity: { nodeAffinity } }, "9")).toBe(
    "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
  );

  const topologySpreadConstraints = [
    {
      maxSkew: 1,
      minDomains: 3,
      topologyKey: "zone",
      whenUnsatisfiable: "DoNotSchedule",
      labelSelector: { matchLabels: { app: "wide" } },
    },
  ];
  const labels = { app: "wide" };
  await place("w1", { topologySpreadConstraints }, undefined, labels);
  await place("w2", { topologySpreadConstraints }, undefined, labels);
  const third = await place("w3", { topologySpreadConstraints }, undefined, labels);
  expect(findCondition(third.status?.conditions, "PodScheduled")?.message).toBe(
    "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
  );
  await clear();
});
