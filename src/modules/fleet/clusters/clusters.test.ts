import { expect, test } from "vitest";
import type { Node, Pod } from "../../../kernel/kinds/index.js";
import { DEFAULT_MODELS } from "../admission/models.js";
import type { ResourceBinding } from "../bindings/kinds.js";
import type { Cluster, ClusterSpec } from "../kinds.js";
import { factsOf } from "../placement/facts.js";
import type { ClusterTaintPolicy } from "../policies/kinds.js";
import { type EvictionFacts, planEviction } from "./eviction.js";
import { summaryOf } from "./summary.js";
import { taintsFor } from "./taints.js";

const models = DEFAULT_MODELS as NonNullable<ClusterSpec["resourceModels"]>;
const node = (name: string, cpu: string, memory: string, isReady = true) =>
  ({
    metadata: { name },
    status: {
      allocatable: { cpu, memory, pods: "110" },
      conditions: [{ type: "Ready", status: isReady ? "True" : "False" }],
    },
  }) as unknown as Node;
const pod = (nodeName: string, cpu: string, phase = "Running") =>
  ({
    metadata: { name: "p" },
    spec: { nodeName, containers: [{ name: "c", resources: { requests: { cpu, memory: "1Gi" } } }] },
    status: { phase },
  }) as unknown as Pod;

test("nodes and pods are summed up, and nodes counted by what they have left", () => {
  const nodes = [node("a", "8", "32Gi"), node("b", "2", "8Gi", false)];
  const before = summaryOf(nodes, [], models);
  expect(before.nodeSummary).toEqual({ totalNum: 2, readyNum: 1 });
  expect(before.resourceSummary?.allocatable).toEqual({ cpu: "10", memory: "40Gi", pods: "220" });
  // Grade 3 wants 4 CPUs and 32 GiB; grade 1 is all that 8 GiB reach.
  const counts = (summary: typeof before) =>
    summary.resourceSummary?.allocatableModelings?.filter(({ count }) => count > 0);
  expect(counts(before)).toEqual([
    { grade: 1, count: 1 },
    { grade: 3, count: 1 },
  ]);
  const pods = [pod("a", "7500m"), pod("a", "5", "Succeeded"), pod("", "1")];
  const after = summaryOf(nodes, pods, models);
  expect(after.resourceSummary).toMatchObject({
    allocated: { cpu: "7500m", memory: "1Gi", pods: "1" },
    allocating: { cpu: "1", memory: "1Gi", pods: "1" },
  });
  expect(counts(after)).toEqual([
    { grade: 0, count: 1 },
    { grade: 1, count: 1 },
  ]);
});

const cluster = (ready: string, taints: NonNullable<ClusterSpec["taints"]> = []) =>
  ({
    apiVersion: "cluster.karmada.io/v1alpha1",
    kind: "Cluster",
    metadata: { name: "m", uid: "u", labels: { tier: "gold" } },
    spec: { taints },
    status: { conditions: [{ type: "Ready", status: ready, reason: "X", message: "", lastTransitionTime: "" }] },
  }) as unknown as Cluster;
const policy = (name: string, spec: ClusterTaintPolicy["spec"]) =>
  ({ metadata: { name, creationTimestamp: "2026-01-01T00:00:00Z" }, spec }) as ClusterTaintPolicy;
const now = "2026-01-02T00:00:00Z";

test("readiness and policies set taints and take them off; others' taints stay", () => {
  const own = { key: "dedicated", value: "ml", effect: "NoSchedule" } as const;
  const notReady = { key: "cluster.karmada.io/not-ready", effect: "NoSchedule" } as const;
  const unready = cluster("False", [own]);
  expect(taintsFor(unready, factsOf(unready), [], now)).toEqual([own, notReady]);
  const unknown = cluster("Unknown", [own, notReady]);
  expect(taintsFor(unknown, factsOf(unknown), [], now)).toEqual([
    own,
    { key: "cluster.karmada.io/unreachable", effect: "NoSchedule" },
  ]);
  const broken = { key: "broken", effect: "NoExecute" } as const;
  const rule = policy("p", {
    targetClusters: { clusterNames: ["m"] },
    addOnConditions: [{ conditionType: "Ready", operator: "NotIn", statusValues: ["True"] }],
    removeOnConditions: [{ conditionType: "Ready", operator: "In", statusValues: ["True"] }],
    taints: [broken],
  });
  const added = taintsFor(unready, factsOf(unready), [rule], now);
  expect(added).toEqual([own, notReady, { ...broken, timeAdded: now }]);
  const well = cluster("True", added);
  expect(taintsFor(well, factsOf(well), [rule], now)).toEqual([own]);
  expect(taintsFor(well, factsOf(well), [], now)).toEqual([own, { ...broken, timeAdded: now }]);
  const elsewhere = policy("q", { ...rule.spec, targetClusters: { clusterNames: ["other"] } });
  expect(taintsFor(unready, factsOf(unready), [elsewhere], now)).toEqual([own, notReady]);
});

