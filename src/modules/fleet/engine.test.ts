import { afterAll, beforeAll, expect, test } from "vitest";
import {
  apiVersionOf,
  ClusterRoleKind,
  ConfigMapKind,
  DeploymentKind,
  type Draft,
  type Kind,
  type KubeObject,
} from "../../kernel/kinds/index.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "./bindings/kinds.js";
import { ENGINE_KINDS, eventually, startFleet, type TestFleet } from "./fixture.js";
import { ClusterKind, WorkKind } from "./kinds.js";
import {
  ClusterPropagationPolicyKind,
  OverridePolicyKind,
  type PropagationPolicy,
  PropagationPolicyKind,
  WorkloadRebalancerKind,
} from "./policies/kinds.js";

const names = ["member1", "member2", "member3"];
const inDemo = { namespace: "demo" };
let fleet: TestFleet;

beforeAll(async () => {
  fleet = await startFleet(names, { hubKinds: ENGINE_KINDS });
  for (const name of names)
    await eventually(
      () => fleet.hub.client.resource(ClusterKind).get(name),
      ({ status }) => (status?.apiEnablements ?? []).length > 0,
      `the kinds of ${name} are known`,
    );
});
afterAll(() => fleet.close());

const deployments = () => fleet.hub.client.resource(DeploymentKind);
const maps = () => fleet.hub.client.resource(ConfigMapKind);
const policies = () => fleet.hub.client.resource(PropagationPolicyKind);
const bindings = () => fleet.hub.client.resource(ResourceBindingKind);

function createDeployment(name: string, replicas = 3) {
  const labels = { app: name };
  return deployments().create(
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, namespace: "demo" },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { containers: [{ name: "app", image: "registry.example/app:1.0" }] },
        },
      },
    },
    inDemo,
  );
}

function createMap(name: string) {
  return maps().create(
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "demo" }, data: { k: "v" } },
    inDemo,
  );
}

function specFor(
  kind: Kind,
  name: string | undefined,
  clusterNames: string[],
  more: Partial<PropagationPolicy["spec"]> = {},
): PropagationPolicy["spec"] {
  const selector = { apiVersion: apiVersionOf(kind), kind: kind.kind, ...(name === undefined ? {} : { name }) };
  return {
    resourceSelectors: [selector],
    priority: 0,
    preemption: "Never",
    schedulerName: "default-scheduler",
    conflictResolution: "Abort",
    placement: { clusterAffinity: { clusterNames } },
    ...more,
  };
}

function createPolicy(name: string, spec: PropagationPolicy["spec"]) {
  const draft: Draft<PropagationPolicy> = {
    apiVersion: apiVersionOf(PropagationPolicyKind),
    kind: "PropagationPolicy",
    metadata: { name, namespace: "demo" },
    spec,
  };
  return policies().create(draft, inDemo);
}

const where = (binding: ResourceBinding | undefined): string[] =>
  (binding?.spec.clusters ?? [])
    .map(({ name, replicas }) => (replicas === undefined ? name : `${name} ${replicas}`))
    .sort();

/** Waits until the binding goes exactly there. */
function goes(binding: string, to: string[]) {
  return eventually(
    () => bindings().find(binding, inDemo),
    (found) => JSON.stringify(where(found)) === JSON.stringify(to),
    `${binding} goes to ${to.join(", ")}`,
  );
}

/** Waits until exactly these members have the object. */
async function isIn<T extends KubeObject>(kind: Kind<T>, name: string, expected: string[], namespace = "demo") {
  const scope = kind.namespaced ? { namespace } : {};
  return eventually(
    async () => {
      const found: string[] = [];
      for (const [member, { client }] of fleet.members)
        if ((await client.resource(kind).find(name, scope)) !== undefined) found.push(member);
      return found;
    },
    (found) => JSON.stringify(found) === JSON.stringify(expected),
    `${kind.kind} ${name} is in ${expected.join(", ")}`,
  );
}

