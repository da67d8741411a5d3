import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { type GatewayDriver, gatewayDriver, runGateway } from "../../dataplane/gateway/index.js";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { createManager } from "../../kernel/control/index.js";
import {
  EndpointSliceKind,
  EventKind,
  findCondition,
  IngressKind,
  type JsonObject,
  NamespaceKind,
  ServiceKind,
  withCondition,
} from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { startTestCluster } from "../../testing/index.js";
import { unless } from "../../testing/unless.js";
import { RemedyKind } from "./clusters/remedy-kind.js";
import { AGENT, eventually, grant, startFleet, type TestFleet, TestServiceKind } from "./fixture.js";
import { ingressController } from "./ingress.js";
import { ClusterKind, HeadIngressKind, HyperMLServiceKind } from "./kinds.js";
import { INGRESS_RULES } from "./module.js";
import { ARGOSY } from "./names.js";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const inDemo = { namespace: "demo" };
const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "a real server takes no endpoints on the loopback",
);

/** A gateway in this process, with its driver. */
async function startGateway(): Promise<{
  driver: GatewayDriver;
  ask(path: string, host?: string, method?: string): Promise<{ status: number; body: string }>;
}> {
  const directory = await mkdtemp(join(tmpdir(), "argosy-fleet-"));
  closing.push(() => rm(directory, { recursive: true, force: true }));
  const gateway = await runGateway({ directory, clock: systemClock, random: systemRandom, log: silentLogger });
  closing.push(() => gateway.close(0));
  const driver = gatewayDriver({ directory, clock: systemClock, log: silentLogger });
  await driver.start();
  closing.push(() => driver.close());
  return {
    driver,
    async ask(path, host = "any.example", method = "GET") {
      const address = gateway.state().listeners[0]?.address;
      if (address === undefined) return { status: 0, body: "" };
      const { request } = await import("node:http");
      return new Promise((resolve, reject) => {
        const call = request(`http://${address}${path}`, { method, headers: { host }, agent: false }, (response) => {
          let body = "";
          response.on("data", (piece: Buffer) => {
            body += piece.toString();
          });
          response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
        });
        call.on("error", reject);
        call.end();
      });
    },
  };
}

interface Model {
  readonly port: number;
  requests: { url: string; host: string }[];
  close(): Promise<void>;
}

