import { expect, onTestFinished, vi } from "vitest";
import type { GatewayDriver } from "../dataplane/gateway/index.js";
import { type ControllerSpec, createManager } from "../kernel/control/index.js";
import { ConfigMapKind, findCondition, NamespaceKind, SecretKind, ServiceAccountKind } from "../kernel/kinds/index.js";
import { silentLogger } from "../kernel/log/index.js";
import { ClusterKind, createFleetModule, WorkKind } from "../modules/fleet/index.js";
import { memoryLedger } from "../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../testing/index.js";
import { unless } from "../testing/unless.js";
import { memberConnections } from "./members.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "accounts and their tokens are the embedded server's",
);
const space = "karmada-es-edge";
const wait = { timeout: 30_000, interval: 20 };

/** Delivery and looking after members, over connections as Secrets say. */
async function start() {
  const hub = await startTestCluster({ name: "hub", kinds: [ClusterKind, WorkKind] });
  const member = await startTestCluster({ name: "edge" });
  const { url } = await member.server.listen({ host: "127.0.0.1", port: 0 });
  const { clock, random } = hub;
  const surroundings = { clock, random, log: silentLogger };
  const connections = memberConnections(surroundings);
  const fleet = createFleetModule({
    members: (name) => connections.access(name),
    gateway: noGateway,
    ledger: memoryLedger({ clock }),
    headListener: { name: "head", host: "127.0.0.1", port: 0 },
    ingressListener: () => undefined,
  });
  const wanted = new Set(["execution-controller", "cluster-status-controller"]);
  const manager = createManager({ cluster: hub, ...surroundings });
  const controllers: readonly ControllerSpec[] = fleet.controllers("continuum", hub);
  for (const controller of controllers) if (wanted.has(controller.name)) manager.add(controller);
  manager.add(connections.controller);
  onTestFinished(async () => {
    await manager.close();
    await connections.close();
    await member.close();
    await hub.close();
  });
  for (const name of ["fleet", space]) await namespace(hub, name);
  await member.client.json("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
    metadata: { name: "hub" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "system:serviceaccounts:default" }],
  });
  return { hub, member, url, manager };
}

const noGateway: GatewayDriver = {
  start: async () => {},
  apply: async () => {},
  open: async () => {},
  keep: async () => "",
  observe: () => Promise.reject(new TypeError("there is none")),
  lastState: undefined,
  partOf: () => undefined,
  onActivators: () => () => {},
  onState: () => () => {},
  process: { running: false, pid: 0, adopted: false, restarts: 0, reason: "" },
  close: async () => {},
};

function namespace({ client }: TestCluster, name: string) {
  return client.resource(NamespaceKind).apply({ metadata: { name } }, { fieldManager: "test" });
}

/** A token of an account of the member; it ends with the account. */
async function tokenOf({ client }: TestCluster, name: string): Promise<string> {
  const options = { fieldManager: "test", namespace: "default" };
  await client.resource(ServiceAccountKind).apply({ metadata: { name, namespace: "default" } }, options);
  const path = `/api/v1/namespaces/default/serviceaccounts/${name}/token`;
  const answer = (await client.json("POST", path, { spec: { expirationSeconds: 3600 } })) as {
    status: { token: string };
  };
  return answer.status.token;
}

function endTokenOf({ client }: TestCluster, name: string) {
  return client.resource(ServiceAccountKind).delete(name, { namespace: "default" });
}

function credentials({ client }: TestCluster, token: string, caBundle: string) {
  const data = { token, caBundle };
  const encoded = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
  return client
    .resource(SecretKind)
    .apply(
      { metadata: { name: "edge", namespace: "fleet" }, data: Object.fromEntries(encoded) },
      { fieldManager: "test", force: true, namespace: "fleet" },
    );
}

function send({ client }: TestCluster, name: string) {
  const labels = { "karmada.io/managed": "true" };
  const annotations = { "work.karmada.io/name": name, "work.karmada.io/namespace": space };
  const metadata = { name, namespace: "default", labels, annotations };
  return client.resource(WorkKind).create(
    {
      apiVersion: "work.karmada.io/v1alpha1",
      kind: "Work",
      metadata: { name, namespace: space },
      spec: { workload: { manifests: [{ apiVersion: "v1", kind: "ConfigMap", metadata, data: { k: "v" } }] } },
    },
    { namespace: space },
  );
}

async function allApplied({ client }: TestCluster, count: number): Promise<void> {
  const { items } = await client.resource(WorkKind).list({ namespace: space });
  const faults = items
    .map(({ metadata, status }) => ({ name: metadata.name, ...findCondition(status?.conditions, "Applied") }))
    .filter(({ status }) => status !== "True");
  expect(faults).toEqual([]);
  expect(items).toHaveLength(count);
}

async function readyOf({ client }: TestCluster) {
  return findCondition((await client.resource(ClusterKind).get("edge")).status?.conditions, "Ready");
}

embedded(
  "credentials and authorities that change are taken up without a restart: nothing is lost, nothing applied twice",
  async () => {
    const { hub, member, url, manager } = await start();
    const { caPem } = member.server;
    await credentials(hub, await tokenOf(member, "one"), caPem);
    await hub.client.resource(ClusterKind).apply(
      {
        metadata: { name: "edge" },
        spec: { syncMode: "Push", apiEndpoint: url, secretRef: { name: "edge", namespace: "fleet" } },
      },
      { fieldManager: "test" },
    );
    const maps = member.informers.informer(ConfigMapKind);
    await maps.synced();
    const writes: string[] = [];
    maps.onChange((now, old) => {
      if (now?.metadata.namespace === "default")
        writes.push(`${now.metadata.name} ${old === undefined ? "made" : "changed"}`);
    });
    manager.start();
    await vi.waitFor(async () => expect((await readyOf(hub))?.status).toBe("True"), wait);

    // Renewed while objects are on their way: the old token ends at once.
    for (let index = 0; index < 12; index += 1) {
      if (index === 4) await credentials(hub, await tokenOf(member, "two"), caPem);
      if (index === 6) await endTokenOf(member, "one");
      await send(hub, `m${String(index).padStart(2, "0")}`);
    }
    await vi.waitFor(() => allApplied(hub, 12), wait);

    // Revoked, and nothing in its place: the Cluster says so, and what was delivered is not denied.
    await endTokenOf(member, "two");
    const refused = await vi.waitFor(async () => {
      const ready = await readyOf(hub);
      expect(ready).toMatchObject({ status: "False", reason: "CredentialsRefused" });
      return ready;
    }, wait);
    expect(refused?.message).toContain("renew what spec.secretRef names");
    await allApplied(hub, 12);
    // An authority that the member's certificate is not of.
    const three = await tokenOf(member, "three");
    await credentials(hub, three, hub.server.caPem);
    await vi.waitFor(async () => expect((await readyOf(hub))?.reason).toBe("CertificateRefused"), wait);
    await credentials(hub, three, caPem);
    await vi.waitFor(async () => expect((await readyOf(hub))?.status).toBe("True"), wait);
    await allApplied(hub, 12);
    expect([...writes].sort()).toEqual(
      Array.from({ length: 12 }, (_, index) => `m${String(index).padStart(2, "0")} made`),
    );

    // Over the new connection too, what others change is put back.
    await member.client
      .resource(ConfigMapKind)
      .patch("m07", "merge", { data: { k: "drifted" } }, { namespace: "default" });
    await vi.waitFor(() => expect(maps.get({ namespace: "default", name: "m07" })?.data).toEqual({ k: "v" }), wait);
  },
  60_000,
);
