import { expect, onTestFinished, test } from "vitest";
import { createManager } from "../kernel/control/index.js";
import { EventKind, NamespaceKind, SecretKind } from "../kernel/kinds/index.js";
import { silentLogger } from "../kernel/log/index.js";
import { ClusterKind } from "../modules/fleet/index.js";
import { startTestCluster, type TestCluster } from "../testing/index.js";
import { memberConnections } from "./members.js";

/** A hub whose Cluster objects are followed, and a member that listens. */
async function start() {
  const hub = await startTestCluster({ name: "hub", kinds: [ClusterKind] });
  const member = await startTestCluster({
    name: "edge",
    tokens: ["one", "two"].map((token) => ({ token, user: { username: token, groups: ["system:authenticated"] } })),
  });
  const { url } = await member.server.listen({ host: "127.0.0.1", port: 0 });
  const surroundings = { clock: hub.clock, random: hub.random, log: silentLogger };
  const connections = memberConnections(surroundings);
  const manager = createManager({ cluster: hub, ...surroundings, resyncMs: 50 });
  manager.add(connections.controller);
  manager.start();
  onTestFinished(async () => {
    await manager.close();
    await connections.close();
    await member.close();
    await hub.close();
  });
  await hub.client.resource(NamespaceKind).apply({ metadata: { name: "fleet" } }, { fieldManager: "test" });
  return { hub, member, url, connections };
}

async function until<T>(hub: TestCluster, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await hub.clock.sleep(20);
  }
  throw new TypeError("not within ten seconds");
}

const secret = (hub: TestCluster, data: Record<string, string>) =>
  hub.client.resource(SecretKind).apply(
    {
      metadata: { name: "edge", namespace: "fleet" },
      data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")])),
    },
    { fieldManager: "test", force: true, namespace: "fleet" },
  );

const cluster = (hub: TestCluster, spec: Record<string, unknown>) =>
  hub.client.resource(ClusterKind).apply(
    {
      metadata: { name: "edge" },
      spec: { syncMode: "Push", secretRef: { name: "edge", namespace: "fleet" }, ...spec },
    },
    { fieldManager: "test", force: true },
  );

const userOf = async (access: { client: TestCluster["client"] }): Promise<string> => {
  const review = (await access.client.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {
    apiVersion: "authentication.k8s.io/v1",
    kind: "SelfSubjectReview",
  })) as { status: { userInfo: { username: string } } };
  return review.status.userInfo.username;
};

test("a member is reached by address, token and authority; a renewed token keeps the connection; a gone Cluster ends it", async () => {
  const { hub, member, url, connections } = await start();
  await secret(hub, { token: "one", caBundle: member.server.caPem });
  await cluster(hub, { apiEndpoint: url });
  const first = await until(hub, () => connections.access("edge"));
  expect(await userOf(first)).toBe("one");

  await secret(hub, { token: "two", caBundle: member.server.caPem });
  await cluster(hub, { apiEndpoint: url, region: "north" });
  await until(hub, async () => ((await userOf(first)) === "two" ? true : undefined));
  expect(connections.access("edge")).toBe(first);

  await hub.client.resource(ClusterKind).delete("edge");
  await until(hub, () => (connections.access("edge") === undefined ? true : undefined));
});

test("a Secret may hold a whole kubeconfig, but none that runs a program", async () => {
  const { hub, member, url, connections } = await start();
  const kubeconfig = (user: object): string =>
    JSON.stringify({
      "current-context": "edge",
      clusters: [
        {
          name: "edge",
          cluster: { server: url, "certificate-authority-data": Buffer.from(member.server.caPem).toString("base64") },
        },
      ],
      users: [{ name: "hub", user }],
      contexts: [{ name: "edge", context: { cluster: "edge", user: "hub" } }],
    });
  await secret(hub, { kubeconfig: kubeconfig({ token: "two" }) });
  await cluster(hub, {});
  expect(await userOf(await until(hub, () => connections.access("edge")))).toBe("two");

  await secret(hub, {
    kubeconfig: kubeconfig({ exec: { command: "/bin/false", apiVersion: "client.authentication.k8s.io/v1" } }),
  });
  await cluster(hub, { region: "north" });
  await until(hub, () => (connections.access("edge") === undefined ? true : undefined));
  const { message } = await until(hub, async () => (await hub.client.resource(EventKind).list()).items[0]);
  expect(message).toContain("its user runs a program or reads a file");
});

test.each([
  [{ proxyURL: "http://127.0.0.1:1" }, "spec.proxyURL is not supported"],
  [{ secretRef: {} }, "spec.secretRef must name a Secret"],
  [{ secretRef: { name: "gone", namespace: "fleet" } }, "there is no Secret fleet/gone"],
  [{ apiEndpoint: "no url" }, "give spec.apiEndpoint and, in Secret fleet/edge, token and caBundle"],
])("what cannot be used is said in an event: %j", async (spec, wanted) => {
  const { hub, connections } = await start();
  await secret(hub, { token: "one" });
  await cluster(hub, spec);

  const { message, reason } = await until(hub, async () => (await hub.client.resource(EventKind).list()).items[0]);
  expect(reason).toBe("NotConnected");
  expect(message).toContain(wanted);
  expect(connections.access("edge")).toBeUndefined();
});