async function startModel(name: string, port = 0): Promise<Model> {
  const requests: { url: string; host: string }[] = [];
  const server: Server = createServer((request, response) => {
    if (request.headers["x-argosy-check"] === undefined)
      requests.push({ url: request.url ?? "", host: request.headers.host ?? "" });
    response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", () => resolve()));
  const bound = server.address();
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  closing.push(close);
  return { port: typeof bound === "object" && bound !== null ? bound.port : 0, requests, close };
}

const service: JsonObject & { apiVersion: string; kind: string } = {
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLService",
  metadata: { name: "digits", namespace: "demo" },
  spec: {},
};

/** Hub, members cloud and edge with a delivered model each, gateway. */
async function startServing(weights: string): Promise<{
  fleet: TestFleet;
  gateway: Awaited<ReturnType<typeof startGateway>>;
  models: Record<"cloud" | "edge", Model>;
  report: (cluster: string, ready: boolean) => Promise<void>;
}> {
  const gateway = await startGateway();
  const fleet = await startFleet(["cloud", "edge"], { gateway: gateway.driver, hubKinds: [RemedyKind] });
  closing.push(() => fleet.close());
  const models = { cloud: await startModel("cloud"), edge: await startModel("edge") };
  for (const name of ["cloud", "edge"] as const) {
    await fleet.hub.client.resource(ClusterKind).patch(name, "merge", {
      metadata: { annotations: { [ARGOSY.ingressAddress]: `127.0.0.1:${models[name].port}` } },
    });
  }
  await fleet.createHyper(
    "digits",
    { workloads: [{ clusters: ["cloud", "edge"], manifests: [service] }] },
    { [ARGOSY.ingressWeights]: weights },
  );
  const report = async (cluster: string, ready: boolean): Promise<void> => {
    const services = fleet.members.get(cluster)?.client.resource(TestServiceKind);
    const current = await eventually(
      () => services?.find("digits", inDemo),
      (object) => object !== undefined,
      "delivered",
    );
    if (current === undefined || services === undefined) return;
    const status = {
      address: { url: `http://digits.demo.${cluster}.argosy.localhost:8081` },
      conditions: [
        { type: "Ready", status: ready ? "True" : "False", message: ready ? "it answered" : "no replica is ready" },
      ],
    };
    await services.updateStatus({ ...current, status }, inDemo);
  };
  return { fleet, gateway, models, report };
}

const getHead = (fleet: TestFleet) => fleet.hub.client.resource(HeadIngressKind).find("digits", inDemo);

test("a HyperMLService gets a head ingress: 30/70 exactly, prefix rewritten, Host set, decisions in the ledger", async () => {
  const { fleet, gateway, models, report } = await startServing("cloud=30,edge=70");
  const waiting = await eventually(
    () => getHead(fleet),
    (head) => findCondition(head?.status?.conditions, "Ready")?.reason === "NoBackend",
    "it waits",
  );
  expect(waiting?.status?.backends?.[0]?.reason).toMatch(/NotDelivered|NotApplied|NoAddress/);
  await report("cloud", true);
  await report("edge", true);
  const head = await eventually(
    () => getHead(fleet),
    (object) => findCondition(object?.status?.conditions, "Ready")?.reason === "Serving",
    "both serve",
  );

  expect(head?.status?.address).toMatch(
    /^http:\/\/127\.0\.0\.1:\d+\/t9k\/hypermlservices\/namespaces\/demo\/digits\/$/,
  );
  expect(head?.status?.backends).toMatchObject([
    {
      name: "cloud",
      cluster: "cloud",
      url: "http://digits.demo.cloud.argosy.localhost:8081",
      weight: 30,
      weightEffective: 30,
      percent: 30,
    },
    { name: "edge", cluster: "edge", weight: 70, weightEffective: 70, percent: 70 },
  ]);
  expect(findCondition(head?.status?.conditions, "Programmed")).toMatchObject({
    status: "True",
    observedGeneration: head?.metadata.generation,
  });
  for (let index = 0; index < 100; index++) {
    expect(
      (await gateway.ask("/t9k/hypermlservices/namespaces/demo/digits/v2/models/digits/infer", "any.example", "POST"))
        .status,
    ).toBe(200);
  }
  expect([models.cloud.requests.length, models.edge.requests.length]).toEqual([30, 70]);
  expect(models.cloud.requests[0]).toEqual({
    url: "/v2/models/digits/infer",
    host: "digits.demo.cloud.argosy.localhost:8081",
  });
  const [decision] = await fleet.ledger.query({ kind: "HeadIngress", name: "digits", topic: "weight" });
  expect(decision).toMatchObject({
    outcome: "cloud 30, edge 70",
    losers: [],
    inputs: { asked: { cloud: 30, edge: 70 } },
  });
});

test("a backend that stops answering, or whose model is not ready, gets nothing, and the status says why", async () => {
  const { fleet, gateway, models, report } = await startServing("cloud=50,edge=50");
  await report("cloud", true);
  await report("edge", true);
  await eventually(
    () => getHead(fleet),
    (head) => findCondition(head?.status?.conditions, "Ready")?.reason === "Serving",
    "both serve",
  );
  const path = "/t9k/hypermlservices/namespaces/demo/digits/x";

  await models.edge.close();
  for (let index = 0; index < 20; index++) expect((await gateway.ask(path)).body).toBe("cloud");
  const down = await eventually(
    () => getHead(fleet),
    (head) => head?.status?.backends?.[1]?.reason === "NotAnswering",
    "the outage is in the status",
  );
  expect(down?.status?.backends?.[1]).toMatchObject({ weight: 50, weightEffective: 0, percent: 0 });
  expect(down?.status?.backends?.[1]?.message).toContain("ECONNREFUSED");
  expect(findCondition(down?.status?.conditions, "Ready")).toMatchObject({ status: "True", reason: "Degraded" });
  const [decision] = await fleet.ledger.query({ kind: "HeadIngress", topic: "weight" });
  expect(decision?.losers[0]).toMatchObject({ name: "edge", score: 0 });

  await report("cloud", false);
  const none = await eventually(
    () => getHead(fleet),
    (head) =>
      head?.status?.backends?.[0]?.reason === "NotReady" &&
      findCondition(head.status.conditions, "Ready")?.status === "False",
    "nothing is left",
  );
  expect(none?.status?.backends?.[0]?.message).toContain("no replica is ready");
  const refused = await gateway.ask(path);
  expect(refused.status).toBe(503);
  expect(refused.body).toContain("the model is not ready: no replica is ready");

  await startModel("edge", models.edge.port);
  await report("cloud", true);
  await eventually(
    () => getHead(fleet),
    (head) => findCondition(head?.status?.conditions, "Ready")?.reason === "Serving",
    "both are back",
  );
});

test("a Remedy with TrafficControl takes the requests from a cluster by its conditions, and gives them back", async () => {
  const { fleet, gateway, report } = await startServing("cloud=50,edge=50");
  await report("cloud", true);
  await report("edge", true);
  const serves = (percents: string, why: string) =>
    eventually(
      () => getHead(fleet),
      (head) => head?.status?.backends?.map(({ percent }) => percent).join("/") === percents,
      why,
    );
  await serves("50/50", "both serve");
  const served = async (): Promise<string[]> => {
    const bodies: string[] = [];
    for (let index = 0; index < 10; index++)
      bodies.push((await gateway.ask("/t9k/hypermlservices/namespaces/demo/digits/x")).body);
    return [...new Set(bodies)].sort();
  };
  const { hub } = fleet;
  const clusterConditionMatch = {
    conditionType: "ServiceDomainNameResolutionReady",
    operator: "Equal" as const,
    conditionStatus: "False",
  };
  await hub.client.resource(RemedyKind).create({
    apiVersion: "remedy.karmada.io/v1alpha1",
    kind: "Remedy",
    metadata: { name: "dns" },
    spec: { decisionMatches: [{ clusterConditionMatch }], actions: ["TrafficControl"] },
  });
  const tell = (status: "True" | "False") =>
    eventually(
      async () => {
        const edge = await hub.client.resource(ClusterKind).get("edge");
        const draft = { type: clusterConditionMatch.conditionType, status, reason: "Looked", message: "" };
        const conditions = withCondition(edge.status?.conditions, draft, systemClock.now());
        return hub.client
          .resource(ClusterKind)
          .updateStatus({ ...edge, status: { ...edge.status, conditions } })
          .catch(() => undefined);
      },
      (written) => written !== undefined,
      "the cluster's names are told of",
    );
  await tell("True");
  expect(await served()).toEqual(["cloud", "edge"]);

  await tell("False");
  const drained = await serves("100/0", "edge is drained");
  expect(drained?.status?.backends?.[1]).toMatchObject({ name: "edge", reason: "Draining", weightEffective: 0 });
  expect(drained?.status?.backends?.[1]?.message).toBe("cluster edge is drained: a Remedy asks for TrafficControl");
  expect(await served()).toEqual(["cloud"]);

  await tell("True");
  await serves("50/50", "edge gets requests again");
  expect(await served()).toEqual(["cloud", "edge"]);

  await hub.client.resource(RemedyKind).patch("dns", "merge", { spec: { decisionMatches: null } });
  await serves("0/0", "without matches all are drained at once");
  await hub.client.resource(RemedyKind).delete("dns");
  await serves("50/50", "the Remedy is gone");
});

test("weights follow the annotation; faults are named; a head ingress by hand is left alone", async () => {
  const { fleet, report } = await startServing("cloud=1,nowhere=5");
  await report("cloud", true);
  await report("edge", true);
  const head = await eventually(
    () => getHead(fleet),
    (object) => object?.status?.backends?.[0]?.weightEffective === 1,
    "programmed",
  );
  expect(findCondition(head?.status?.conditions, "Ready")?.message).toContain("spec.weights.nowhere");
  const hypers = fleet.hub.client.resource(HyperMLServiceKind);

  await hypers.patch(
    "digits",
    "merge",
    { metadata: { annotations: { [ARGOSY.ingressWeights]: "cloud=9,edge=1" } } },
    inDemo,
  );
  await eventually(
    () => getHead(fleet),
    (object) => object?.status?.summary === "cloud 90%, edge 10%",
    "the new weights are in force",
  );
  const annotate = (annotations: Record<string, string>) =>
    hypers.patch("digits", "merge", { metadata: { annotations } }, inDemo);
  await annotate({ [ARGOSY.ingressWeights]: "cloud=9,edge=one" });
  const badWeights = async () =>
    (await fleet.hub.client.resource(EventKind).list(inDemo)).items.filter(({ reason }) => reason === "BadWeights");
  const told = await eventually(badWeights, (events) => events.length > 0, "the bad weight is named");
  expect(told[0]?.message).toContain('"edge=one"');
  expect((await getHead(fleet))?.spec.weights).toEqual({ cloud: 9, edge: 1 });
  for (const note of ["1", "2", "3"]) await annotate({ note });
  await annotate({ [ARGOSY.ingress]: "none" });
  await eventually(
    () => getHead(fleet),
    (object) => object === undefined,
    "it is gone",
  );
  expect((await badWeights()).map(({ count = 1 }) => count)).toEqual([1]);

  const heads = fleet.hub.client.resource(HeadIngressKind);
  const model = await startModel("hand");
  await heads.create(
    {
      apiVersion: "argosy.dev/v1alpha1",
      kind: "HeadIngress",
      metadata: { name: "hand", namespace: "demo" },
      spec: {
        path: "/hand",
        backends: [{ name: "one", url: `http://one.argosy.localhost:${model.port}`, host: "one.example", weight: 3 }],
      },
    },
    inDemo,
  );
  await eventually(
    () => heads.get("hand", inDemo),
    (object) => findCondition(object.status?.conditions, "Ready")?.reason === "Serving",
    "it serves",
  );
  await heads.create(
    {
      apiVersion: "argosy.dev/v1alpha1",
      kind: "HeadIngress",
      metadata: { name: "later", namespace: "demo" },
      spec: { path: "/hand/", backends: [] },
    },
    inDemo,
  );
  const later = await eventually(
    () => heads.get("later", inDemo),
    (object) => findCondition(object.status?.conditions, "Programmed")?.reason === "Invalid",
    "refused",
  );
  expect(findCondition(later.status?.conditions, "Programmed")?.message).toContain(
    "HeadIngress demo/hand, which is older",
  );
});

embedded("an Ingress of class argosy leads to ready pods, by host and path, and follows EndpointSlices", async () => {
  const gateway = await startGateway();
  const cluster = await startTestCluster({ name: "cloud", tokens: [AGENT] });
  closing.push(() => cluster.close());
  await grant(cluster, INGRESS_RULES);
  const manager = createManager({
    cluster: cluster.as(AGENT.token),
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  manager.add(
    ingressController({
      gateway: gateway.driver,
      listener: { name: "ingress-cloud", host: "127.0.0.1", port: 0, trustForwarded: true },
    }),
  );
  manager.start();
  closing.push(() => manager.close());
  const { client } = cluster;
  const [one, two] = [await startModel("one"), await startModel("two")];
  await client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" }, spec: {} });
  const backend = { service: { name: "digits", port: { name: "http" } } };
  const host = "digits.demo.cloud.argosy.localhost";
  const ingress = (name: string, path: string): Promise<unknown> =>
    client.resource(IngressKind).create(
      {
        apiVersion: "networking.k8s.io/v1",
        kind: "Ingress",
        metadata: { name, namespace: "demo" },
        spec: {
          ingressClassName: "argosy",
          rules: [{ host, http: { paths: [{ path, pathType: "Prefix", backend }] } }],
        },
      },
      inDemo,
    );
  await ingress("digits", "/");
  await eventually(
    () => gateway.ask("/x", `${host}:8081`),
    (answer) => answer.body.includes("Service demo/digits does not exist"),
    "the cause is said",
  );

  await client.resource(ServiceKind).create(
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "digits", namespace: "demo" },
      spec: { ports: [{ name: "http", port: 80, targetPort: 8080 }] },
    },
    inDemo,
  );
  const slices = client.resource(EndpointSliceKind);
  const slice = (name: string, port: number, ready: boolean) => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name, namespace: "demo", labels: { "kubernetes.io/service-name": "digits" } },
    addressType: "IPv4",
    ports: [{ name: "http", port, protocol: "TCP" }],
    endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready } }],
  });
  await slices.create(slice("one", one.port, true), inDemo);
  await slices.create(slice("two", two.port, false), inDemo);
  await eventually(
    () => gateway.ask("/x", host),
    (answer) => answer.body === "one",
    "the ready pod answers",
  );
  expect(one.requests.at(-1)).toEqual({ url: "/x", host });

  await slices.patch(
    "two",
    "merge",
    { endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready: true } }] },
    inDemo,
  );
  await slices.patch("one", "merge", { endpoints: [] }, inDemo);
  await eventually(
    () => gateway.ask("/x", host),
    (answer) => answer.body === "two",
    "the other pod answers",
  );
  const status = await eventually(
    () => client.resource(IngressKind).get("digits", inDemo),
    (object) => object.status?.loadBalancer?.ingress !== undefined,
    "status",
  );
  expect(status.status?.loadBalancer?.ingress?.[0]?.ip).toBe("127.0.0.1");

  const ports = [{ name: "http", port: 80, targetPort: 8080 }];
  await client
    .resource(ServiceKind)
    .create(
      { apiVersion: "v1", kind: "Service", metadata: { name: "canary", namespace: "demo" }, spec: { ports } },
      inDemo,
    );
  const canary = slice("canary", one.port, true);
  await slices.create(
    { ...canary, metadata: { ...canary.metadata, labels: { "kubernetes.io/service-name": "canary" } } },
    inDemo,
  );
  const annotate = (weights: string): Promise<unknown> =>
    client
      .resource(IngressKind)
      .patch("digits", "merge", { metadata: { annotations: { [ARGOSY.weights]: weights } } }, inDemo);
  await annotate('{"digits":80,"canary":20}');
  const shares = () =>
    gateway.driver.lastState?.routes[0]?.backends.map((report) => `${report.name} ${report.weight} ${report.share}`);
  await eventually(shares, (value) => value?.join() === "digits 80 0.8,canary 20 0.2", "the canary has its share");
  await annotate('{"digits":"most"}');
  await eventually(shares, (value) => value?.join() === "digits 1 1", "bad weights are ignored");

  await ingress("thief", "/");
  await eventually(
    () => client.resource(EventKind).list(inDemo),
    (events) =>
      events.items.some(
        (event) => event.reason === "RouteRefused" && /belongs to Ingress demo\/digits/.test(event.message ?? ""),
      ),
    "the conflict is told",
  );
  const events = await client.resource(EventKind).list(inDemo);
  expect(events.items.some((event) => event.message?.includes("annotation argosy.dev/weights is ignored"))).toBe(true);
  await client.resource(IngressKind).delete("digits", inDemo);
  await client.resource(IngressKind).delete("thief", inDemo);
  await eventually(
    () => gateway.ask("/x", host),
    (answer) => answer.status === 404,
    "the route is gone",
  );
});
