import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigMapKind, type JsonObject, NamespaceKind } from "../../kernel/kinds/index.js";
import {
  ClusterResourceBindingKind,
  HeadIngressKind,
  HyperMLServiceKind,
  HyperRolloutKind,
  PropagationPolicyKind,
  ResourceBindingKind,
  WorkKind,
} from "../../modules/fleet/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { testTerminal } from "../output/terminal.fixture.js";
import { explainWith } from "./explain.js";

let cluster: TestCluster;
const inDemo = { namespace: "demo" };
const inSpace = { namespace: "karmada-es-cloud" };

const decision = (kind: string, name: string, time: string): JsonObject => ({
  time,
  cluster: "hub",
  about: { apiVersion: "v1", kind, name },
  topic: "placement",
  rule: "Duplicated",
  inputs: {},
  outcome: `${kind} ${name} goes to cloud`,
  winners: [{ name: "cloud", reason: "fits" }],
  losers: [],
});

/** A ledger that knows one Deployment, one ClusterRole and one HyperMLService. */
const known = [
  decision("Deployment", "web", "2026-01-01T00:00:01.000Z"),
  decision("ClusterRole", "reader", "2026-01-01T00:00:02.000Z"),
  decision("HyperMLService", "digits", "2026-01-01T00:00:03.000Z"),
];

async function explain(type: string, name: string, namespace = "demo", output: "table" | "json" = "table") {
  const terminal = testTerminal();
  const asked: string[] = [];
  const ask = async (path: string): Promise<unknown> => {
    const query = new URL(path, "https://test").searchParams;
    asked.push(`${query.get("kind") ?? ""} ${query.get("namespace") ?? ""}/${query.get("name") ?? ""}`);
    return {
      decisions: known.filter((each) => {
        const about = each["about"] as JsonObject;
        return about["kind"] === query.get("kind") && about["name"] === query.get("name");
      }),
    };
  };
  await explainWith({ client: cluster.client, ask, namespace }, [type, name], {
    options: { limit: "10", output },
    terminal,
  });
  return { asked, out: terminal.stdout(), err: terminal.stderr() };
}

beforeAll(async () => {
  const services = [HyperMLServiceKind, HeadIngressKind, HyperRolloutKind];
  cluster = await startTestCluster({
    kinds: [ResourceBindingKind, ClusterResourceBindingKind, WorkKind, PropagationPolicyKind, ...services],
  });
  for (const name of ["demo", "karmada-es-cloud"])
    await cluster.client
      .resource(NamespaceKind)
      .create({ apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: {} });
  const apiVersion = "work.karmada.io/v1alpha2";
  const resource = (kind: string, name: string, namespace?: string) => ({
    apiVersion: "v1",
    kind,
    name,
    ...(namespace === undefined ? {} : { namespace }),
  });
  const bindings = cluster.client.resource(ResourceBindingKind);
  await bindings.create(
    {
      apiVersion,
      kind: "ResourceBinding",
      metadata: { name: "web-deployment", ...inDemo },
      spec: { resource: resource("Deployment", "web", "demo"), conflictResolution: "Abort" },
    },
    inDemo,
  );
  await bindings.create(
    {
      apiVersion,
      kind: "ResourceBinding",
      metadata: { name: "settings-configmap", ...inDemo },
      spec: {
        resource: resource("ConfigMap", "settings", "demo"),
        conflictResolution: "Abort",
        requiredBy: [{ namespace: "demo", name: "web-deployment" }],
      },
    },
    inDemo,
  );
  await cluster.client.resource(ClusterResourceBindingKind).create({
    apiVersion,
    kind: "ClusterResourceBinding",
    metadata: { name: "reader-clusterrole" },
    spec: { resource: resource("ClusterRole", "reader"), conflictResolution: "Abort" },
  });
  const work = (name: string, kind: string, annotations: Record<string, string>) => ({
    apiVersion: "work.karmada.io/v1alpha1",
    kind: "Work",
    metadata: { name, ...inSpace, annotations },
    spec: {
      workload: {
        manifests: [{ apiVersion: "apps/v1", kind, metadata: { name: "web", namespace: "demo" }, spec: {} }],
      },
    },
  });
  const works = cluster.client.resource(WorkKind);
  await works.create(work("web-1", "Deployment", {}), inSpace);
  const owner = { "argosy.dev/hypermlservice-name": "digits", "argosy.dev/hypermlservice-namespace": "demo" };
  await works.create(work("digits-1", "MLService", owner), inSpace);
});
afterAll(() => cluster.close());

test("a binding leads to the decisions about its template, by each name that it goes by", async () => {
  for (const type of ["rb", "resourcebinding", "resourcebindings.work.karmada.io"]) {
    const { asked, out } = await explain(type, "web-deployment");
    expect(asked).toEqual(["Deployment demo/web"]);
    expect(out).toContain("about Deployment demo/web:");
    expect(out).toContain("Deployment web goes to cloud");
  }
  const { asked, out } = await explain("crb", "reader-clusterrole");
  expect(asked).toEqual(["ClusterRole /reader"]);
  expect(out).toContain("ClusterRole reader goes to cloud");
});

test("a template tells how its binding stands: what is held back, what it leaves", async () => {
  const bindings = cluster.client.resource(ResourceBindingKind);
  const spec = {
    suspension: { dispatchingOnClusters: { clusterNames: ["edge"] } },
    gracefulEvictionTasks: [
      {
        fromCluster: "far",
        reason: "ApplicationFailure",
        producer: "test",
        purgeMode: "Never" as const,
        suppressDeletion: true,
      },
    ],
  };
  await bindings.patch("web-deployment", "merge", { spec }, inDemo);
  const { out } = await explain("deployment", "web");
  await bindings.patch("web-deployment", "merge", { spec: { suspension: null, gracefulEvictionTasks: null } }, inDemo);
  expect(out).toContain(
    [
      "deployment/web now:",
      "  suspended: no change is sent to edge",
      "  leaves far (ApplicationFailure); what is there stays until somebody sets suppressDeletion to false",
      "",
    ].join("\n"),
  );
});