const binding = (spec: object, status: object = {}) =>
  ({
    metadata: { name: "web-deployment", namespace: "demo", generation: 3 },
    spec: { resource: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, ...spec },
    status,
  }) as unknown as ResourceBinding;
const nowMs = Date.parse(now);
const facts = (more: Partial<EvictionFacts> = {}): EvictionFacts => ({
  cluster: (name) =>
    name === "bad" ? cluster("True", [{ key: "broken", effect: "NoExecute", timeAdded: now }]) : cluster("True"),
  isFeasible: () => true,
  brake: () => undefined,
  nowMs,
  ...more,
});

test("an untolerated NoExecute taint sends an object away; a bounded toleration delays it", () => {
  const plan = planEviction(binding({ clusters: [{ name: "bad", replicas: 2 }, { name: "good" }] }), facts());
  expect(plan).toMatchObject({
    clusters: [{ name: "good" }],
    tasks: [
      {
        fromCluster: "bad",
        purgeMode: "Gracefully",
        replicas: 2,
        reason: "TaintUntolerated",
        producer: "TaintManager",
      },
    ],
    isChanged: true,
    evicted: ["bad"],
  });
  const tolerating = (tolerationSeconds?: number) =>
    binding({
      clusters: [{ name: "bad" }],
      placement: { clusterTolerations: [{ key: "broken", operator: "Exists", tolerationSeconds }] },
    });
  expect(planEviction(tolerating(), facts())).toMatchObject({ isChanged: false, againMs: undefined });
  expect(planEviction(tolerating(30), facts())).toMatchObject({ isChanged: false, againMs: 30_000 });
  expect(planEviction(tolerating(30), facts({ nowMs: nowMs + 31_000 }))).toMatchObject({ evicted: ["bad"] });
});

test("an eviction ends when the replacement is healthy or its time is over, never while there is no place to go", () => {
  const task = { fromCluster: "bad", reason: "TaintUntolerated", producer: "TaintManager", creationTimestamp: now };
  const seen = (health: string, generation = 3) => ({
    schedulerObservedGeneration: generation,
    aggregatedStatus: [{ clusterName: "good", health }],
  });
  const placed = { clusters: [{ name: "good" }], gracefulEvictionTasks: [task] };
  expect(planEviction(binding(placed, seen("Unhealthy")), facts())).toMatchObject({
    isChanged: false,
    againMs: 600_000,
  });
  expect(planEviction(binding(placed, seen("Healthy", 2)), facts()).finished).toEqual([]);
  expect(planEviction(binding(placed, seen("Healthy")), facts())).toMatchObject({ finished: ["bad"], tasks: [] });
  const late = facts({ nowMs: nowMs + 600_001 });
  expect(planEviction(binding(placed, seen("Unhealthy")), late).finished).toEqual(["bad"]);
  expect(planEviction(binding({ gracefulEvictionTasks: [task] }), late)).toMatchObject({
    isChanged: false,
    againMs: undefined,
  });
  const held = { ...placed, gracefulEvictionTasks: [{ ...task, suppressDeletion: true }] };
  expect(planEviction(binding(held, seen("Healthy")), late).finished).toEqual([]);
  const released = { ...placed, gracefulEvictionTasks: [{ ...task, suppressDeletion: false }] };
  expect(planEviction(binding(released), facts()).finished).toEqual(["bad"]);
});

test("what would be removed at once stays where it is when it has nowhere to go", () => {
  const direct = binding({ clusters: [{ name: "bad" }], failover: { cluster: { purgeMode: "Directly" } } });
  expect(planEviction(direct, facts({ isFeasible: () => false }))).toMatchObject({
    isChanged: false,
    held: [{ cluster: "bad", why: "there is no other cluster that it could go to" }],
    clusters: [{ name: "bad" }],
  });
  expect(planEviction(direct, facts())).toMatchObject({ evicted: ["bad"], tasks: [{ purgeMode: "Directly" }] });
});