test("a Deployment is divided over the clusters that its policy names, follows its replicas, and goes with its template", async () => {
  await createDeployment("web", 3);
  const replicaScheduling = {
    replicaSchedulingType: "Divided" as const,
    replicaDivisionPreference: "Weighted" as const,
  };
  const weights = names
    .slice(0, 2)
    .map((name, index) => ({ targetCluster: { clusterNames: [name] }, weight: index + 1 }));
  const placement = {
    clusterAffinity: { clusterNames: names },
    replicaScheduling: { ...replicaScheduling, weightPreference: { staticWeightList: weights } },
  };
  await createPolicy("web", specFor(DeploymentKind, "web", [], { placement }));
  await isIn(DeploymentKind, "web", ["member1", "member2"]);
  const bound = await goes("web-deployment", ["member1 1", "member2 2"]);
  expect(bound?.metadata.annotations).toMatchObject({ "propagationpolicy.karmada.io/name": "web" });
  await deployments().patch("web", "merge", { spec: { replicas: 6 } }, inDemo);
  await eventually(
    () => fleet.members.get("member2")?.client.resource(DeploymentKind).find("web", inDemo),
    (found) => found?.spec?.replicas === 4,
    "member2 has four",
  );
  const [decision] = await fleet.ledger.query({ name: "web", topic: "placement" });
  expect(decision).toMatchObject({ outcome: "member1 2, member2 4" });
  expect(decision?.losers.map(({ name }) => name)).toEqual(["member3"]);
  await deployments().delete("web", inDemo);
  await isIn(DeploymentKind, "web", []);
  await eventually(
    () => fleet.hub.client.resource(WorkKind).list(),
    ({ items }) => items.every(({ metadata }) => !metadata.name.startsWith("web-")),
    "its Works are gone",
  );
  expect(await bindings().find("web-deployment", inDemo)).toBeUndefined();
  expect(await policies().find("web", inDemo)).toBeDefined();
});

test("a policy that goes hands over to the next; where there is none, things stay, and nobody claims them", async () => {
  await createMap("handed");
  await createPolicy("handed-a", specFor(ConfigMapKind, "handed", ["member1"]));
  await isIn(ConfigMapKind, "handed", ["member1"]);
  await createPolicy("handed-b", specFor(ConfigMapKind, "handed", ["member2"]));
  await policies().delete("handed-a", inDemo);
  await isIn(ConfigMapKind, "handed", ["member2"]);
  await policies().delete("handed-b", inDemo);
  await eventually(
    () => maps().get("handed", inDemo),
    ({ metadata }) => metadata.annotations?.["propagationpolicy.karmada.io/name"] === undefined,
    "it is claimed no more",
  );
  await eventually(
    () => policies().find("handed-b", inDemo),
    (found) => found === undefined,
    "the policy is gone",
  );
  expect(where(await bindings().find("handed-configmap", inDemo))).toEqual(["member2"]);
  await maps().patch("handed", "merge", { data: { k: "later" } }, inDemo);
  await createMap("after");
  await createPolicy("after", specFor(ConfigMapKind, "after", ["member2"]));
  await isIn(ConfigMapKind, "after", ["member2"]);
  const left = await fleet.members.get("member2")?.client.resource(ConfigMapKind).get("handed", inDemo);
  expect(left?.data).toEqual({ k: "v" });
});

test("who preempts takes over as soon as the other's priority is lower", async () => {
  await createMap("wanted");
  await createPolicy("wanted-a", specFor(ConfigMapKind, "wanted", ["member1"], { priority: 5 }));
  await goes("wanted-configmap", ["member1"]);
  await createPolicy("wanted-b", specFor(ConfigMapKind, "wanted", ["member2"], { priority: 3, preemption: "Always" }));
  await policies().patch("wanted-a", "merge", { spec: { priority: 1 } }, inDemo);
  await goes("wanted-configmap", ["member2"]);
  expect((await maps().get("wanted", inDemo)).metadata.annotations).toMatchObject({
    "propagationpolicy.karmada.io/name": "wanted-b",
  });
});

test("a lazy policy acts when its template changes", async () => {
  await createMap("lazy");
  const spec = specFor(ConfigMapKind, "lazy", ["member1"], { activationPreference: "Lazy" });
  await createPolicy("lazy", spec);
  await policies().patch(
    "lazy",
    "merge",
    { spec: { placement: { clusterAffinity: { clusterNames: ["member3"] } } } },
    inDemo,
  );
  // What comes later is through: the lazy one had its turn.
  await createMap("eager");
  await createPolicy("eager", specFor(ConfigMapKind, "eager", ["member1"]));
  await isIn(ConfigMapKind, "eager", ["member1"]);
  expect(await bindings().find("lazy-configmap", inDemo)).toBeUndefined();
  // It is the policy's all the same, and others do not get it.
  expect((await maps().get("lazy", inDemo)).metadata.annotations).toMatchObject({
    "propagationpolicy.karmada.io/name": "lazy",
  });
  await maps().patch("lazy", "merge", { data: { k: "w" } }, inDemo);
  await isIn(ConfigMapKind, "lazy", ["member3"]);
  // What was made after the policy goes at once; a change of the policy waits all the same.
  const later = specFor(ConfigMapKind, "later", ["member1"], { activationPreference: "Lazy" });
  await createPolicy("later", later);
  await createMap("later");
  await isIn(ConfigMapKind, "later", ["member1"]);
  const to = (name: string) => ({ spec: { placement: { clusterAffinity: { clusterNames: [name] } } } });
  await policies().patch("later", "merge", to("member2"), inDemo);
  await policies().patch("eager", "merge", to("member2"), inDemo);
  await isIn(ConfigMapKind, "eager", ["member2"]);
  expect(where(await bindings().get("later-configmap", inDemo))).toEqual(["member1"]);
});

