import { createServer, type Server } from "node:https";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Json, NodeKind, type Pod, PodKind } from "../../../kernel/kinds/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";

let cluster: TestCluster;
let agent: Server;
let summary: Json = {};
let asked = 0;

const stats = (nanoCores: number, bytes: number) => ({
  cpu: { time: "2026-01-01T00:00:00.250Z", usageNanoCores: nanoCores },
  memory: { workingSetBytes: bytes },
});

async function addPod(name: string, labels: Record<string, string>): Promise<Pod> {
  const pods = cluster.client.resource(PodKind);
  const pod = await pods.create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels },
    spec: { nodeName: "node-1", containers: [{ name: "main", image: "one" }] },
  });
  return pods.updateStatus({ ...pod, status: { phase: "Running" } });
}

/** A node's agent that says what `summary` is, and another node that does not answer. */
beforeAll(async () => {
  cluster = await startTestCluster({ nodeMetrics: true });
  const { certPem, keyPem } = await cluster.server.issueServerCertificate(["127.0.0.1"]);
  agent = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    asked += 1;
    response.end(JSON.stringify(request.url === "/stats/summary" ? summary : {}));
  });
  await new Promise<void>((resolve) => {
    agent.listen(0, "127.0.0.1", () => resolve());
  });
  const address = agent.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const nodes = cluster.client.resource(NodeKind);
  for (const [name, Port] of [
    ["node-1", port],
    ["node-2", 1],
  ] as const) {
    const node = await nodes.create({ apiVersion: "v1", kind: "Node", metadata: { name }, spec: {} });
    const addresses = [{ type: "InternalIP", address: "127.0.0.1" }];
    await nodes.updateStatus({ ...node, status: { addresses, daemonEndpoints: { kubeletEndpoint: { Port } } } });
  }
  const web = await addPod("web", { app: "web" });
  const other = await addPod("other", { app: "other" });
  const podRef = ({ metadata }: Pod) => ({ name: metadata.name, namespace: "default", uid: metadata.uid });
  const container = (name: string, nanoCores: number) => ({ name, windowSeconds: 15, ...stats(nanoCores, 2 ** 21) });
  summary = {
    node: stats(250_000_000, 2 ** 23),
    pods: [
      { podRef: podRef(web), containers: [container("main", 120_000_000), container("side", 5_000_000)] },
      { podRef: podRef(other), containers: [container("main", 1)] },
      { podRef: { name: "gone", namespace: "default", uid: "x" }, containers: [container("main", 1)] },
    ],
  };
});

afterAll(async () => {
  await cluster.close();
  agent.closeAllConnections();
  await new Promise((resolve) => agent.close(resolve));
});

const get = (path: string, accept?: string) =>
  cluster.client.json("GET", `/apis/metrics.k8s.io/v1beta1${path}`, undefined, {
    ...(accept === undefined ? {} : { headers: { accept } }),
  });

test("the group is discovered with what can be done", async () => {
  expect(await cluster.client.json("GET", "/apis/metrics.k8s.io")).toMatchObject({
    preferredVersion: { groupVersion: "metrics.k8s.io/v1beta1" },
  });
  expect(await get("")).toMatchObject({
    resources: [
      { name: "nodes", kind: "NodeMetrics", namespaced: false, verbs: ["get", "list"] },
      { name: "pods", kind: "PodMetrics", namespaced: true, verbs: ["get", "list"] },
    ],
  });
});

test("nodes that answer have figures", async () => {
  expect(await get("/nodes")).toMatchObject({
    kind: "NodeMetricsList",
    items: [
      {
        metadata: { name: "node-1" },
        timestamp: "2026-01-01T00:00:00Z",
        window: "15s",
        usage: { cpu: "250m", memory: "8Mi" },
      },
    ],
  });
  expect(await get("/nodes/node-1")).toMatchObject({ kind: "NodeMetrics", metadata: { name: "node-1" } });
});

test("pods are found by namespace, label and name; one that is not there is not found", async () => {
  const list = await get("/namespaces/default/pods?labelSelector=app%3Dweb");

  expect(list).toMatchObject({
    kind: "PodMetricsList",
    items: [
      {
        metadata: { name: "web", namespace: "default", labels: { app: "web" } },
        containers: [
          { name: "main", usage: { cpu: "120m", memory: "2Mi" } },
          { name: "side", usage: { cpu: "5m", memory: "2Mi" } },
        ],
      },
    ],
  });
  expect(await get("/pods")).toMatchObject({ items: [{ metadata: { name: "other" } }, { metadata: { name: "web" } }] });
  expect(await get("/namespaces/default/pods/other")).toMatchObject({ containers: [{ usage: { cpu: "1n" } }] });
  await expect(get("/namespaces/default/pods/nobody")).rejects.toThrow(
    'podmetrics.metrics.k8s.io "default/nobody" not found',
  );
});

test("as a table it has upstream's columns", async () => {
  const table = await get("/namespaces/default/pods/web", "application/json;as=Table;g=meta.k8s.io;v=v1");

  expect(table).toMatchObject({
    kind: "Table",
    columnDefinitions: [{ name: "Name" }, { name: "cpu" }, { name: "memory" }, { name: "Window" }],
    rows: [{ cells: ["web", "125m", "4Mi", "15s"] }],
  });
});

test("it is read only, and nodes are not asked for each reader", async () => {
  const before = asked;

  await Promise.all(Array.from({ length: 20 }, () => get("/pods")));

  expect(asked - before).toBeLessThanOrEqual(1);
  await expect(cluster.client.json("DELETE", "/apis/metrics.k8s.io/v1beta1/nodes/node-1")).rejects.toThrow(
    "the server does not allow this method on the requested resource",
  );
});

test("without the option there is no such API", async () => {
  const plain = await startTestCluster();

  await expect(plain.client.json("GET", "/apis/metrics.k8s.io/v1beta1/nodes")).rejects.toMatchObject({ httpCode: 404 });
  await plain.close();
});
