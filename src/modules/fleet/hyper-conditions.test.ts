import { afterEach, expect, test } from "vitest";
import type { GatewayState } from "../../dataplane/gateway/index.js";
import {
  ClusterRoleBindingKind,
  CustomResourceDefinitionKind,
  findCondition,
  type JsonObject,
  SecretKind,
} from "../../kernel/kinds/index.js";
import { playClock } from "../../testing/play-clock.js";
import { eventually, recordingGateway, startFleet, type TestFleet, TestServiceKind } from "./fixture.js";
import { type HyperMLService, HyperMLServiceKind, WorkKind } from "./kinds.js";
import { ARGOSY } from "./names.js";

const fleets: TestFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.close();
});

const inDemo = { namespace: "demo" };
const service: JsonObject & { apiVersion: string; kind: string } = {
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLService",
  metadata: { name: "digits", ...inDemo },
  spec: { default: "v1" },
};
const secret = {
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "s3", ...inDemo },
  stringData: { key: "hidden" },
};

async function begin(names: readonly string[], options: Parameters<typeof startFleet>[1] = {}): Promise<TestFleet> {
  const fleet = await startFleet(names, options);
  fleets.push(fleet);
  return fleet;
}

/** What a condition says, in short. */
function says(object: HyperMLService, type: string): string {
  const condition = findCondition(object.status?.conditions, type);
  const isFresh = condition?.observedGeneration === object.metadata.generation;
  return condition === undefined ? "nothing" : `${condition.status} ${condition.reason}${isFresh ? "" : " (old)"}`;
}

async function reportIn(fleet: TestFleet, cluster: string, status: JsonObject): Promise<void> {
  const services = fleet.members.get(cluster)?.client.resource(TestServiceKind);
  const made = await eventually(
    () => services?.find("digits", inDemo),
    (found) => found !== undefined,
    "it is delivered",
  );
  if (made !== undefined) await services?.updateStatus({ ...made, status }, inDemo);
}

test("Ready, Progressing and Degraded follow what was seen: never ready of an earlier form, broken only what was whole", async () => {
  const fleet = await begin(["cloud", "edge"]);
  const manifests = [service];
  await fleet.createHyper(
    "digits",
    { workloads: [{ clusters: ["cloud", "edge"], manifests }] },
    { [ARGOSY.ingress]: "none" },
  );
  const get = () => fleet.getHyper("digits");
  const ready = { conditions: [{ type: "Ready", status: "True", reason: "Answers", message: "" }] };

  const young = await eventually(get, (object) => says(object, "FullyApplied").startsWith("True"), "applied");
  expect(says(young, "Ready")).toBe("False NotReady");
  expect(says(young, "Progressing")).toBe("True GettingReady");
  expect(says(young, "Degraded")).toBe("False AsExpected");
  expect(says(young, "TrafficReady")).toBe("Unknown NoHeadIngress");

  for (const cluster of ["cloud", "edge"]) await reportIn(fleet, cluster, { ...ready, observedGeneration: 1 });
  const whole = await eventually(get, (object) => says(object, "Ready") === "True Ready", "ready");
  expect(says(whole, "Progressing")).toBe("False Complete");
  expect(whole.status?.aggregatedStatus?.[0]?.health).toBe("Healthy");

  // A new form is delivered: what the service said before says nothing of it.
  const changed = { ...service, spec: { default: "v1", replicas: 2 } };
  await fleet.hub.client
    .resource(HyperMLServiceKind)
    .patch("digits", "merge", { spec: { workloads: [{ clusters: ["cloud", "edge"], manifests: [changed] }] } }, inDemo);
  const rolling = await eventually(
    get,
    (object) => says(object, "FullyApplied") === "True FullyAppliedSuccess" && object.metadata.generation === 2,
    "applied again",
  );
  expect(says(rolling, "Ready")).toBe("False NotReady");
  expect(findCondition(rolling.status?.conditions, "Ready")?.message).toContain("newest form");
  expect(says(rolling, "Degraded")).toBe("False AsExpected");
  for (const cluster of ["cloud", "edge"]) await reportIn(fleet, cluster, { ...ready, observedGeneration: 2 });
  await eventually(get, (object) => says(object, "Ready") === "True Ready", "ready again");

  await reportIn(fleet, "edge", {
    observedGeneration: 2,
    conditions: [{ type: "Ready", status: "False", reason: "NotAnswering", message: "the model crashed" }],
  });
  const broken = await eventually(get, (object) => says(object, "Degraded").startsWith("True"), "degraded");
  expect(says(broken, "Degraded")).toBe("True ReadinessLost");
  expect(findCondition(broken.status?.conditions, "Degraded")?.message).toBe(
    "edge/MLService/digits: the model crashed",
  );
  expect(says(broken, "Progressing")).toBe("False Stalled");
});

