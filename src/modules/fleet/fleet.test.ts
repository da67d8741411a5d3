import { afterEach, expect, test } from "vitest";
import { findCondition, type JsonObject, NamespaceKind, SecretKind } from "../../kernel/kinds/index.js";
import { clusterDraft, eventually, startFleet, type TestFleet, TestRuntimeKind, TestServiceKind } from "./fixture.js";
import { ClusterKind, type HyperMLService, WorkKind } from "./kinds.js";
import { ARGOSY, KARMADA } from "./names.js";

const fleets: TestFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.close();
});

async function begin(...names: string[]): Promise<TestFleet> {
  const fleet = await startFleet(names);
  fleets.push(fleet);
  return fleet;
}

const runtime = {
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLServiceRuntime",
  metadata: { name: "argosy-onnx", namespace: "demo" },
  spec: { enabled: true },
};
const secret = {
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "s3", namespace: "demo" },
  stringData: { key: "hidden" },
};
const service = (replicas: number): JsonObject & { apiVersion: string; kind: string } => ({
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLService",
  metadata: { name: "digits", namespace: "demo" },
  spec: { default: "v1", replicas },
});

const fullyApplied = (object: HyperMLService) => findCondition(object.status?.conditions, "FullyApplied");
const isSettled = (object: HyperMLService): boolean =>
  fullyApplied(object)?.status === "True" && fullyApplied(object)?.observedGeneration === object.metadata.generation;

function member(fleet: TestFleet, name: string) {
  const cluster = fleet.members.get(name);
  if (cluster === undefined) throw new TypeError(`no member ${name}`);
  return {
    services: cluster.client.resource(TestServiceKind),
    runtimes: cluster.client.resource(TestRuntimeKind),
    secrets: cluster.client.resource(SecretKind),
    namespaces: cluster.client.resource(NamespaceKind),
  };
}
const inDemo = { namespace: "demo" };

test("delivers each workload to its clusters, reports a row for every cluster and manifest, and reflects statuses", async () => {
  const fleet = await begin("cloud", "edge");
  await fleet.createHyper("digits", {
    workloads: [
      { clusters: ["cloud"], manifests: [service(2), secret, runtime] },
      { clusters: ["edge"], manifests: [service(1), runtime] },
    ],
  });

  const done = await eventually(() => fleet.getHyper("digits"), isSettled, "everything is applied");

  expect(fullyApplied(done)).toMatchObject({
    reason: "FullyAppliedSuccess",
    message: "All manifests have been successfully applied",
  });
  expect(
    done.status?.aggregatedStatus?.map(
      (row) =>
        `${row.cluster} ${row.resource.kind} ${row.resource.namespace}/${row.resource.name} ${row.applied} ${row.appliedMessage}`,
    ),
  ).toEqual([
    "cloud MLService demo/digits true Manifest has been successfully applied",
    "cloud MLServiceRuntime demo/argosy-onnx true Manifest has been successfully applied",
    "cloud Secret demo/s3 true Manifest has been successfully applied",
    "edge MLService demo/digits true Manifest has been successfully applied",
    "edge MLServiceRuntime demo/argosy-onnx true Manifest has been successfully applied",
  ]);
  expect(done.status).toMatchObject({ appliedSummary: "5/5", clusters: "cloud,edge", observedGeneration: 1 });
  expect(findCondition(done.status?.conditions, "Ready")).toMatchObject({ status: "False", reason: "NotReady" });
  const delivered = await member(fleet, "cloud").services.get("digits", inDemo);
  expect(delivered.spec["replicas"]).toBe(2);
  expect(delivered.metadata.labels?.[KARMADA.managed]).toBe("true");
  expect((await member(fleet, "edge").services.get("digits", inDemo)).spec["replicas"]).toBe(1);
  expect(await member(fleet, "edge").secrets.find("s3", inDemo)).toBeUndefined();
  expect(JSON.stringify(done.status)).not.toContain("hidden");

  for (const name of ["cloud", "edge"]) {
    const { services } = member(fleet, name);
    const current = await services.get("digits", inDemo);
    await services.updateStatus(
      {
        ...current,
        status: { address: { url: `http://digits.demo.${name}` }, conditions: [{ type: "Ready", status: "True" }] },
      },
      inDemo,
    );
  }
  const ready = await eventually(
    () => fleet.getHyper("digits"),
    (object) => findCondition(object.status?.conditions, "Ready")?.status === "True",
    "it is ready",
  );
  expect(ready.status?.aggregatedStatus?.[0]?.status).toMatchObject({ address: { url: "http://digits.demo.cloud" } });
  expect(ready.status?.aggregatedStatus?.[2]).not.toHaveProperty("status");
});

