import { afterAll, beforeAll, expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { apiVersionOf, DeploymentKind } from "../../../kernel/kinds/index.js";
import { ResourceBindingKind } from "../bindings/kinds.js";
import { ENGINE_KINDS, startFleet, type TestFleet } from "../fixture.js";
import { ClusterKind } from "../kinds.js";
import type { Target } from "../placement/types.js";
import { ClusterTaintPolicyKind, PropagationPolicyKind } from "../policies/kinds.js";
import { labelled, leaving, lost, tainted, withCluster, withNewCluster, withReplicas } from "./changes.js";
import { type FleetCopy, readFleet } from "./copy.js";
import { type Outcome, simulate } from "./simulate.js";
import { withTyped } from "./typed.unsafe.js";

const inDemo = { namespace: "demo" };
const clock = virtualClock(Date.parse("2026-01-01T00:00:00Z"));
let fleet: TestFleet;

const divided = { replicaSchedulingType: "Divided" as const, replicaDivisionPreference: "Weighted" as const };
const policy = (name: string, clusterNames: string[]) => ({
  apiVersion: apiVersionOf(PropagationPolicyKind),
  kind: "PropagationPolicy",
  metadata: { name, ...inDemo },
  spec: {
    resourceSelectors: [{ apiVersion: "apps/v1", kind: "Deployment", name }],
    priority: 0,
    preemption: "Never" as const,
    schedulerName: "default-scheduler",
    conflictResolution: "Abort" as const,
    placement: { clusterAffinity: { clusterNames }, replicaScheduling: divided },
  },
});

const say = (targets: readonly Target[]): string =>
  targets
    .map(({ name, replicas }) => `${name} ${replicas}`)
    .sort()
    .join(", ");

async function where(name: string): Promise<string> {
  const found = await fleet.hub.client.resource(ResourceBindingKind).find(`${name}-deployment`, inDemo);
  return say((found?.spec.clusters ?? []).map((target) => ({ name: target.name, replicas: target.replicas })));
}

const goes = (name: string, to: string) => clock.runUntil(async () => (await where(name)) === to, 60_000);
const copyOf = () => readFleet(fleet.hub.client, clock.now());
const tried = (copy: FleetCopy, changed: FleetCopy): Record<string, string> =>
  Object.fromEntries(simulate(copy, changed).outcomes.map(({ template, after }) => [template.name, say(after)]));

beforeAll(async () => {
  fleet = await startFleet(["m1", "m2", "m3"], { hubKinds: ENGINE_KINDS, clock });
  const clusters = fleet.hub.client.resource(ClusterKind);
  await clock.runUntil(
    async () => (await clusters.list()).items.every(({ status }) => (status?.apiEnablements ?? []).length > 0),
    30_000,
  );
  for (const name of ["web", "api", "lone"]) {
    const labels = { app: name };
    const template = {
      metadata: { labels },
      spec: { containers: [{ name: "app", image: "registry.example/app:1.0" }] },
    };
    await fleet.hub.client.resource(DeploymentKind).create(
      {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name, ...inDemo },
        spec: { replicas: 4, selector: { matchLabels: labels }, template },
      },
      inDemo,
    );
    const names = name === "lone" ? ["m3"] : ["m1", "m2"];
    await fleet.hub.client.resource(PropagationPolicyKind).create(policy(name, names), inDemo);
  }
  await goes("web", "m1 2, m2 2");
  await goes("api", "m1 2, m2 2");
  await goes("lone", "m3 4");
});
afterAll(() => fleet.close());

test("losing a cluster moves nothing unless a taint policy says so; what has nowhere to go is told of", async () => {
  const copy = await copyOf();
  const gone = withCluster(copy, "m2", (cluster) => lost(cluster, clock.now()));
  expect(tried(copy, gone)).toEqual({});
  const spec = {
    addOnConditions: [{ conditionType: "Ready", operator: "NotIn" as const, statusValues: ["True"] }],
    taints: [{ key: "away", effect: "NoExecute" as const }],
  };
  const kind = { apiVersion: apiVersionOf(ClusterTaintPolicyKind), kind: "ClusterTaintPolicy" };
  const ruled = withTyped(copy, { ...kind, metadata: { name: "away" }, spec });
  if (ruled === undefined) throw new Error("a taint policy is known");
  const { outcomes } = simulate(
    ruled,
    withCluster(ruled, "m2", (cluster) => lost(cluster, clock.now())),
  );
  const web = outcomes.find(({ template }) => template.name === "web");
  expect(say(web?.after ?? [])).toBe("m1 4");
  expect(web?.steps).toEqual([{ atSeconds: 8, what: "leaves m2: a NoExecute taint of it is not tolerated" }]);
  const lone = simulate(
    ruled,
    withCluster(ruled, "m3", (cluster) => lost(cluster, clock.now())),
  ).outcomes[0];
  expect(lone?.steps.map(({ what }) => what).join()).toContain("there is no other cluster that it could go to");
  expect(lone?.decision).toMatchObject({ isPlaced: false });
  const both = ["m2", "m3"].reduce((next, name) => withCluster(next, name, (each) => lost(each, clock.now())), ruled);
  expect(
    simulate(ruled, both)
      .outcomes.flatMap(({ steps }) => steps.map(({ what }) => what))
      .join(),
  ).toContain("2 of 3 clusters are not ready");
});

