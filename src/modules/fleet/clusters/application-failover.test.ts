import { expect, test } from "vitest";
import type { BindingSpec, ResourceBinding } from "../bindings/kinds.js";
import { type FailoverFacts, planFailover, unhealthyIn } from "./application-failover.js";
import { planEviction } from "./eviction.js";
import { labelsCarriedTo } from "./state-preservation.js";

const now = "2026-01-02T00:00:00Z";
const nowMs = Date.parse(now);
type Application = NonNullable<NonNullable<BindingSpec["failover"]>["application"]>;

function binding(application: Partial<Application>, more: Partial<BindingSpec> = {}): ResourceBinding {
  return {
    apiVersion: "work.karmada.io/v1alpha2",
    kind: "ResourceBinding",
    metadata: {
      name: "job-b",
      namespace: "demo",
      uid: "u",
      resourceVersion: "1",
      creationTimestamp: now,
      generation: 3,
    },
    spec: {
      resource: { apiVersion: "flink.apache.org/v1beta1", kind: "FlinkDeployment", name: "job" },
      conflictResolution: "Abort",
      clusters: [{ name: "m1", replicas: 2 }],
      failover: {
        application: { decisionConditions: { tolerationSeconds: 60 }, purgeMode: "Gracefully", ...application },
      },
      ...more,
    },
    status: {
      aggregatedStatus: [
        { clusterName: "m1", health: "Unhealthy", status: { jobStatus: { jobId: "abc" }, text: "no label!" } },
        { clusterName: "m2", health: "Unhealthy" },
        { clusterName: "m3", health: "Healthy" },
      ],
    },
  };
}

const facts = (seconds: number, more: Partial<FailoverFacts> = {}): FailoverFacts => ({
  unhealthySinceMs: new Map([["m1", nowMs - seconds * 1000]]),
  isFeasible: () => true,
  producer: "failover",
  nowMs,
  ...more,
});

test("what is unhealthy where it is counts, and only for so long it is borne", () => {
  expect(unhealthyIn(binding({}))).toEqual(["m1"]);
  expect(planFailover(binding({}), facts(20))).toMatchObject({ evicted: [], againMs: 40_000 });
  expect(planFailover(binding({ gracePeriodSeconds: 30 }), facts(60))).toMatchObject({
    clusters: [],
    evicted: ["m1"],
    tasks: [
      {
        fromCluster: "m1",
        purgeMode: "Gracefully",
        gracePeriodSeconds: 30,
        replicas: 2,
        reason: "ApplicationFailure",
        producer: "failover",
        creationTimestamp: now,
      },
    ],
  });
  const { failover: _failover, ...without } = binding({}).spec;
  expect(planFailover({ ...binding({}), spec: without }, facts(600)).evicted).toEqual([]);
});

test("it stays where it is when there is no other place; Never keeps the old one until somebody says otherwise", () => {
  expect(planFailover(binding({}), facts(60, { isFeasible: () => false }))).toMatchObject({
    evicted: [],
    clusters: [{ name: "m1", replicas: 2 }],
    held: [{ cluster: "m1", why: "there is no other cluster that it could go to" }],
    againMs: 30_000,
  });
  expect(planFailover(binding({ purgeMode: "Never" }), facts(60)).tasks).toMatchObject([
    { purgeMode: "Never", suppressDeletion: true },
  ]);
});

test("state goes along as labels where the old object goes at once, and nothing moves when it cannot be read", () => {
  const rules = (jsonPath: string) => ({ rules: [{ aliasLabelName: "job-id", jsonPath }] });
  const direct = binding({ purgeMode: "Directly", statePreservation: rules("{.jobStatus.jobId}") });
  const plan = planFailover(direct, facts(60));
  expect(plan.tasks).toMatchObject([
    { purgeMode: "Directly", preservedLabelState: { "job-id": "abc" }, clustersBeforeFailover: ["m1"] },
  ]);
  const moved = { ...direct.spec, clusters: [{ name: "m2", replicas: 2 }], gracefulEvictionTasks: [...plan.tasks] };
  expect(labelsCarriedTo("m2", moved)).toEqual({ "job-id": "abc" });
  expect(labelsCarriedTo("m1", moved)).toEqual({});
  expect(labelsCarriedTo("m2", direct.spec)).toEqual({});
  const held = (jsonPath: string) =>
    planFailover(binding({ purgeMode: "Directly", statePreservation: rules(jsonPath) }), facts(60)).held[0]?.why;
  expect(held("{ .jobStatus.jobId }")).toBeUndefined();
  expect(held("{..jobId}")).toBe("{..jobId}, where its state is to be read, is no JSONPath");
  expect(held("{.nothing}")).toBe("its status in m1 has nothing at {.nothing}");
  expect(held("{.text}")).toBe("what its status in m1 has at {.text} is no value of a label");
  const graceful = binding({ purgeMode: "Gracefully", statePreservation: rules("{.nothing}") });
  expect(planFailover(graceful, facts(60)).tasks[0]?.preservedLabelState).toBeUndefined();
});

test("the same goes for a cluster that fails", () => {
  const rules = [{ aliasLabelName: "job-id", jsonPath: "{.jobStatus.jobId}" }];
  const failover = { cluster: { purgeMode: "Directly" as const, statePreservation: { rules } } };
  const taints = [{ key: "broken", effect: "NoExecute" as const }];
  const cluster = {
    apiVersion: "cluster.karmada.io/v1alpha1",
    kind: "Cluster",
    metadata: { name: "m1", uid: "u", resourceVersion: "1", creationTimestamp: now },
    spec: { taints },
  };
  const surroundings = { cluster: () => cluster, isFeasible: () => true, brake: () => undefined, nowMs };
  expect(planEviction(binding({}, { failover }), surroundings).tasks).toMatchObject([
    { reason: "TaintUntolerated", preservedLabelState: { "job-id": "abc" }, clustersBeforeFailover: ["m1"] },
  ]);
  const silent = { ...binding({}, { failover }), status: {} };
  expect(planEviction(silent, surroundings)).toMatchObject({ tasks: [], held: [{ cluster: "m1" }] });
});