test("a policy waits for the override policies that it names, and its objects differ by cluster", async () => {
  await createDeployment("differs", 1);
  const more = { dependentOverrides: ["differs"] };
  await createPolicy("differs", specFor(DeploymentKind, "differs", ["member1", "member2"], more));
  await createMap("meanwhile");
  await createPolicy("meanwhile", specFor(ConfigMapKind, "meanwhile", ["member1"]));
  await isIn(ConfigMapKind, "meanwhile", ["member1"]);
  expect(await bindings().find("differs-deployment", inDemo)).toBeUndefined();
  const tag = (value: string) => ({
    overrideRules: [
      {
        targetCluster: { clusterNames: ["member2"] },
        overriders: { imageOverrider: [{ component: "Tag" as const, operator: "replace" as const, value }] },
      },
    ],
  });
  const overrides = fleet.hub.client.resource(OverridePolicyKind);
  const selectors = [{ apiVersion: "apps/v1", kind: "Deployment", name: "differs" }];
  await overrides.create(
    {
      apiVersion: apiVersionOf(OverridePolicyKind),
      kind: "OverridePolicy",
      metadata: { name: "differs", namespace: "demo" },
      spec: { resourceSelectors: selectors, ...tag("2.0") },
    },
    inDemo,
  );
  const images = (expected: (string | undefined)[]) =>
    eventually(
      async () => {
        const found: (string | undefined)[] = [];
        for (const name of ["member1", "member2"]) {
          const object = await fleet.members.get(name)?.client.resource(DeploymentKind).find("differs", inDemo);
          found.push(object?.spec?.template.spec?.containers[0]?.image);
        }
        return found;
      },
      (found) => JSON.stringify(found) === JSON.stringify(expected),
      `images are ${expected.join(", ")}`,
    );
  await images(["registry.example/app:1.0", "registry.example/app:2.0"]);
  await overrides.patch("differs", "merge", { spec: tag("3.0") }, inDemo);
  await images(["registry.example/app:1.0", "registry.example/app:3.0"]);
});

test("objects without a namespace go by policies of the whole cluster", async () => {
  await fleet.hub.client.resource(ClusterRoleKind).create({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "reader" },
    rules: [],
  });
  const selector = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", name: "reader" };
  await fleet.hub.client.resource(ClusterPropagationPolicyKind).create({
    apiVersion: apiVersionOf(ClusterPropagationPolicyKind),
    kind: "ClusterPropagationPolicy",
    metadata: { name: "reader" },
    spec: { ...specFor(ConfigMapKind, undefined, ["member1"]), resourceSelectors: [selector] },
  });
  const wide = fleet.hub.client.resource(ClusterResourceBindingKind);
  const bound = await eventually(
    () => wide.find("reader-clusterrole"),
    (found) => where(found).length > 0,
    "it is bound",
  );
  expect(where(bound)).toEqual(["member1"]);
});

test("a binding that somebody took away is made again; one that is suspended sends nothing", async () => {
  await createMap("kept");
  await createPolicy("kept", specFor(ConfigMapKind, "kept", ["member1"]));
  const first = await goes("kept-configmap", ["member1"]);
  await bindings().delete("kept-configmap", inDemo);
  await eventually(
    () => bindings().find("kept-configmap", inDemo),
    (found) => found !== undefined && found.metadata.uid !== first?.metadata.uid,
    "there is another",
  );
  await isIn(ConfigMapKind, "kept", ["member1"]);
  await policies().patch("kept", "merge", { spec: { suspension: { dispatching: true } } }, inDemo);
  const works = fleet.hub.client.resource(WorkKind);
  await eventually(
    () => works.list({ namespace: "karmada-es-member1" }),
    ({ items }) =>
      items.some(({ metadata, spec }) => metadata.name.startsWith("kept-") && spec.suspendDispatching === true),
    "its Work is suspended",
  );
});

test("clusters that change are reacted to: labels bring objects and take them away", async () => {
  await createMap("labelled");
  const placement = { clusterAffinity: { labelSelector: { matchLabels: { tier: "gold" } } } };
  await createPolicy("labelled", specFor(ConfigMapKind, "labelled", [], { placement }));
  await eventually(
    () => bindings().find("labelled-configmap", inDemo),
    (found) => found?.status?.conditions?.find(({ type }) => type === "Scheduled")?.reason === "NoClusterFit",
    "nobody fits",
  );
  expect((await bindings().get("labelled-configmap", inDemo)).metadata.annotations).toMatchObject({
    "policy.karmada.io/applied-placement": JSON.stringify(placement),
  });
  const [nowhere, ...earlier] = await fleet.ledger.query({ name: "labelled", topic: "placement" });
  expect(nowhere?.losers.map(({ name, reason }) => `${name} ${reason.split(":")[0]}`)).toEqual(
    names.map((name) => `${name} ClusterAffinity`),
  );
  expect(earlier).toEqual([]);
  const clusters = fleet.hub.client.resource(ClusterKind);
  await clusters.patch("member2", "merge", { metadata: { labels: { tier: "gold" } } });
  await isIn(ConfigMapKind, "labelled", ["member2"]);
  await clusters.patch("member3", "merge", { metadata: { labels: { tier: "gold" } } });
  await clusters.patch("member2", "merge", { metadata: { labels: { tier: null } } });
  await isIn(ConfigMapKind, "labelled", ["member3"]);
});