test("the Works carry what a real Karmada needs, and editing one workload leaves the others untouched", async () => {
  const fleet = await begin("cloud", "edge");
  await fleet.createHyper("digits", {
    workloads: [
      { clusters: ["cloud"], manifests: [service(2)] },
      { clusters: ["edge"], manifests: [service(1)] },
    ],
  });
  const first = await eventually(() => fleet.getHyper("digits"), isSettled, "applied");
  const works = fleet.hub.client.resource(WorkKind);
  const [cloud] = (await works.list({ namespace: "karmada-es-cloud" })).items;
  const [edge] = (await works.list({ namespace: "karmada-es-edge" })).items;

  const manifest = cloud?.spec.workload?.manifests?.[0];
  expect(cloud?.metadata.finalizers).toEqual(["karmada.io/execution-controller"]);
  expect(manifest?.metadata).toMatchObject({
    labels: { "karmada.io/managed": "true" },
    annotations: {
      "work.karmada.io/name": cloud?.metadata.name,
      "work.karmada.io/namespace": "karmada-es-cloud",
      "resourcetemplate.karmada.io/generation": "1",
    },
  });
  expect(first.metadata.finalizers).toContain("tensorstack.dev/hypermlservice-controller");
  expect(cloud?.metadata.name).toBe(edge?.metadata.name);

  const resource = fleet.hub.client.resource((await import("./kinds.js")).HyperMLServiceKind);
  await resource.update(
    {
      ...(await fleet.getHyper("digits")),
      spec: {
        workloads: [
          { clusters: ["cloud"], manifests: [service(3)] },
          { clusters: ["edge"], manifests: [service(1)] },
        ],
      },
    },
    inDemo,
  );
  await eventually(
    () => fleet.getHyper("digits"),
    (object) => isSettled(object) && object.metadata.generation === 2,
    "the change is applied",
  );

  expect((await member(fleet, "cloud").services.get("digits", inDemo)).spec["replicas"]).toBe(3);
  const [cloudNow] = (await works.list({ namespace: "karmada-es-cloud" })).items;
  const [edgeNow] = (await works.list({ namespace: "karmada-es-edge" })).items;
  expect(cloudNow?.spec.workload?.manifests?.[0]?.metadata).toMatchObject({
    annotations: { "resourcetemplate.karmada.io/generation": "2" },
  });
  expect(edgeNow?.metadata.generation).toBe(edge?.metadata.generation);
});

test("drift in a member is repaired; fields that the member owns stay", async () => {
  const fleet = await begin("cloud");
  await fleet.createHyper("digits", { workloads: [{ clusters: ["cloud"], manifests: [service(2), secret] }] });
  await eventually(() => fleet.getHyper("digits"), isSettled, "applied");
  const { services, secrets } = member(fleet, "cloud");

  await services.patch(
    "digits",
    "merge",
    { spec: { replicas: 9, added: "by the member" }, metadata: { labels: { own: "yes" } } },
    inDemo,
  );
  await eventually(
    () => services.get("digits", inDemo),
    (object) => object.spec["replicas"] === 2,
    "the drift is repaired",
  );
  await secrets.delete("s3", inDemo);
  await eventually(
    () => secrets.find("s3", inDemo),
    (object) => object !== undefined,
    "the deleted object is back",
  );

  const object = await services.get("digits", inDemo);
  expect(object.spec["added"]).toBe("by the member");
  expect(object.metadata.labels).toMatchObject({ own: "yes", [KARMADA.managed]: "true" });
});

