import { expect, test } from "vitest";
import type { JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import { InterpreterRegistry } from "../interpreters/index.js";
import { OverrideError } from "../overrides/index.js";
import type { ClusterFacts } from "../placement/types.js";
import type { BindingSpec, ResourceBinding } from "./kinds.js";
import { clustersOf, keptClustersOf, workDraftFor } from "./work-plan.js";

const facts: ClusterFacts = {
  name: "a",
  labels: {},
  provider: "",
  region: "",
  zones: [],
  taints: [],
  kinds: new Set(),
  knowsAllKinds: true,
  isLeaving: false,
  capacity: undefined,
};
const surroundings = { interpreters: new InterpreterRegistry(), facts, overrides: [] };

function binding(spec: Partial<BindingSpec> = {}): ResourceBinding {
  return {
    apiVersion: "work.karmada.io/v1alpha2",
    kind: "ResourceBinding",
    metadata: {
      name: "web-deployment",
      namespace: "demo",
      uid: "b",
      resourceVersion: "1",
      creationTimestamp: "",
      labels: { "resourcebinding.karmada.io/permanent-id": "id" },
    },
    spec: {
      resource: { apiVersion: "apps/v1", kind: "Deployment", namespace: "demo", name: "web" },
      conflictResolution: "Overwrite",
      ...spec,
    },
  };
}

function template(kind: string, apiVersion: string, spec: JsonObject): KubeObject & { spec: JsonObject } {
  return {
    apiVersion,
    kind,
    metadata: {
      name: "web",
      namespace: "demo",
      uid: "t",
      resourceVersion: "7",
      generation: 4,
      creationTimestamp: "2026-01-01T00:00:00Z",
      labels: { app: "web" },
      finalizers: ["x/y"],
      ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "o", uid: "o" }],
    },
    spec,
  };
}

const deployment = template("Deployment", "apps/v1", { replicas: 5 });

test("a Work carries the template without what is the hub's own, with what members and Karmada look for", () => {
  const work = workDraftFor(binding(), deployment, { name: "a", replicas: 2 }, surroundings);
  expect(work.metadata).toMatchObject({
    namespace: "karmada-es-a",
    finalizers: ["karmada.io/execution-controller"],
    annotations: {
      "resourcebinding.karmada.io/name": "web-deployment",
      "work.karmada.io/conflict-resolution": "overwrite",
    },
  });
  expect(work.spec).toMatchObject({ suspendDispatching: false, preserveResourcesOnDeletion: false });
  const manifest: JsonObject | undefined = work.spec.workload.manifests[0];
  expect(manifest).toMatchObject({
    spec: { replicas: 2 },
    metadata: {
      name: "web",
      labels: { app: "web", "karmada.io/managed": "true" },
      annotations: { "resourcetemplate.karmada.io/generation": "4", "work.karmada.io/namespace": "karmada-es-a" },
    },
  });
  for (const field of ["uid", "resourceVersion", "finalizers", "ownerReferences", "generation"])
    expect(manifest?.["metadata"]).not.toHaveProperty(field);
  expect(workDraftFor(binding(), deployment, { name: "a", replicas: 2 }, surroundings)).toEqual(work);
});

test("of a template that counts no generations none is told", () => {
  const { generation: _, ...metadata } = deployment.metadata;
  const map = { ...deployment, apiVersion: "v1", kind: "ConfigMap", metadata };
  const { workload } = workDraftFor(binding(), map, { name: "a", replicas: undefined }, surroundings).spec;
  const manifest: JsonObject | undefined = workload.manifests[0];
  expect(manifest).toHaveProperty(["metadata", "annotations", "work.karmada.io/namespace"]);
  expect(manifest).not.toHaveProperty(["metadata", "annotations", "resourcetemplate.karmada.io/generation"]);
});

test("a template may ask for its own way in conflicts", () => {
  const own = {
    ...deployment,
    metadata: { ...deployment.metadata, annotations: { "work.karmada.io/conflict-resolution": "abort" } },
  };
  const work = workDraftFor(binding(), own, { name: "a", replicas: 2 }, surroundings);
  expect(work.metadata.annotations["work.karmada.io/conflict-resolution"]).toBe("abort");
});

test("a divided Job's completions are divided as its replicas are", () => {
  const job = template("Job", "batch/v1", { parallelism: 4, completions: 10 });
  const spec: Partial<BindingSpec> = {
    placement: { replicaScheduling: { replicaSchedulingType: "Divided" } },
    clusters: [
      { name: "a", replicas: 3 },
      { name: "b", replicas: 1 },
    ],
  };
  const share = (name: string, replicas: number) => {
    const { workload } = workDraftFor(binding(spec), job, { name, replicas }, surroundings).spec;
    const manifest: JsonObject | undefined = workload.manifests[0];
    return manifest?.["spec"];
  };
  expect(share("a", 3)).toMatchObject({ parallelism: 3, completions: 7 });
  expect(share("b", 1)).toMatchObject({ parallelism: 1, completions: 3 });
});

test("dispatching is suspended for all clusters or for some", () => {
  const isSuspended = (suspension: BindingSpec["suspension"], name: string) =>
    workDraftFor(
      binding(suspension === undefined ? {} : { suspension }),
      deployment,
      { name, replicas: 1 },
      surroundings,
    ).spec.suspendDispatching;
  expect(isSuspended({ dispatching: true }, "a")).toBe(true);
  const some = { dispatchingOnClusters: { clusterNames: ["b"] } };
  expect([isSuspended(some, "a"), isSuspended(some, "b")]).toEqual([false, true]);
});

test("an override that does not fit is told, not swallowed", () => {
  const overrides = [
    {
      name: "o",
      namespace: "demo",
      spec: { overrideRules: [{ overriders: { plaintext: [{ path: "/no/where", operator: "remove" as const }] } }] },
    },
  ];
  expect(() => workDraftFor(binding(), deployment, { name: "a", replicas: 1 }, { ...surroundings, overrides })).toThrow(
    OverrideError,
  );
});

test("a binding goes where it is placed and where those go that need it; what it leaves gracefully stays for the time being", () => {
  const { spec } = binding({
    clusters: [{ name: "a", replicas: 1 }],
    requiredBy: [{ namespace: "demo", name: "x", clusters: [{ name: "a" }, { name: "b" }] }],
    gracefulEvictionTasks: [
      { fromCluster: "c", reason: "TaintUntolerated", producer: "TaintManager", purgeMode: "Gracefully" },
      { fromCluster: "d", reason: "TaintUntolerated", producer: "TaintManager", purgeMode: "Directly" },
    ],
  });
  expect(clustersOf(spec)).toEqual([
    { name: "a", replicas: 1 },
    { name: "b", replicas: undefined },
  ]);
  expect(keptClustersOf(spec)).toEqual(["karmada-es-c"]);
});
