import { afterEach, expect, test } from "vitest";
import type { RouteInput } from "../../dataplane/gateway/index.js";
import { findCondition, type JsonObject } from "../../kernel/kinds/index.js";
import { eventually, recordingGateway, startFleet, type TestFleet, TestServiceKind } from "./fixture.js";
import { ClusterKind, HeadIngressKind, HyperMLServiceKind } from "./kinds.js";
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
const inClusters = (...clusters: string[]) => ({ workloads: [{ clusters, manifests: [service] }] });

interface Moment {
  /** What the gateway is told of the edge; undefined: nothing. */
  readonly weight: number | undefined;
  /** Whether the edge has its MLService at that time. */
  readonly isServed: boolean;
}

/** A gateway that takes its time. */
interface Hold {
  applying: number;
  until: Promise<void>;
}

/** A fleet with a HyperMLService that serves in two clusters, and what the gateway was told while the edge left. */
async function begin(): Promise<{ fleet: TestFleet; moments: Moment[]; hold: Hold }> {
  const moments: Moment[] = [];
  const hold: Hold = { applying: 0, until: Promise.resolve() };
  const gateway = {
    ...recordingGateway(),
    apply: async (source: string, { routes }: { readonly routes: readonly RouteInput[] }) => {
      if (source !== "head-ingress") return;
      hold.applying += 1;
      await hold.until;
      const edge = routes[0]?.backends.find(({ name }) => name === "edge");
      const found = await fleet.members.get("edge")?.client.resource(TestServiceKind).find("digits", inDemo);
      moments.push({ weight: edge?.weight, isServed: found !== undefined });
    },
  };
  const fleet: TestFleet = await startFleet(["cloud", "edge"], { gateway });
  fleets.push(fleet);
  await fleet.createHyper("digits", inClusters("cloud", "edge"), { [ARGOSY.ingressWeights]: "cloud=30,edge=70" });
  for (const member of fleet.members.values()) {
    const services = member.client.resource(TestServiceKind);
    const made = await eventually(
      () => services.find("digits", inDemo),
      (object) => object !== undefined,
      "it is delivered",
    );
    const url = `http://digits.demo.${member.name}.argosy.localhost:8081`;
    const status = { address: { url }, conditions: [{ type: "Ready", status: "True" }] };
    if (made !== undefined) await services.updateStatus({ ...made, status }, inDemo);
  }
  await eventually(
    () => moments.at(-1),
    (moment) => moment?.weight === 70,
    "the edge gets requests",
  );
  await edgeOf(fleet, (edge) => edge?.reason === "NotProgrammed", "the HeadIngress knows");
  return { fleet, moments, hold };
}

async function edgeOf(
  fleet: TestFleet,
  isTrue: (edge: { reason?: string; message?: string } | undefined) => boolean,
  what: string,
) {
  return eventually(
    async () => {
      const head = await fleet.hub.client.resource(HeadIngressKind).get("digits", inDemo);
      return head.status?.backends?.find(({ name }) => name === "edge");
    },
    isTrue,
    what,
  );
}

async function edgeService(fleet: TestFleet) {
  return fleet.members.get("edge")?.client.resource(TestServiceKind).find("digits", inDemo);
}

/** Whenever the gateway had the edge's requests, the edge had what answers them; and there was a moment with the one and without the other. */
function expectRequestsFirst(moments: readonly Moment[]): void {
  expect(moments.filter(({ weight, isServed }) => (weight ?? 0) > 0 && !isServed)).toEqual([]);
  expect(moments).toContainEqual({ weight: 0, isServed: true });
}

test("a cluster that leaves a HyperMLService gets no requests before its objects go, and the statuses say so", async () => {
  const { fleet, moments } = await begin();
  moments.splice(0);
  const hypers = fleet.hub.client.resource(HyperMLServiceKind);
  await hypers.patch("digits", "merge", { spec: inClusters("cloud") }, inDemo);
  await eventually(
    () => edgeService(fleet),
    (found) => found === undefined,
    "the edge is cleaned",
  );
  await edgeOf(fleet, (edge) => edge === undefined, "the HeadIngress forgets the edge");
  const done = await eventually(
    () => fleet.getHyper("digits"),
    (object) => object.status?.leaving === undefined && object.status?.appliedSummary === "1/1",
    "nothing leaves any more",
  );

  expectRequestsFirst(moments);
  expect(findCondition(done.status?.conditions, "FullyApplied")).toMatchObject({ status: "True" });
});

