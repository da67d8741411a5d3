import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type EndpointSlice,
  EndpointSliceKind,
  EndpointsKind,
  NodeKind,
  type Pod,
  PodKind,
  type Service,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster(["a"]);
  const labels = { "topology.kubernetes.io/zone": "east" };
  await play.client.resource(NodeKind).patch("a", "merge", { metadata: { labels } });
});
afterAll(() => play.close());

const at = { namespace: "default" };

async function serve(name: string, spec: Partial<Service["spec"]> = {}) {
  await play.client.resource(ServiceKind).create({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default", labels: { team: "x" } },
    spec: { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: "web" }], ...spec },
  });
}

async function run(name: string, app: string, ip: string, more: { port?: number; ready?: string; spec?: object } = {}) {
  const pods = play.client.resource(PodKind);
  const containers = [{ name: "main", image: "one", ports: [{ name: "web", containerPort: more.port ?? 8080 }] }];
  await pods.create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app }, annotations: { "play/ready": more.ready ?? "true" } },
    spec: { nodeName: "a", containers, ...more.spec },
  });
  await play.until(async () => (await pods.get(name, at)).status?.phase === "Running");
  const pod: Pod = await pods.get(name, at);
  await pods.updateStatus({ ...pod, status: { ...pod.status, podIP: ip, podIPs: [{ ip }] } });
}

const slices = async (service: string): Promise<EndpointSlice[]> =>
  (
    await play.client
      .resource(EndpointSliceKind)
      .list({ ...at, labelSelector: `kubernetes.io/service-name=${service}` })
  ).items;
const addresses = async (service: string) =>
  (await slices(service)).flatMap(({ endpoints }) => (endpoints ?? []).flatMap((endpoint) => endpoint.addresses));
const endpoints = (name: string) => play.client.resource(EndpointsKind).find(name, at);

test("slices and Endpoints tell addresses, ports by name, conditions, zones", async () => {
  await serve("web");
  await play.until(async () => (await slices("web")).length === 1);
  expect((await slices("web"))[0]).toMatchObject({ addressType: "IPv4", endpoints: null });
  await run("w1", "web", "10.0.0.1");
  await run("w2", "web", "10.0.0.2", { ready: "false" });
  await run("w3", "web", "10.0.0.3", { port: 9090 });

  await play.until(async () => (await addresses("web")).length === 3);

  // Another port is another slice.
  const all = await slices("web");
  const ports = all.map((slice) => slice.ports?.map(({ name, port }) => `${name}:${port}`).join());
  expect(new Set(ports)).toEqual(new Set(["http:8080", "http:9090"]));
  const [plain] = all.filter(({ ports }) => ports?.[0]?.port === 8080);
  expect(plain?.metadata.labels).toMatchObject({
    team: "x",
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
  });
  expect(plain?.endpoints).toMatchObject([
    {
      addresses: ["10.0.0.1"],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: "a",
      zone: "east",
      targetRef: { kind: "Pod", name: "w1" },
    },
    { addresses: ["10.0.0.2"], conditions: { ready: false, serving: false } },
  ]);
  await play.until(async () => ((await endpoints("web"))?.subsets ?? []).length === 2);
  expect((await endpoints("web"))?.subsets).toMatchObject([
    {
      addresses: [{ ip: "10.0.0.1", nodeName: "a", targetRef: { name: "w1" } }],
      notReadyAddresses: [{ ip: "10.0.0.2" }],
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    },
    { addresses: [{ ip: "10.0.0.3" }], ports: [{ port: 9090 }] },
  ]);
  expect((await endpoints("web"))?.metadata.labels).toMatchObject({
    team: "x",
    "endpoints.kubernetes.io/managed-by": "endpoint-controller",
  });

  await play.client.resource(ServiceKind).delete("web", at);
  await play.until(async () => (await endpoints("web")) === undefined && (await slices("web")).length === 0);
});

test("a terminating pod still serves, and one that is not ready is published where that is wished", async () => {
  await serve("early", { publishNotReadyAddresses: true, clusterIP: "None" });
  await run("e1", "early", "10.0.1.1", { ready: "false", spec: { hostname: "one", subdomain: "early" } });
  await play.until(async () => (await addresses("early")).length === 1);
  const [slice] = await slices("early");
  expect(slice?.endpoints).toMatchObject([{ conditions: { ready: true, serving: false }, hostname: "one" }]);
  expect(slice?.metadata.labels).toMatchObject({ "service.kubernetes.io/headless": "" });
  await play.until(async () => (await endpoints("early"))?.subsets?.[0]?.addresses?.length === 1);

  await serve("late");
  await run("l1", "late", "10.0.1.2");
  await play.until(async () => (await addresses("late")).length === 1);
  const pods = play.client.resource(PodKind);
  await pods.patch("l1", "merge", { metadata: { finalizers: ["example.com/hold"] } }, at);
  await pods.delete("l1", at);

  await play.until(async () => (await slices("late"))[0]?.endpoints?.[0]?.conditions?.terminating === true);

  expect((await slices("late"))[0]?.endpoints?.[0]?.conditions).toEqual({
    ready: false,
    serving: true,
    terminating: true,
  });
  await play.until(async () => ((await endpoints("late"))?.subsets ?? []).length === 0);
});

test("Endpoints written by hand are mirrored, unless they ask not to be", async () => {
  await serve("theirs", { selector: {} });
  const objects = play.client.resource(EndpointsKind);
  await objects.create({
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: { name: "theirs", namespace: "default", labels: { by: "hand" } },
    subsets: [
      {
        addresses: [{ ip: "192.0.2.1" }, { ip: "2001:db8::1" }],
        notReadyAddresses: [{ ip: "192.0.2.2" }],
        ports: [{ port: 5432, name: "sql" }],
      },
    ],
  });

  await play.until(async () => (await addresses("theirs")).length === 3);

  const [four] = (await slices("theirs")).filter(({ addressType }) => addressType === "IPv4");
  expect(four).toMatchObject({
    metadata: {
      labels: { by: "hand", "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io" },
      ownerReferences: [{ kind: "Endpoints", name: "theirs" }],
    },
    endpoints: [
      { addresses: ["192.0.2.1"], conditions: { ready: true } },
      { addresses: ["192.0.2.2"], conditions: { ready: false } },
    ],
    ports: [{ name: "sql", port: 5432, protocol: "TCP" }],
  });
  const labels = { "endpointslice.kubernetes.io/skip-mirror": "true" };
  await objects.patch("theirs", "merge", { metadata: { labels } }, at);
  await play.until(async () => (await slices("theirs")).length === 0);
});
