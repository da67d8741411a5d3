import { afterAll, beforeAll, expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { apiVersionOf, DeploymentKind, EventKind } from "../../../kernel/kinds/index.js";
import { type ResourceBinding, ResourceBindingKind } from "../bindings/kinds.js";
import { ENGINE_KINDS, startFleet, type TestFleet } from "../fixture.js";
import { ClusterKind } from "../kinds.js";
import { ClusterTaintPolicyKind, PropagationPolicyKind } from "../policies/kinds.js";

const names = ["m1", "m2", "m3"];
const inDemo = { namespace: "demo" };
const clock = virtualClock(Date.parse("2026-01-01T00:00:00Z"));
let fleet: TestFleet;

const isReady = async (name: string): Promise<boolean> => {
  const { status } = await fleet.hub.client.resource(ClusterKind).get(name);
  return status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
};
/** Members in which nothing becomes available. */
const sick = new Set<string>();

/** Meanwhile the members' Deployments become what they should be. */
const until = (condition: () => Promise<boolean>, limitMs = 60_000) => {
  let looks = 0;
  return clock.runUntil(async () => {
    if (looks++ % 10 === 0) await serve();
    return condition();
  }, limitMs);
};

async function serve(): Promise<void> {
  for (const [name, { client }] of fleet.members) {
    if (fleet.cut.has(name)) continue;
    const deployments = client.resource(DeploymentKind);
    for (const { metadata, spec, status } of (await deployments.list()).items) {
      const { replicas = 0 } = spec ?? {};
      if (status?.observedGeneration === metadata.generation) continue;
      const ready = sick.has(name) ? 0 : replicas;
      const counters = { replicas, updatedReplicas: replicas, readyReplicas: ready, availableReplicas: ready };
      const next = { status: { observedGeneration: metadata.generation ?? 0, ...counters } };
      await deployments.patch(metadata.name, "merge", next, { ...inDemo, subresource: "status" });
    }
  }
}

beforeAll(async () => {
  fleet = await startFleet(names, { hubKinds: ENGINE_KINDS, clock });
  await until(async () => {
    const { items } = await fleet.hub.client.resource(ClusterKind).list();
    return items.every(({ status }) => (status?.apiEnablements ?? []).length > 0);
  });
  await clock.advance(15_000);
  await fleet.hub.client.resource(ClusterTaintPolicyKind).create({
    apiVersion: apiVersionOf(ClusterTaintPolicyKind),
    kind: "ClusterTaintPolicy",
    metadata: { name: "away" },
    spec: {
      addOnConditions: [{ conditionType: "Ready", operator: "NotIn", statusValues: ["True"] }],
      removeOnConditions: [{ conditionType: "Ready", operator: "In", statusValues: ["True"] }],
      taints: [{ key: "away", effect: "NoExecute" }],
    },
  });
}, 60_000);
afterAll(() => fleet.close());

type Failover = NonNullable<ResourceBinding["spec"]["failover"]>;

async function deploy(
  name: string,
  replicas: number,
  purgeMode: "Directly" | "Gracefully",
  { clusterNames = names, application }: { clusterNames?: string[]; application?: Failover["application"] } = {},
) {
  const weights = clusterNames.map((each, index) => ({
    targetCluster: { clusterNames: [each] },
    weight: application === undefined ? 1 : 10 - index,
  }));
  const labels = { app: name };
  await fleet.hub.client.resource(DeploymentKind).create(
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, ...inDemo },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "app", image: "registry.example/app:1.0" }] } },
      },
    },
    inDemo,
  );
  await fleet.hub.client.resource(PropagationPolicyKind).create(
    {
      apiVersion: apiVersionOf(PropagationPolicyKind),
      kind: "PropagationPolicy",
      metadata: { name, ...inDemo },
      spec: {
        resourceSelectors: [{ apiVersion: "apps/v1", kind: "Deployment", name }],
        priority: 0,
        preemption: "Never",
        schedulerName: "default-scheduler",
        conflictResolution: "Abort",
        failover: { cluster: { purgeMode }, ...(application === undefined ? {} : { application }) },
        propagateDeps: true,
        placement: {
          clusterAffinity: { clusterNames },
          replicaScheduling: {
            replicaSchedulingType: "Divided",
            replicaDivisionPreference: "Weighted",
            // Without a choice between equals.
            weightPreference: { staticWeightList: weights },
          },
        },
      },
    },
    inDemo,
  );
}

const bindingOf = (name: string): Promise<ResourceBinding> =>
  fleet.hub.client.resource(ResourceBindingKind).get(`${name}-deployment`, inDemo);

async function where(name: string): Promise<string> {
  const binding = await fleet.hub.client.resource(ResourceBindingKind).find(`${name}-deployment`, inDemo);
  return (binding?.spec.clusters ?? [])
    .map((target) => `${target.name} ${target.replicas}`)
    .sort()
    .join(", ");
}

const goes = (name: string, to: string, limitMs?: number) => until(async () => (await where(name)) === to, limitMs);

async function saidOf(name: string, reason: string): Promise<string[]> {
  const { items } = await fleet.hub.client.resource(EventKind).list();
  return items.flatMap((event) =>
    event.reason === reason && event.involvedObject.name === name ? [event.message ?? ""] : [],
  );
}