test("an object whose policy is lazy tells what it waits for", async () => {
  const maps = cluster.client.resource(ConfigMapKind);
  const annotations = {
    "propagationpolicy.karmada.io/name": "calm",
    "propagationpolicy.karmada.io/namespace": "demo",
  };
  await maps.create(
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "settings", ...inDemo, annotations } },
    inDemo,
  );
  await maps.create(
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "late", ...inDemo, annotations } },
    inDemo,
  );
  expect((await explain("configmap", "late")).err).toContain("no decisions");
  await cluster.client.resource(PropagationPolicyKind).apply(
    {
      metadata: { name: "calm", ...inDemo },
      spec: {
        resourceSelectors: [{ apiVersion: "v1", kind: "ConfigMap" }],
        activationPreference: "Lazy",
        placement: { clusterAffinity: { clusterNames: ["edge"] } },
      },
    },
    { fieldManager: "test", ...inDemo },
  );
  const policy = "PropagationPolicy demo/calm is Lazy (spec.activationPreference)";
  expect((await explain("configmap", "late")).out).toContain(
    `configmap/late now:\n  waits: ${policy}, and carries the object out when that itself is changed next\n`,
  );
  expect((await explain("configmap", "settings")).out).toContain(
    `  ${policy}: what it asks for now holds when the object itself is changed next\n`,
  );
});

test("a binding that goes along with another leads to that one's decisions too", async () => {
  const { asked, out } = await explain("rb", "settings-configmap");
  expect(asked).toEqual(["ConfigMap demo/settings", "Deployment demo/web"]);
  expect(out).toContain("Deployment web goes to cloud");
});

test("a Work leads to what it carries and to its HyperMLService", async () => {
  expect((await explain("work", "web-1", "karmada-es-cloud")).out).toContain("Deployment web goes to cloud");
  const { asked, out } = await explain("work", "digits-1", "karmada-es-cloud", "json");
  expect(asked).toEqual(["HyperMLService demo/digits", "MLService demo/web"]);
  expect(JSON.parse(out).decisions).toEqual([known[2]]);
});

test("what is not there is said, and what nobody decided about", async () => {
  await expect(explain("rb", "none")).rejects.toThrow(/not found/);
  await expect(explain("namespace", "none")).rejects.toThrow(/not found/);
  expect((await explain("namespace", "demo")).err).toBe("no decisions about namespace/demo are in the ledger\n");
});

test("a HyperMLService leads to its HeadIngress and HyperRollout, these to it; each says how it stands", async () => {
  const spec = { hyperMLServiceRef: { name: "digits" } };
  const heads = cluster.client.resource(HeadIngressKind);
  await heads.create({
    apiVersion: "argosy.dev/v1alpha1",
    kind: "HeadIngress",
    metadata: { name: "way", ...inDemo },
    spec,
  });
  await cluster.client
    .resource(HyperRolloutKind)
    .create({ apiVersion: "argosy.dev/v1alpha1", kind: "HyperRollout", metadata: { name: "slow", ...inDemo }, spec });
  const hypers = cluster.client.resource(HyperMLServiceKind);
  const manifest = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c", namespace: "demo" } };
  await hypers.create({
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "HyperMLService",
    metadata: { name: "digits", ...inDemo },
    spec: { workloads: [{ clusters: ["cloud", "edge"], manifests: [manifest] }] },
  });
  const row = (name: string, applied: boolean, appliedMessage: string) => ({
    cluster: name,
    applied,
    appliedMessage,
    reason: applied ? "" : "ApplyFailed",
    resource: { apiVersion: "v1", kind: "ConfigMap", name: "c", namespace: "demo" },
  });
  const condition = { type: "FullyApplied", status: "False", reason: "FullyAppliedFailed", message: "1/2" };
  const status = {
    aggregatedStatus: [row("cloud", true, ""), row("edge", false, "no room")],
    conditions: [{ ...condition, lastTransitionTime: "2026-01-01T00:00:00Z" }],
  };
  await hypers.patch("digits", "merge", { status }, { ...inDemo, subresource: "status" });
  const backend = {
    name: "edge",
    url: "http://e",
    weight: 2,
    weightEffective: 0,
    percent: 0,
    requests: 0,
    failures: 0,
  };
  const backends = [{ ...backend, reason: "NotReady", message: "it starts" }];
  await heads.patch("way", "merge", { status: { backends } }, { ...inDemo, subresource: "status" });

  const { asked, out } = await explain("hmls", "digits");
  expect(asked).toEqual(["HyperMLService demo/digits", "HeadIngress demo/way", "HyperRollout demo/slow"]);
  expect(out).toContain(`hmls/digits now:
  FullyApplied False (FullyAppliedFailed: 1/2)
  1 of 2 are applied and not known to be unhealthy
  edge: ConfigMap c is not applied (ApplyFailed: no room)
`);
  expect(out).toContain("  about: HyperMLService digits\n");
  const way = await explain("headingress", "way");
  expect(way.asked).toEqual(["HeadIngress demo/way", "HyperMLService demo/digits"]);
  expect(way.out).toContain("  edge: 0% of the requests, weight 0 of 2 (NotReady: it starts)\n");
  expect((await explain("hyperrollout", "slow")).out).toContain("nothing has been said of it yet");
  await heads.delete("way", inDemo);
  await expect(explain("headingress", "way")).rejects.toThrow(/not found/);
});