test("what stands in a member is still reported when a change of it is refused there", async () => {
  const fleet = await begin("cloud");
  const workloads = (manifest: ReturnType<typeof service>) => ({
    workloads: [{ clusters: ["cloud"], manifests: [manifest] }],
  });
  await fleet.createHyper("digits", workloads(service(2)));
  await eventually(() => fleet.getHyper("digits"), isSettled, "applied");
  const { services } = member(fleet, "cloud");
  const status = { address: { url: "http://digits.demo.cloud" }, conditions: [{ type: "Ready", status: "True" }] };
  await services.patch("digits", "merge", { status }, { ...inDemo, subresource: "status" });

  // The hub does not know the kind, and takes what its members would not.
  const refused = { ...service(3), spec: "three" };
  const hypers = fleet.hub.client.resource((await import("./kinds.js")).HyperMLServiceKind);
  await hypers.patch("digits", "merge", { spec: workloads(refused) }, inDemo);
  const failed = await eventually(
    () => fleet.getHyper("digits"),
    (object) => fullyApplied(object)?.reason === "FullyAppliedFailed",
    "the change is refused",
  );

  expect(failed.status?.aggregatedStatus?.[0]).toMatchObject({ applied: false, reason: "AppliedFailed", status });
  expect(findCondition(failed.status?.conditions, "Ready")).toMatchObject({ status: "False", reason: "NotReady" });
});

test("an object that is not ours is left alone and named as the cause; taking it over is a choice", async () => {
  const fleet = await begin("cloud", "edge");
  const { services, namespaces } = member(fleet, "cloud");
  await namespaces.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" }, spec: {} });
  await services.create(
    {
      apiVersion: "tensorstack.dev/v1beta1",
      kind: "MLService",
      metadata: { name: "digits", namespace: "demo" },
      spec: { mine: true },
    },
    inDemo,
  );
  await fleet.createHyper("digits", { workloads: [{ clusters: ["cloud", "edge"], manifests: [service(2), runtime] }] });

  const failed = await eventually(
    () => fleet.getHyper("digits"),
    (object) => fullyApplied(object)?.reason === "FullyAppliedFailed" && object.status?.appliedSummary === "3/4",
    "the conflict is reported",
  );

  expect(fullyApplied(failed)?.message).toMatch(
    /^3\/4 manifests are applied; cloud\/MLService\/demo\/digits: Failed to apply all manifests \(0\/1\): MLService digits already exists in cluster cloud and is not made by Argosy/,
  );
  expect(failed.status?.aggregatedStatus?.[0]).toMatchObject({ applied: false, reason: "AppliedFailed" });
  expect(failed.status?.aggregatedStatus?.[0]?.nextRetryTime).toMatch(/^\d{4}-/);
  expect((await services.get("digits", inDemo)).spec).toEqual({ mine: true });

  const taking = {
    ...service(2),
    metadata: { name: "digits", namespace: "demo", annotations: { [KARMADA.conflictResolution]: "overwrite" } },
  };
  const resource = fleet.hub.client.resource((await import("./kinds.js")).HyperMLServiceKind);
  await resource.patch(
    "digits",
    "merge",
    { spec: { workloads: [{ clusters: ["cloud", "edge"], manifests: [taking, runtime] }] } },
    inDemo,
  );
  await eventually(() => fleet.getHyper("digits"), isSettled, "it is taken over");
  expect((await services.get("digits", inDemo)).spec["replicas"]).toBe(2);
});

test("a hung member delays nobody, is called not ready, and is caught up when it is back", async () => {
  const fleet = await begin("cloud", "edge");
  await eventually(
    () => fleet.hub.client.resource(ClusterKind).list(),
    (list) => list.items.every((cluster) => findCondition(cluster.status?.conditions, "Ready")?.status === "True"),
    "members are ready",
  );
  fleet.cut.add("edge");
  await fleet.createHyper("digits", { workloads: [{ clusters: ["cloud", "edge"], manifests: [service(2), runtime] }] });

  const partly = await eventually(
    () => fleet.getHyper("digits"),
    ({ status }) =>
      status?.appliedSummary === "2/4" &&
      status.aggregatedStatus?.some((row) => row.reason === "AppliedFailed") === true,
    "the outage is reported",
  );
  expect(fullyApplied(partly)?.message).toContain("cluster(edge) not ready");
  expect((await member(fleet, "cloud").services.get("digits", inDemo)).spec["replicas"]).toBe(2);
  const cluster = await eventually(
    () => fleet.hub.client.resource(ClusterKind).get("edge"),
    (object) => findCondition(object.status?.conditions, "Ready")?.status === "False",
    "edge is not ready",
  );
  expect(findCondition(cluster.status?.conditions, "Ready")).toMatchObject({ reason: "ClusterNotReachable" });

  fleet.cut.delete("edge");
  await eventually(() => fleet.getHyper("digits"), isSettled, "edge is caught up");
});