test("a cluster is called drained when the gateway was told, not when that is only decided", async () => {
  const { fleet, moments, hold } = await begin();
  moments.splice(0);
  let goOn: () => void = () => undefined;
  hold.until = new Promise((resolve) => {
    goOn = resolve;
  });
  const before = hold.applying;
  const heads = fleet.hub.client.resource(HeadIngressKind);
  await heads.patch("digits", "merge", { spec: { retry: { attempts: 1 } } }, inDemo);
  await eventually(
    () => hold.applying,
    (count) => count > before,
    "the gateway is being told of something else",
  );
  await fleet.hub.client.resource(HyperMLServiceKind).patch("digits", "merge", { spec: inClusters("cloud") }, inDemo);
  await eventually(
    () => fleet.getHyper("digits"),
    ({ status }) => status?.leaving?.some(({ cluster }) => cluster === "edge") === true,
    "the edge leaves",
  );
  goOn();
  await eventually(
    () => edgeService(fleet),
    (found) => found === undefined,
    "the edge is cleaned",
  );
  await edgeOf(fleet, (edge) => edge === undefined, "the HeadIngress forgets the edge");

  expectRequestsFirst(moments);
});

test("a Cluster that is deleted is drained, emptied and then gone", async () => {
  const { fleet, moments } = await begin();
  moments.splice(0);
  const clusters = fleet.hub.client.resource(ClusterKind);
  await clusters.delete("edge");
  await eventually(
    () => clusters.find("edge"),
    (cluster) => cluster === undefined,
    "the Cluster is gone",
  );
  const left = await edgeService(fleet);
  const row = await eventually(
    async () => (await fleet.getHyper("digits")).status?.aggregatedStatus?.find(({ cluster }) => cluster === "edge"),
    (found) => found?.reason === "ClusterUnknown",
    "the HyperMLService says that it has no such cluster",
  );

  expectRequestsFirst(moments);
  expect(left).toBeUndefined();
  expect(row?.appliedMessage).toContain('cluster "edge" is not registered');
});

test("a dead cluster is drained at once and held until its objects are given up", async () => {
  const { fleet, moments } = await begin();
  const clusters = fleet.hub.client.resource(ClusterKind);
  fleet.cut.add("edge");
  await clusters.delete("edge");
  const drained = await edgeOf(fleet, (edge) => edge?.reason === "Draining", "the HeadIngress says why");
  await eventually(
    () => clusters.get("edge"),
    (cluster) =>
      /annotation argosy\.dev\/abandon=true/.test(findCondition(cluster.status?.conditions, "Leaving")?.message ?? ""),
    "the Cluster says what to do",
  );
  await clusters.patch("edge", "merge", { metadata: { annotations: { [ARGOSY.abandon]: "true" } } });
  await eventually(
    () => clusters.find("edge"),
    (cluster) => cluster === undefined,
    "the Cluster is gone",
  );
  fleet.cut.delete("edge");

  expect(drained?.message).toBe("cluster edge is being removed");
  expect(moments.at(-1)?.weight ?? 0).toBe(0);
  expect(await edgeService(fleet)).toBeDefined();
});

test("a cluster is drained by hand and taken back", async () => {
  const { fleet, moments } = await begin();
  const clusters = fleet.hub.client.resource(ClusterKind);
  await clusters.patch("edge", "merge", { metadata: { annotations: { [ARGOSY.drain]: "new disks" } } });
  const drained = await edgeOf(fleet, (edge) => edge?.reason === "Draining", "it is drained");
  await eventually(
    () => moments.at(-1)?.weight,
    (weight) => weight === 0,
    "the gateway knows",
  );
  await clusters.patch("edge", "merge", { metadata: { annotations: { [ARGOSY.drain]: null } } });
  await eventually(
    () => moments.at(-1)?.weight,
    (weight) => weight === 70,
    "it is back",
  );

  expect(drained?.message).toBe("cluster edge is drained: new disks");
  expect(await edgeService(fleet)).toBeDefined();
});