test("workloads of one group are placed together, or apart, also when they come at once", async () => {
  const one = [{ spreadByField: "cluster" as const, minGroups: 1, maxGroups: 1 }];
  const term = { groupByLabelKey: "set" };
  for (const name of ["pair-a", "pair-b", "rival-a", "rival-b", "rival-c", "rival-d"]) {
    const workloadAffinity = name.startsWith("pair") ? { affinity: term } : { antiAffinity: term };
    const placement = { clusterAffinity: { clusterNames: names }, spreadConstraints: one, workloadAffinity };
    await createPolicy(name, specFor(ConfigMapKind, name, [], { placement }));
  }
  const labelled = (name: string) => ({ name, namespace: "demo", labels: { set: name.split("-")[0] ?? "" } });
  const make = (name: string) =>
    maps().create({ apiVersion: "v1", kind: "ConfigMap", metadata: labelled(name), data: {} }, inDemo);
  await Promise.all(["pair-a", "pair-b", "rival-a", "rival-b", "rival-c", "rival-d"].map(make));
  const placed = (...of: string[]) =>
    eventually(
      async () => (await Promise.all(of.map((name) => bindings().find(`${name}-configmap`, inDemo)))).flatMap(where),
      (found) => found.length >= Math.min(of.length, names.length),
      `${of.join(", ")} have places`,
    );
  expect(new Set(await placed("pair-a", "pair-b")).size).toBe(1);
  expect(new Set(await placed("rival-a", "rival-b", "rival-c", "rival-d"))).toEqual(new Set(names));
  const homeless = await eventually(
    async () => {
      const all = ["a", "b", "c", "d"].map((each) => bindings().get(`rival-${each}-configmap`, inDemo));
      return (await Promise.all(all)).find((binding) => where(binding).length === 0);
    },
    (found) => found?.status?.conditions?.some(({ reason }) => reason === "NoClusterFit") === true,
    "one of them has no place",
  );
  expect(homeless?.spec.workloadAffinityGroups).toEqual({ antiAffinityGroup: "set=rival" });
  const winner = ["a", "b", "c", "d"].find((each) => `rival-${each}-configmap` !== homeless?.metadata.name);
  await maps().delete(`rival-${winner}`, inDemo);
  await eventually(
    () => bindings().get(homeless?.metadata.name ?? "", inDemo),
    (found) => where(found).length === 1,
    "it takes the place that came free",
  );
});

test("a rebalancer places anew, says so, and goes when its time is over", async () => {
  await createDeployment("moved", 4);
  await createPolicy("moved", specFor(DeploymentKind, "moved", ["member1"]));
  await goes("moved-deployment", ["member1 4"]);
  const workload = { apiVersion: "apps/v1", kind: "Deployment", name: "moved", namespace: "demo" };
  const ghost = { ...workload, name: "ghost" };
  const rebalancers = fleet.hub.client.resource(WorkloadRebalancerKind);
  await rebalancers.create({
    apiVersion: apiVersionOf(WorkloadRebalancerKind),
    kind: "WorkloadRebalancer",
    metadata: { name: "r" },
    spec: { workloads: [workload, ghost] },
  });
  const done = await eventually(
    () => rebalancers.get("r"),
    ({ status }) => status?.finishTime !== undefined,
    "it is done",
  );
  expect(done.status?.observedWorkloads).toEqual([
    { workload: ghost, result: "Failed", reason: "ReferencedBindingNotFound" },
    { workload, result: "Successful" },
  ]);
  const bound = await eventually(
    () => bindings().get("moved-deployment", inDemo),
    ({ spec, status }) =>
      spec.rescheduleTriggeredAt !== undefined && (status?.lastScheduledTime ?? "") >= spec.rescheduleTriggeredAt,
    "the wish is answered",
  );
  expect(where(bound)).toEqual(["member1 4"]);
  await rebalancers.patch("r", "merge", { spec: { ttlSecondsAfterFinished: 0 } });
  await eventually(
    () => rebalancers.find("r"),
    (found) => found === undefined,
    "it is gone",
  );
});