test("two manifests for one object are refused; unknown clusters and missing kinds are named", async () => {
  const fleet = await begin("cloud");
  const twice = fleet.createHyper("twice", {
    workloads: [
      { clusters: ["cloud"], manifests: [service(1)] },
      { clusters: ["cloud"], manifests: [service(2)] },
    ],
  });
  await expect(twice).rejects.toThrow(
    "spec.workloads[1].manifests[0]: Invalid value: MLService demo/digits is given to cluster cloud already by spec.workloads[0].manifests[0]",
  );
  expect((await fleet.hub.client.resource(WorkKind).list({ namespace: "karmada-es-cloud" })).items).toEqual([]);

  await fleet.createHyper("lost", { workloads: [{ clusters: ["clod"], manifests: [service(1)] }] });
  const lost = await eventually(
    () => fleet.getHyper("lost"),
    (object) => object.status?.aggregatedStatus?.length === 1,
    "reported",
  );
  expect(lost.status?.aggregatedStatus?.[0]?.appliedMessage).toContain(
    'cluster "clod" is not registered; did you mean "cloud"?',
  );

  const gadget = { apiVersion: "example.org/v1", kind: "Gadget", metadata: { name: "g", namespace: "demo" } };
  await fleet.createHyper("odd", { workloads: [{ clusters: ["cloud"], manifests: [gadget] }] });
  const odd = await eventually(
    () => fleet.getHyper("odd"),
    (object) => object.status?.aggregatedStatus?.[0]?.reason === "AppliedFailed",
    "the missing kind is reported",
  );
  expect(fullyApplied(odd)?.message).toContain("cluster cloud has no kind Gadget in example.org/v1");
});

test("manifests go out in order: what others refer to first, and nothing before it is applied", async () => {
  const fleet = await begin("cloud");
  const { secrets, namespaces, services } = member(fleet, "cloud");
  await namespaces.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" }, spec: {} });
  await secrets.create({ apiVersion: "v1", kind: "Secret", metadata: { name: "s3", namespace: "demo" } }, inDemo);
  await fleet.createHyper("digits", { workloads: [{ clusters: ["cloud"], manifests: [service(1), runtime, secret] }] });

  const waiting = await eventually(
    () => fleet.getHyper("digits"),
    (object) => object.status?.aggregatedStatus?.[2]?.reason === "AppliedFailed",
    "the secret is refused",
  );
  expect(waiting.status?.aggregatedStatus?.map((row) => row.reason)).toEqual([
    "WaitingForOrder",
    "WaitingForOrder",
    "AppliedFailed",
  ]);
  expect(waiting.status?.aggregatedStatus?.[0]?.appliedMessage).toBe("waits for Secret demo/s3 to be applied first");
  expect(await services.find("digits", inDemo)).toBeUndefined();

  await secrets.delete("s3", inDemo);
  await eventually(() => fleet.getHyper("digits"), isSettled, "everything follows");
});

