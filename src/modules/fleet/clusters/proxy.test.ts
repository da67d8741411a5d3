import { once } from "node:events";
import { createServer } from "node:http";
import { expect, onTestFinished } from "vitest";
import { httpTransport } from "../../../kernel/client/index.js";
import { ConfigMapKind } from "../../../kernel/kinds/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import { ClusterKind } from "../kinds.js";
import { clusterProxy } from "./proxy.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "a real server has no such subresource",
);

embedded("a member's API is reached through the hub's, with the rights that the asker has there", async () => {
  const member = await startTestCluster({ name: "edge" });
  const { kind, forward } = clusterProxy((name) => (name === "edge" ? member.client.transport : undefined));
  const hub = await startTestCluster({
    name: "hub",
    kinds: [ClusterKind],
    proxies: [{ about: kind, forward }],
    tokens: [{ token: "kim", user: { username: "kim", groups: ["team", "system:authenticated"] } }],
  });
  onTestFinished(async () => {
    await hub.close();
    await member.close();
  });
  const base = "/apis/cluster.karmada.io/v1alpha1/clusters";
  await hub.client.resource(ClusterKind).apply({ metadata: { name: "edge" }, spec: {} }, { fieldManager: "test" });
  const options = { fieldManager: "test", namespace: "default" };
  await member.client.resource(ConfigMapKind).apply({ metadata: { name: "a", namespace: "default" } }, options);
  const maps = `${base}/edge/proxy/api/v1/namespaces/default/configmaps`;
  expect(await hub.client.json("GET", `${maps}/a`)).toMatchObject({ metadata: { name: "a" } });
  const list = await hub.client.json("GET", `${maps}?limit=1&fieldSelector=metadata.name%3Da`);
  expect(list).toMatchObject({ kind: "ConfigMapList", items: [{ metadata: { name: "a" } }] });
  const b = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "b" } };
  await hub.client.json("POST", maps, b);
  expect((await member.client.resource(ConfigMapKind).get("b", { namespace: "default" })).metadata.name).toBe("b");
  await expect(hub.client.json("GET", `${maps}/none`)).rejects.toMatchObject({ httpCode: 404 });
  await expect(hub.client.json("GET", `${base}/gone/proxy/api`)).rejects.toThrow(
    'clusters.cluster.karmada.io "gone" not found',
  );
  await hub.client.resource(ClusterKind).apply({ metadata: { name: "away" }, spec: {} }, { fieldManager: "test" });
  await expect(hub.client.json("GET", `${base}/away/proxy/api`)).rejects.toMatchObject({ httpCode: 503 });

  const kim = hub.as("kim").client;
  await expect(kim.json("GET", `${maps}/a`)).rejects.toThrow(/cannot get resource "clusters\/proxy"/);
  const group = "rbac.authorization.k8s.io";
  await hub.client.json("POST", `/apis/${group}/v1/clusterroles`, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRole",
    metadata: { name: "proxy" },
    rules: [{ apiGroups: ["cluster.karmada.io"], resources: ["clusters/proxy"], verbs: ["*"] }],
  });
  await hub.client.json("POST", `/apis/${group}/v1/clusterrolebindings`, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: "proxy" },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: "proxy" },
    subjects: [{ apiGroup: group, kind: "Group", name: "team" }],
  });
  await expect(kim.json("GET", `${maps}/a`)).rejects.toThrow(/User "kim" cannot get resource "configmaps"/);
  await member.client.json("POST", `/apis/${group}/v1/clusterrolebindings`, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: "team-views" },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: "view" },
    subjects: [{ apiGroup: group, kind: "Group", name: "team" }],
  });
  expect(await kim.json("GET", `${maps}/a`)).toMatchObject({ metadata: { name: "a" } });
});

/** A member that takes every upgrade and says everything back, but for what it refuses. */
async function startEcho() {
  const seen: { url: string; headers: Readonly<Record<string, unknown>> }[] = [];
  const server = createServer((_request, response) => response.writeHead(200).end("plain"));
  server.on("upgrade", (request, socket) => {
    seen.push({ url: request.url ?? "", headers: request.headers });
    if (request.url?.includes("refused") === true) {
      const text = JSON.stringify({
        kind: "Status",
        apiVersion: "v1",
        status: "Failure",
        metadata: {},
        code: 403,
        reason: "Forbidden",
        message: "not you",
      });
      socket.end(`HTTP/1.1 403 Forbidden\r\ncontent-length: ${text.length}\r\n\r\n${text}`);
      return;
    }
    const upgraded = `connection: Upgrade\r\nupgrade: ${request.headers.upgrade}\r\nx-stream-protocol-version: v4\r\nx-own: a`;
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${upgraded}\r\n\r\nfirst;`);
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const transport = httpTransport({ server: `http://127.0.0.1:${port}`, token: "hubs" });
  const close = async (): Promise<void> => {
    await transport.close();
    server.closeAllConnections();
    server.close();
  };
  return { seen, transport, close };
}

embedded("upgrades pass as they are, in the asker's name; refusals and silence are told", async () => {
  const echo = await startEcho();
  const silent = httpTransport({ server: "http://127.0.0.1:1" });
  const proxy = clusterProxy((name) => (name === "edge" ? echo.transport : name === "dead" ? silent : undefined));
  const { kind, forward, upgrade } = proxy;
  if (upgrade === undefined) throw new TypeError("it takes upgrades");
  const hub = await startTestCluster({
    name: "hub",
    kinds: [ClusterKind],
    proxies: [{ about: kind, forward, upgrade }],
  });
  onTestFinished(async () => {
    await hub.close();
    await echo.close();
    await silent.close();
  });
  for (const name of ["edge", "dead", "away"])
    await hub.client.resource(ClusterKind).apply({ metadata: { name }, spec: {} }, { fieldManager: "test" });
  const { transport } = hub.client;
  const ask = (name: string, path: string) =>
    transport.switchProtocols?.({
      method: "POST",
      path: `/apis/cluster.karmada.io/v1alpha1/clusters/${name}/proxy${path}`,
      headers: {
        connection: "Upgrade",
        upgrade: "SPDY/3.1",
        "x-stream-protocol-version": "v4",
        "impersonate-user": "",
      },
    });
  const switched = await ask("edge", "/api/v1/namespaces/a/pods/b/exec?command=ls&command=-l");
  expect(switched?.headers).toEqual({ connection: "Upgrade", upgrade: "SPDY/3.1", "x-stream-protocol-version": "v4" });
  const said: Buffer[] = [];
  switched?.socket.on("data", (piece: Buffer) => said.push(piece));
  switched?.socket.write("over");
  await expect.poll(() => Buffer.concat(said).toString()).toBe("first;over");
  switched?.socket.destroy();
  expect(echo.seen).toMatchObject([
    {
      url: "/api/v1/namespaces/a/pods/b/exec?command=ls&command=-l",
      headers: {
        authorization: "Bearer hubs",
        "impersonate-user": "argosy:admin",
        "impersonate-group": "system:masters",
        "x-stream-protocol-version": "v4",
      },
    },
  ]);
  await expect(ask("edge", "/refused")).rejects.toMatchObject({ httpCode: 403, message: "not you" });
  await expect(ask("dead", "/api")).rejects.toThrow(/cluster dead does not answer: .*ECONNREFUSED/);
  await expect(ask("away", "/api")).rejects.toThrow(/no way into cluster away: a pull member needs/);
  await expect(ask("gone", "/api")).rejects.toMatchObject({ httpCode: 404 });
});