/** What a gateway says that sends these shares of the requests for `digits` to clusters. */
function gatewayState(shares: Readonly<Record<string, number>>): GatewayState {
  const backends = Object.entries(shares).map(([name, share]) => ({
    name,
    weight: 1,
    weightEffective: 1,
    share,
    healthy: true,
    answered: true,
    reason: "",
    word: "" as const,
    requests: 0,
    failures: 0,
    retries: 0,
    hedges: 0,
    inFlight: 0,
    latencySumMs: 0,
    byClass: {},
    endpoints: [],
  }));
  const route = { id: "headingress/demo/digits", listener: "head", hosts: ["*"], path: "/", unroutable: 0, backends };
  const listener = {
    name: "head",
    address: "127.0.0.1:8080",
    listening: true,
    reason: "",
    connections: 0,
    taken: false,
  };
  return {
    version: 1,
    pid: 1,
    startedAt: "2026-01-01T00:00:00Z",
    mark: "",
    partial: false,
    generation: "",
    tableError: "",
    listeners: [listener],
    routes: [route],
    totals: {},
  };
}

test("TrafficReady and the shares of all requests are the head ingress' word times the service's", async () => {
  const gateway = recordingGateway();
  const fleet = await begin(["cloud", "edge"], { gateway });
  await fleet.createHyper("digits", { workloads: [{ clusters: ["cloud", "edge"], manifests: [service] }] });
  const waiting = await eventually(
    () => fleet.getHyper("digits"),
    (object) => says(object, "TrafficReady") === "False GatewayDown",
    "no gateway, no traffic",
  );
  expect(waiting.status?.traffic).toBeUndefined();

  gateway.state = gatewayState({ cloud: 0.3, edge: 0.7 });
  for (const cluster of ["cloud", "edge"]) {
    await reportIn(fleet, cluster, {
      address: { url: `http://digits.${cluster}` },
      conditions: [{ type: "Ready", status: "True" }],
      releases: [
        { name: "v1", ready: true, trafficPercent: cluster === "edge" ? 90 : 100 },
        ...(cluster === "edge" ? [{ name: "v2", ready: true, trafficPercent: 10 }] : []),
      ],
    });
  }

  const split = await eventually(
    () => fleet.getHyper("digits"),
    (object) => says(object, "TrafficReady") === "True Serving" && object.status?.traffic?.length === 3,
    "the shares are known",
  );
  expect(split.status?.trafficSummary).toBe("cloud/v1 30%, edge/v1 63%, edge/v2 7%");
  expect(split.status?.traffic?.[2]).toEqual({
    ingress: "digits",
    cluster: "edge",
    release: "v2",
    percent: 7,
    clusterPercent: 70,
    releasePercent: 10,
  });
  expect(says(split, "Degraded")).toBe("False AsExpected");
});