test("what a failed cluster lost comes back when it has been well for long enough, longer when it failed again", async () => {
  await deploy("web", 6, "Directly");
  const annotations = { "argosy.dev/fail-back-after": "15s" };
  await fleet.hub.client.resource(ClusterKind).patch("m3", "merge", { metadata: { annotations } });
  await goes("web", "m1 2, m2 2, m3 2");
  fleet.cut.add("m3");
  await goes("web", "m1 3, m2 3");
  expect((await bindingOf("web")).metadata.annotations).toMatchObject({ "argosy.dev/lost-clusters": "m3" });
  await until(async () => (await bindingOf("web")).spec.gracefulEvictionTasks === undefined);
  fleet.cut.delete("m3");
  await until(() => isReady("m3"));
  await clock.advance(8_000);
  expect(await where("web")).toBe("m1 3, m2 3");
  await goes("web", "m1 2, m2 2, m3 2");
  expect((await bindingOf("web")).metadata.annotations?.["argosy.dev/lost-clusters"]).toBeUndefined();
  fleet.cut.add("m3");
  await goes("web", "m1 3, m2 3");
  await until(async () => (await bindingOf("web")).spec.gracefulEvictionTasks === undefined);
  fleet.cut.delete("m3");
  await until(() => isReady("m3"));
  await clock.advance(22_000);
  expect(await where("web")).toBe("m1 3, m2 3");
  await goes("web", "m1 2, m2 2, m3 2");
  expect(await saidOf("web-deployment", "FailBack")).not.toEqual([]);
}, 60_000);

test("while most clusters are away nothing is moved, and events say why", async () => {
  await deploy("held", 3, "Directly");
  await goes("held", "m1 1, m2 1, m3 1");
  fleet.cut.add("m1").add("m2");
  await until(async () => !(await isReady("m1")) && !(await isReady("m2")));
  await clock.advance(60_000);
  expect(await where("held")).toBe("m1 1, m2 1, m3 1");
  const [message] = await saidOf("m1", "EvictionStopped");
  expect(message).toContain("2 of 3 clusters are not ready");
  expect((await saidOf("held-deployment", "EvictionHeldBack")).join()).toContain("2 of 3 clusters are not ready");
  fleet.cut.delete("m2");
  await until(() => isReady("m2"));
  await until(async () => ["m2 1, m3 2", "m2 2, m3 1"].includes(await where("held")));
  fleet.cut.clear();
  await until(() => isReady("m1"));
}, 60_000);

test("what has nowhere to go stays where it is, and stays when its cluster is well again", async () => {
  for (const [name, purgeMode] of [
    ["only", "Gracefully"],
    ["direct", "Directly"],
  ] as const)
    await deploy(name, 2, purgeMode, { clusterNames: ["m2"] });
  await goes("only", "m2 2");
  await goes("direct", "m2 2");
  fleet.cut.add("m2");
  await until(async () => (await bindingOf("only")).spec.gracefulEvictionTasks !== undefined);
  await clock.advance(30_000);
  expect((await bindingOf("only")).spec.gracefulEvictionTasks).toHaveLength(1);
  expect(await where("direct")).toBe("m2 2");
  for (const name of ["only", "direct"])
    expect((await saidOf(`${name}-deployment`, "EvictionHeldBack")).join()).toContain("no other cluster");
  fleet.cut.clear();
  await goes("only", "m2 2");
  const { spec, metadata } = await bindingOf("only");
  expect(spec.gracefulEvictionTasks).toBeUndefined();
  expect(metadata.annotations?.["argosy.dev/lost-clusters"]).toBeUndefined();
}, 60_000);

test("what is unhealthy for too long moves, and takes its state along", async () => {
  await until(async () => (await isReady("m1")) && (await isReady("m2")) && (await isReady("m3")));
  sick.add("m1");
  const clusters = fleet.hub.client.resource(ClusterKind);
  await clusters.patch("m3", "merge", { spec: { taints: [{ key: "full", effect: "NoSchedule" }] } });
  await deploy("ill", 1, "Directly", {
    clusterNames: ["m1", "m3"],
    application: {
      decisionConditions: { tolerationSeconds: 30 },
      purgeMode: "Directly",
      statePreservation: { rules: [{ aliasLabelName: "had-replicas", jsonPath: "{.replicas}" }] },
    },
  });
  await goes("ill", "m1 1");
  await clock.advance(10_000);
  await serve();
  await clock.advance(35_000);
  expect(await where("ill")).toBe("m1 1");
  expect((await saidOf("ill-deployment", "EvictionHeldBack")).join()).toContain("no other cluster");
  // Once it is well there, the labels have done what they are for.
  sick.add("m3");
  await clusters.patch("m3", "merge", { spec: { taints: null } });
  await goes("ill", "m3 1");
  const moved = async () => fleet.members.get("m3")?.client.resource(DeploymentKind).find("ill", inDemo);
  await until(async () => (await moved()) !== undefined);
  expect((await moved())?.metadata.labels).toMatchObject({ "had-replicas": "1" });
  sick.clear();
}, 60_000);