test("deletion removes the spokes' objects first, services before what they need, and says whom it waits for", async () => {
  const fleet = await begin("cloud", "edge");
  await fleet.createHyper("digits", {
    workloads: [{ clusters: ["cloud", "edge"], manifests: [service(1), secret, runtime] }],
  });
  await eventually(() => fleet.getHyper("digits"), isSettled, "applied");
  const cloud = member(fleet, "cloud");
  await cloud.services.patch("digits", "merge", { metadata: { finalizers: ["example.org/hold"] } }, inDemo);
  const resource = fleet.hub.client.resource((await import("./kinds.js")).HyperMLServiceKind);

  await resource.delete("digits", inDemo);
  const deleting = await eventually(
    () => fleet.getHyper("digits"),
    (object) => fullyApplied(object)?.reason === "Deleting" && !fullyApplied(object)?.message.includes("edge"),
    "edge is done",
  );
  expect(fullyApplied(deleting)?.message).toContain("deletion waits for cloud: MLService demo/digits, ");
  expect(await cloud.secrets.find("s3", inDemo)).toBeDefined();
  expect(await member(fleet, "edge").services.find("digits", inDemo)).toBeUndefined();

  await cloud.services.patch("digits", "merge", { metadata: { finalizers: [] } }, inDemo);
  await eventually(
    () => resource.find("digits", inDemo),
    (object) => object === undefined,
    "it is gone",
  );
  expect(await cloud.secrets.find("s3", inDemo)).toBeUndefined();
  expect(await cloud.runtimes.find("argosy-onnx", inDemo)).toBeUndefined();
});

test("a dead spoke holds deletion until it is given up by name; a cluster that leaves the list is cleaned", async () => {
  const fleet = await begin("cloud", "edge");
  await fleet.createHyper("digits", { workloads: [{ clusters: ["cloud", "edge"], manifests: [service(1)] }] });
  await eventually(() => fleet.getHyper("digits"), isSettled, "applied");
  const resource = fleet.hub.client.resource((await import("./kinds.js")).HyperMLServiceKind);
  await resource.patch(
    "digits",
    "merge",
    { spec: { workloads: [{ clusters: ["edge"], manifests: [service(1)] }] } },
    inDemo,
  );
  await eventually(
    () => member(fleet, "cloud").services.find("digits", inDemo),
    (object) => object === undefined,
    "cloud is cleaned",
  );
  await eventually(
    () => fleet.getHyper("digits"),
    (object) => isSettled(object) && object.status?.aggregatedStatus?.length === 1,
    "one row is left",
  );

  fleet.cut.add("edge");
  await resource.delete("digits", inDemo);
  await eventually(
    () => fleet.getHyper("digits"),
    (object) => /waits for edge/.test(fullyApplied(object)?.message ?? ""),
    "it says whom it waits for",
  );
  await resource.patch("digits", "merge", { metadata: { annotations: { [ARGOSY.abandonClusters]: "edge" } } }, inDemo);
  await eventually(
    () => resource.find("digits", inDemo),
    (object) => object === undefined,
    "it is gone",
  );
  fleet.cut.delete("edge");
  expect(await member(fleet, "edge").services.find("digits", inDemo)).toBeDefined();
});

test("a cluster that is registered later gets what was meant for it; its status tells version, kinds and nodes", async () => {
  const fleet = await begin("cloud");
  await fleet.createHyper("digits", { workloads: [{ clusters: ["late"], manifests: [service(1)] }] });
  await eventually(
    () => fleet.getHyper("digits"),
    (object) => object.status?.aggregatedStatus?.[0]?.reason === "ClusterUnknown",
    "unknown",
  );
  await fleet.hub.client.resource(ClusterKind).create(clusterDraft("late"));
  const known = await eventually(
    () => fleet.getHyper("digits"),
    (object) => object.status?.aggregatedStatus?.[0]?.reason === "AppliedFailed",
    "known, but not connected",
  );
  expect(known.status?.aggregatedStatus?.[0]?.appliedMessage).toContain("cluster(late) not ready: it is not connected");

  const cloud = await eventually(
    () => fleet.hub.client.resource(ClusterKind).get("cloud"),
    (object) => object.status?.apiEnablements !== undefined,
    "status",
  );
  expect(findCondition(cloud.status?.conditions, "Ready")).toMatchObject({ status: "True", reason: "ClusterReady" });
  expect(cloud.status?.kubernetesVersion).toMatch(/^v1\./);
  expect(cloud.status?.nodeSummary).toEqual({ totalNum: 0, readyNum: 0 });
  expect(
    cloud.status?.apiEnablements?.find((group) => group.groupVersion === "tensorstack.dev/v1beta1")?.resources,
  ).toContainEqual({ name: "mlservices", kind: "MLService" });
});