test("what has no place before and after is nobody's concern, unless it was asked about", async () => {
  const copy = await copyOf();
  const [found] = copy.bindings.filter(({ spec }) => spec.resource.name === "lone");
  if (found === undefined) throw new Error("it has a binding");
  const { clusters: _clusters, ...spec } = found.spec;
  const placement = { clusterAffinity: { clusterNames: ["m9"] } };
  const metadata = { ...found.metadata, name: "waits-deployment" };
  const resource = { ...spec.resource, name: "waits", uid: "waits" };
  const waiting = { ...found, metadata, spec: { ...spec, resource, placement }, status: {} };
  const stuck = { ...copy, bindings: [...copy.bindings, waiting] };
  const gone = (fleetCopy: FleetCopy) => withCluster(fleetCopy, "m2", (cluster) => leaving(cluster, clock.now()));
  expect(Object.keys(tried(stuck, gone(stuck))).sort()).toEqual(["api", "web"]);
  const lone = await fleet.hub.client.resource(DeploymentKind).get("lone", inDemo);
  const template = { ...lone, metadata: { ...lone.metadata, name: "waits" } };
  const nowhere = withTyped(stuck, { ...policy("waits", ["m9"]), metadata: { name: "waits", ...inDemo } });
  if (nowhere === undefined) throw new Error("a policy is known");
  expect(tried(stuck, { ...nowhere, templates: [template] })).toEqual({ waits: "" });
});

test("clusters that come, go and change, other replicas and other policies are tried", async () => {
  const copy = await copyOf();
  expect(
    tried(
      copy,
      withCluster(copy, "m2", (cluster) => leaving(cluster, clock.now())),
    ),
  ).toEqual({
    web: "m1 4",
    api: "m1 4",
  });
  const wide = withTyped(copy, { ...policy("web", ["m1", "m2", "m3", "m4"]), metadata: { name: "web", ...inDemo } });
  const web = await fleet.hub.client.resource(DeploymentKind).get("web", inDemo);
  if (wide === undefined) throw new Error("a policy is known");
  expect(tried(copy, { ...wide, templates: [web] })["web"]).toMatch(/^m1 [12], m2 [12], m3 [12]$/);
  const more = withNewCluster(
    { ...wide, templates: [web] },
    { name: "m4", like: "m3", labels: { tier: "gold" }, room: { cpu: "8" } },
  );
  expect(tried(copy, more)["web"]).toBe("m1 1, m2 1, m3 1, m4 1");
  expect(() => withNewCluster(copy, { name: "m1", labels: {}, room: {} })).toThrow(/already/);
  expect(() => withCluster(copy, "m9", (cluster) => cluster)).toThrow(/it has m1, m2, m3/);
  expect(tried(copy, withReplicas(copy, web, 9))["web"]).toMatch(/^m1 [45], m2 [45]$/);
  const { outcomes } = simulate(
    copy,
    withCluster(copy, "m3", (cluster) => labelled(cluster, { tier: "gold" })),
  );
  expect(outcomes).toEqual([] satisfies Outcome[]);
});

test("what is foretold of a taint is what happens; foretelling changes nothing", async () => {
  const { client } = fleet.hub;
  const versions = async () =>
    [
      ...(await client.resource(ClusterKind).list()).items,
      ...(await client.resource(ResourceBindingKind).list()).items,
      ...(await client.resource(PropagationPolicyKind).list()).items,
    ].map(({ kind, metadata }) => `${kind} ${metadata.name} ${metadata.resourceVersion}`);
  await clock.advance(10_000);
  const before = await versions();
  const copy = await copyOf();
  const taint = { key: "broken", effect: "NoExecute" as const };
  const change = (name: string) =>
    withCluster(copy, name, (cluster) => tainted(cluster, [{ ...taint, isRemoval: false }], clock.now()));
  const foretold = tried(copy, change("m1"));
  expect(foretold).toEqual({ web: "m2 4", api: "m2 4" });
  expect(tried(copy, change("m3"))).toEqual({ lone: "" });
  expect(tried(copy, copy)).toEqual({});
  expect(await versions()).toEqual(before);
  const clusters = fleet.hub.client.resource(ClusterKind);
  await clusters.patch("m1", "merge", { spec: { taints: [taint] } });
  await goes("web", foretold["web"] ?? "");
  await goes("api", foretold["api"] ?? "");
  await clusters.patch("m1", "merge", { spec: { taints: null } });
});