const definitionOf = (plural: string): JsonObject & { readonly apiVersion: string; readonly kind: string } => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.example.org` },
  spec: {
    group: "example.org",
    scope: "Namespaced",
    names: { plural, singular: plural.slice(0, -1), kind: "Thing", listKind: "ThingList" },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
  },
});
const thing = { apiVersion: "example.org/v1", kind: "Thing", metadata: { name: "one", ...inDemo } };

/** A fleet of one cluster, in which the hub may do everything. */
async function beginWithRights() {
  const fleet = await begin(["cloud"]);
  const cloud = fleet.members.get("cloud");
  await cloud?.client.resource(ClusterRoleBindingKind).create({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "hub-admin" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "User", name: "argosy:agent", apiGroup: "rbac.authorization.k8s.io" }],
  });
  return { fleet, cloud };
}

test("what needs a new kind waits until the member has established it", async () => {
  const { fleet, cloud } = await beginWithRights();
  const definition = definitionOf("things");
  await fleet.createHyper("digits", { workloads: [{ clusters: ["cloud"], manifests: [thing, secret, definition] }] });

  const done = await eventually(
    () => fleet.getHyper("digits"),
    (object) => says(object, "FullyApplied") === "True FullyAppliedSuccess",
    "all is applied",
  );

  expect(done.status?.appliedSummary).toBe("3/3");
  const made = await cloud?.client.resource(CustomResourceDefinitionKind).get("things.example.org");
  expect(made?.metadata.labels).toHaveProperty("karmada.io/managed");
});

test("a definition whose names somebody has already is told as that, and what waits for it does not wait in silence", async () => {
  const { fleet } = await beginWithRights();
  const manifests = [definitionOf("things")];
  await fleet.createHyper("first", { workloads: [{ clusters: ["cloud"], manifests }] });
  await eventually(
    () => fleet.getHyper("first"),
    (object) => says(object, "Ready") === "True Ready",
    "the first has the names",
  );
  const other = [{ ...thing, metadata: { name: "two", ...inDemo } }, definitionOf("thongs")];
  await fleet.createHyper("second", { workloads: [{ clusters: ["cloud"], manifests: other }] });

  const stuck = await eventually(
    () => fleet.getHyper("second"),
    (object) => says(object, "Degraded") === "True DeliveryFailed",
    "it is told",
  );

  const clash = 'its names are not accepted: "ThingList" is already in use';
  expect(says(stuck, "Progressing")).toBe("False Stalled");
  expect(findCondition(stuck.status?.conditions, "Ready")?.message).toContain(
    `cloud/CustomResourceDefinition/thongs.example.org: ${clash}`,
  );
  expect(findCondition(stuck.status?.conditions, "FullyApplied")?.message).toContain(
    `waits for CustomResourceDefinition thongs.example.org to be established first: ${clash}`,
  );
});

test("a spoke that does not answer is released by tombstones, which are carried out when it is back; a successor waits for them", async () => {
  const clock = playClock();
  const fleet = await begin(["cloud", "edge"], { clock });
  const hypers = fleet.hub.client.resource(HyperMLServiceKind);
  const works = fleet.hub.client.resource(WorkKind);
  const secrets = fleet.members.get("edge")?.client.resource(SecretKind);
  const spec = { workloads: [{ clusters: ["cloud", "edge"], manifests: [service, secret] }] };
  const isApplied = async () => says(await fleet.getHyper("digits"), "FullyApplied") === "True FullyAppliedSuccess";
  await fleet.createHyper("digits", spec);
  await clock.runUntil(isApplied, 60_000);

  fleet.cut.add("edge");
  await hypers.delete("digits", inDemo);
  await clock.runUntil(
    async () =>
      (await hypers.find("digits", inDemo))?.status?.conditions?.some(({ reason }) => reason === "Deleting") === true,
    20_000,
  );
  expect(findCondition((await fleet.getHyper("digits")).status?.conditions, "FullyApplied")?.message).toContain("edge");
  const waitedMs = await clock.runUntil(async () => (await hypers.find("digits", inDemo)) === undefined, 120_000);

  expect(waitedMs).toBeGreaterThanOrEqual(20_000);
  const tombs = (await works.list({ namespace: "karmada-es-edge" })).items;
  expect(tombs.map(({ metadata }) => metadata.annotations?.[ARGOSY.tombstone] !== undefined)).toEqual([true, true]);
  expect((await works.list({ namespace: "karmada-es-cloud" })).items).toEqual([]);
  const decisions = await fleet.ledger.query({ name: "digits", topic: "deletion" });
  expect(decisions[0]?.outcome).toContain("cluster edge is not waited for");

  // The same again, while the tombstones stand.
  await fleet.createHyper("digits", { workloads: [{ clusters: ["edge"], manifests: [secret] }] });
  await clock.runUntil(async () => (await fleet.getHyper("digits")).status?.aggregatedStatus?.length === 1, 20_000);
  expect((await fleet.getHyper("digits")).status?.aggregatedStatus?.[0]?.appliedMessage).toContain(
    "an earlier HyperMLService of this name left in cluster edge",
  );
  const before = await secrets?.get("s3", inDemo);
  fleet.cut.delete("edge");
  await clock.runUntil(isApplied, 180_000);
  // Its tombstone is a Work of its own, for which the successor has no reason to wait.
  const services = fleet.members.get("edge")?.client.resource(TestServiceKind);
  await clock.runUntil(async () => (await services?.find("digits", inDemo)) === undefined, 60_000);

  expect((await secrets?.get("s3", inDemo))?.metadata.uid).not.toBe(before?.metadata.uid);
});
