import { once } from "node:events";
import { createServer, request as httpsRequest, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";

const rbac = { apiVersion: "rbac.authorization.k8s.io/v1" };
const inDefault = "/namespaces/default";
const bindings = `/apis/rbac.authorization.k8s.io/v1${inDefault}/rolebindings`;
const pod = `/api/v1${inDefault}/pods/p`;
const accounts = `/api/v1${inDefault}/serviceaccounts`;
const upgrades = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "MDEyMzQ1Njc4OWFiY2RlZg==",
};

/** A node's agent whose logs and streams go on as long as somebody is there; `left` counts those that are over for it. */
async function startAgent(cluster: TestCluster): Promise<{ left: () => number }> {
  let left = 0;
  const { certPem, keyPem } = await cluster.server.issueServerCertificate(["127.0.0.1"]);
  const agent: Server = createServer({ cert: certPem, key: keyPem }, (_request, response) => {
    response.once("close", () => left++);
    response.writeHead(200).write("said\n");
  });
  agent.on("upgrade", (_request, socket: Duplex) => {
    socket.once("close", () => left++);
    socket.on("error", () => undefined);
    socket.on("data", () => undefined);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nsaid\n");
  });
  await new Promise<void>((resolve) => agent.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    agent.closeAllConnections();
    agent.close();
  });
  const { port } = agent.address() as AddressInfo;
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } };
  const addresses = [{ type: "InternalIP", address: "127.0.0.1" }];
  await cluster.client.json("POST", "/api/v1/nodes", node);
  await cluster.client.json("PUT", "/api/v1/nodes/n1/status", {
    ...{ ...node, status: { addresses, daemonEndpoints: { kubeletEndpoint: { Port: port } } } },
  });
  return { left: () => left };
}

async function start() {
  const clock = virtualClock(Date.UTC(2026, 0, 1));
  const cluster = await startTestCluster({ clock });
  onTestFinished(() => cluster.close());
  const { url } = await cluster.server.listen({ host: "127.0.0.1", port: 0 });
  const send = (method: string, path: string, body?: JsonObject) =>
    cluster.client.json(method, path, body) as Promise<JsonObject>;
  const agent = await startAgent(cluster);
  const container = { name: "main", image: "i" };
  const spec = { nodeName: "n1", containers: [container] };
  await send("POST", `/api/v1${inDefault}/pods`, { apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec });
  const rules = [
    {
      apiGroups: [""],
      resources: ["pods/log", "pods/exec", "pods/attach", "pods/portforward"],
      verbs: ["get", "create"],
    },
  ];
  const role = { ...rbac, kind: "ClusterRole", metadata: { name: "streams" }, rules };
  await send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role);
  return {
    ...{ clock, send, agent },
    /** An account that may by its own binding, with a token. */
    account: async (name: string): Promise<string> => {
      await send("POST", accounts, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name } });
      const subjects = [{ kind: "ServiceAccount", name, namespace: "default" }];
      const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "streams" };
      await send("POST", bindings, { ...rbac, kind: "RoleBinding", metadata: { name }, roleRef, subjects });
      const asked = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
      const made = await send("POST", `${accounts}/${name}/token`, asked);
      return (made["status"] as { token: string }).token;
    },
    /** Resolves when something was said, with how it ends. */
    open: (path: string, token: string, headers: Record<string, string> = {}) =>
      opened(`${url}${path}`, { ca: cluster.server.caPem, headers: { ...headers, authorization: `Bearer ${token}` } }),
  };
}

/** A request whose answer has begun. */
async function opened(url: string, options: { ca: string; headers: Record<string, string> }) {
  const asked = httpsRequest(url, { ...options, agent: false });
  asked.on("error", () => undefined);
  const begun = new Promise<{ status: number; stream: NodeJS.ReadableStream }>((resolve) => {
    asked.once("response", (response) => resolve({ status: response.statusCode ?? 0, stream: response }));
    asked.once("upgrade", (response, socket) => resolve({ status: response.statusCode ?? 0, stream: socket }));
  });
  asked.end();
  const { status, stream } = await begun;
  let isCut = false;
  stream.once("error", () => {
    isCut = true;
  });
  const over = new Promise<void>((resolve) => stream.once("close", resolve));
  if (status < 300) await once(stream, "data");
  stream.resume();
  return { status, ended: over.then(() => ({ isCut })) };
}

const streams = [
  { what: "a followed log", path: `${pod}/log?follow=true`, headers: {} },
  { what: "exec", path: `${pod}/exec?command=sh&stdout=1`, headers: upgrades },
  { what: "attach", path: `${pod}/attach?stdout=1`, headers: upgrades },
  { what: "a port-forward", path: `${pod}/portforward?ports=80`, headers: upgrades },
];

test.each(streams)("$what ends at once when its account is deleted; others' go on", async ({ path, headers }) => {
  const { account, open, send, agent } = await start();
  const [leaves, stays] = [await account("leaves"), await account("stays")];
  const [gone, other] = [await open(path, leaves, headers), await open(path, stays, headers)];

  await send("DELETE", `${accounts}/leaves`);
  const { isCut } = await gone.ended;
  while (agent.left() === 0) await new Promise<void>((resolve) => setImmediate(resolve));

  expect([gone.status, other.status]).toEqual(headers === upgrades ? [101, 101] : [200, 200]);
  // What is no connection of its own is broken off: nobody takes it for the whole answer.
  expect(isCut).toBe(headers !== upgrades);
  expect(agent.left()).toBe(1);
  expect((await open(path, leaves, headers)).status).toBe(401);
});

test.each(streams)("$what ends within seconds when its binding is deleted", async ({ path, headers }) => {
  const { account, open, send, clock } = await start();
  const token = await account("one");
  const begun = await open(path, token, headers);

  await send("DELETE", `${bindings}/one`);
  await clock.advance(1000);
  await begun.ended;

  expect((await open(path, token, headers)).status).toBe(403);
});
