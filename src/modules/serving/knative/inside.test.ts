import { expect, onTestFinished, test } from "vitest";
import { checksOf } from "../../../cluster/apiserver/index.js";
import { systemClock } from "../../../kernel/clock/index.js";
import { createManager } from "../../../kernel/control/index.js";
import {
  DeploymentKind,
  EndpointSliceKind,
  IngressKind,
  type Service,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { memoryLedger } from "../../../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { knativeAdmission, knativeControllers } from "./index.js";
import { KNATIVE_KINDS, KnativeServiceKind, RevisionKind, type Route, RouteKind } from "./kinds.js";

const namespace = "default";

async function start(): Promise<TestCluster> {
  const admission = knativeAdmission().filter(({ level }) => level === "cluster");
  const checks = checksOf(admission, () => cluster);
  const cluster: TestCluster = await startTestCluster({ name: "cloud", kinds: KNATIVE_KINDS, checks });
  const manager = createManager({ cluster, clock: systemClock, random: cluster.random, log: silentLogger });
  const controllers = knativeControllers({
    ledger: memoryLedger({ clock: systemClock }),
    probe: async () => ({ status: 200, body: "hello" }),
    address: { domain: "cloud.argosy.localhost", port: 8081 },
  });
  for (const spec of controllers) manager.add(spec);
  manager.start();
  onTestFinished(async () => {
    await manager.close();
    await cluster.close();
  });
  return cluster;
}

const write = (
  cluster: TestCluster,
  word: string,
  traffic: readonly object[] = [],
  labels: Readonly<Record<string, string>> = {},
) =>
  cluster.client.resource(KnativeServiceKind).apply(
    {
      metadata: { name: "hello", namespace, labels: { ...labels } },
      spec: {
        template: { spec: { containers: [{ image: `x:${word}`, ports: [{ containerPort: 9000 }] }] } },
        ...(traffic.length === 0 ? {} : { traffic: traffic.map((each) => ({ ...each })) }),
      },
    },
    { namespace, fieldManager: "user", force: true },
  );

/** Says that a Revision's pods are ready, once its Deployment is there. */
async function ready(cluster: TestCluster, revision: string): Promise<void> {
  const deployments = cluster.client.resource(DeploymentKind);
  const name = `${revision}-deployment`;
  while ((await deployments.find(name, { namespace })) === undefined)
    await new Promise<void>((resolve) => setImmediate(resolve));
  const status = { observedGeneration: 1, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 };
  await deployments.patch(name, "merge", { status }, { namespace, subresource: "status" });
}

async function untilInside(cluster: TestCluster, revision: string): Promise<Service> {
  for (;;) {
    const found = await cluster.client.resource(ServiceKind).find("hello", { namespace });
    if (found?.spec.selector?.["serving.knative.dev/revision"] === revision) return found;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

test("a Revision's program goes on for a moment when its pod goes, until nobody sends it requests", async () => {
  const cluster = await start();
  await write(cluster, "a");
  await ready(cluster, "hello-00001");
  const deployment = await cluster.client.resource(DeploymentKind).get("hello-00001-deployment", { namespace });

  const [container] = deployment.spec.template.spec?.containers ?? [];
  expect(container?.lifecycle).toEqual({ preStop: { sleep: { seconds: 2 } } });
});

test("a Revision that is deleted gives up its share at once, and the Route says so", async () => {
  const cluster = await start();
  await write(cluster, "a");
  await ready(cluster, "hello-00001");
  await untilInside(cluster, "hello-00001");
  await write(cluster, "b", [
    { revisionName: "hello-00001", percent: 40 },
    { latestRevision: true, percent: 60, tag: "new" },
  ]);
  await ready(cluster, "hello-00002");
  await untilInside(cluster, "hello-00002");
  const routeWith = async (isWanted: (route: Route) => boolean): Promise<Route> => {
    for (;;) {
      const found = await cluster.client.resource(RouteKind).find("hello", { namespace });
      if (found !== undefined && isWanted(found)) return found;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  const gone = ({ status }: Route): boolean =>
    status?.conditions?.some(({ type, reason }) => type === "AllTrafficAssigned" && reason === "RevisionMissing") ===
    true;
  const ingress = () => cluster.client.resource(IngressKind).get("hello", { namespace });
  await routeWith(({ status }) => status?.traffic?.length === 2);
  const before = await ingress();
  await cluster.client.resource(RevisionKind).delete("hello-00001", { namespace });
  const route = await routeWith((one) => gone(one) && one.status?.traffic?.length === 1);
  const after = await ingress();

  expect(JSON.parse(before.metadata.annotations?.["argosy.dev/weights"] ?? "{}")).toEqual({
    "hello-00001": 40,
    "hello-00002": 60,
  });
  expect(route.status?.traffic).toMatchObject([{ revisionName: "hello-00002", percent: 100, tag: "new" }]);
  expect(route.status?.conditions?.find(({ type }) => type === "AllTrafficAssigned")).toMatchObject({
    status: "False",
    message: 'Revision "hello-00001" referenced in traffic not found; its share is divided among the others',
  });
  expect(route.status?.conditions?.find(({ type }) => type === "Ready")?.status).toBe("False");
  expect(after.metadata.annotations?.["argosy.dev/weights"]).toBeUndefined();
  expect(after.spec.rules?.[0]?.http?.paths?.[0]?.backend.service?.name).toBe("hello-00002");
});

test("where no Revision is left requests wait for nobody", async () => {
  const cluster = await start();
  await write(cluster, "a", [{ revisionName: "hello-00001", percent: 100 }]);
  await ready(cluster, "hello-00001");
  await untilInside(cluster, "hello-00001");
  await write(cluster, "b", [{ revisionName: "hello-00001", percent: 100 }]);
  await ready(cluster, "hello-00002");
  const ingress = () => cluster.client.resource(IngressKind).get("hello", { namespace });
  const heldBefore = (await ingress()).metadata.annotations?.["serving.argosy.dev/activator"];
  await cluster.client.resource(RevisionKind).delete("hello-00001", { namespace });
  let route: Route | undefined;
  while (!JSON.stringify(route?.status?.conditions ?? "").includes("nobody is left to answer")) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    route = await cluster.client.resource(RouteKind).get("hello", { namespace });
  }

  expect(heldBefore).toBe("hello-00001-deployment");
  expect((await ingress()).metadata.annotations?.["serving.argosy.dev/activator"]).toBe("");
});

test("a Route has a name inside of the cluster, which leads to the Revision with the largest share", async () => {
  const cluster = await start();
  await write(cluster, "a");
  await ready(cluster, "hello-00001");
  const first = await untilInside(cluster, "hello-00001");
  await write(cluster, "b", [
    { revisionName: "hello-00001", percent: 40 },
    { latestRevision: true, percent: 60 },
  ]);
  await ready(cluster, "hello-00002");
  await untilInside(cluster, "hello-00002");

  expect(first.spec.ports).toEqual([{ name: "http", port: 80, protocol: "TCP", targetPort: 9000 }]);
  expect(first.metadata.ownerReferences?.[0]).toMatchObject({ kind: "Route", name: "hello", controller: true });
});

test("where the gateway has a way in, it leads there: shares hold and pods are woken inside too", async () => {
  const cluster = await start();
  await write(cluster, "a");
  await ready(cluster, "hello-00001");
  const first = await untilInside(cluster, "hello-00001");
  const labels = { "kubernetes.io/service-name": "hello", "argosy.dev/door-of": "hello" };
  await cluster.client.resource(EndpointSliceKind).create(
    {
      ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4" },
      metadata: { name: "hello-door", namespace, labels },
      endpoints: [{ addresses: ["198.18.0.1"] }],
      ports: [{ name: "http", port: 21_000, protocol: "TCP" }],
    },
    { namespace },
  );
  const services = cluster.client.resource(ServiceKind);
  let through = first;
  while (through.spec.selector !== undefined) {
    through = await services.get("hello", { namespace });
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  expect(first.metadata.annotations).toEqual({ "argosy.dev/through-ingress": "hello" });
  expect(through.spec.ports).toEqual(first.spec.ports);
});

test("a Service that is to be seen inside of the cluster only has no address outside, nor have its tags", async () => {
  const cluster = await start();
  const tagged = [{ latestRevision: true, percent: 100, tag: "new" }];
  const services = cluster.client.resource(KnativeServiceKind);
  const until = async (url: string) => {
    for (;;) {
      const { status } = await services.get("hello", { namespace });
      if (status?.traffic?.[0]?.tag === "new" && status.url === url) return status;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  const written = async () => {
    const { items } = await cluster.client.resource(IngressKind).list({ namespace });
    return items.map(({ metadata }) => [metadata.name, metadata.annotations?.["argosy.dev/inside-only"]]);
  };
  const inside = "http://hello.default.svc.cluster.local";
  const outside = "http://hello.default.cloud.argosy.localhost:8081";
  const tags = async () => await cluster.client.resource(ServiceKind).find("new-hello", { namespace });
  await write(cluster, "a", tagged, { "networking.knative.dev/visibility": "cluster-local" });
  await ready(cluster, "hello-00001");

  expect(await until(inside)).toMatchObject({
    address: { url: inside },
    traffic: [{ url: "http://new-hello.default.svc.cluster.local" }],
  });
  expect(await written()).toEqual([
    ["hello", "true"],
    ["new-hello", "true"],
  ]);
  expect((await tags())?.metadata.annotations).toEqual({ "argosy.dev/through-ingress": "new-hello" });

  await write(cluster, "a", tagged);
  expect(await until(outside)).toMatchObject({
    address: { url: inside },
    traffic: [{ url: "http://new-hello.default.cloud.argosy.localhost:8081" }],
  });
  while ((await tags()) !== undefined) await new Promise<void>((resolve) => setImmediate(resolve));
  expect(await written()).toEqual([
    ["hello", undefined],
    ["new-hello", undefined],
  ]);
});
