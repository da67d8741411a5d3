import { expect, onTestFinished } from "vitest";
import { workloadControllers } from "../../../cluster/workloads/index.js";
import { seededRandom } from "../../../kernel/clock/index.js";
import { createManager } from "../../../kernel/control/index.js";
import { ClusterRoleKind, NamespaceKind, SecretKind, ServiceAccountKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { memoryLedger } from "../../../stores/ledger/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import { eventually } from "../fixture.js";
import { ClusterKind, WorkKind } from "../kinds.js";
import { awaitReady, forgetHub, isMember, joinCluster, leaveCluster, listClusters, setCordon } from "./joining.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "it makes no tokens without its own controllers",
);

async function start() {
  const hub = await startTestCluster({ name: "hub", kinds: [ClusterKind, WorkKind], random: seededRandom(2) });
  const member = await startTestCluster({ name: "paris" });
  const { clock, random } = member;
  const manager = createManager({ cluster: member, clock, random, log: silentLogger });
  const controllers = workloadControllers({
    ledger: memoryLedger({ clock }),
    clusterName: "paris",
    caPem: member.server.caPem,
    scheduler: false,
    workloads: false,
  });
  for (const controller of controllers) manager.add(controller);
  manager.start();
  onTestFinished(async () => {
    await manager.close();
    await member.close();
    await hub.close();
  });
  const request = {
    name: "paris",
    member: member.client,
    endpoint: { server: "https://paris.example:6443", caPem: member.server.caPem },
    rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list"] }],
    place: { region: "eu", zones: ["eu-1"] },
    labels: { tier: "gold" },
  };
  return { hub: { client: hub.client, clock }, member, request };
}

embedded(
  "a cluster joins with an account of the hub's own, which can do there what it was given; leaving undoes both",
  async () => {
    const { hub, member, request } = await start();
    await joinCluster(hub, request);
    const [cluster] = await listClusters(hub);
    const id = (await member.client.resource(NamespaceKind).get("kube-system")).metadata.uid;
    expect(cluster).toMatchObject({
      metadata: { name: "paris", labels: { tier: "gold" } },
      spec: {
        id,
        syncMode: "Push",
        apiEndpoint: "https://paris.example:6443",
        region: "eu",
        zones: ["eu-1"],
        secretRef: { namespace: "karmada-cluster", name: "paris" },
      },
    });
    const inSpace = { namespace: "karmada-cluster" };
    const { data } = await hub.client.resource(SecretKind).get("paris", inSpace);
    const token = Buffer.from(data?.["token"] ?? "", "base64").toString();
    const asHub = member.as(token).client;
    expect(await asHub.json("GET", "/api/v1/configmaps")).toMatchObject({ kind: "ConfigMapList" });
    await expect(asHub.json("GET", "/api/v1/secrets")).rejects.toMatchObject({ httpCode: 403 });
    await joinCluster(hub, { ...request, place: { region: "us" }, labels: { site: "b" } });
    expect((await listClusters(hub))[0]).toMatchObject({
      metadata: { labels: { tier: "gold", site: "b" } },
      spec: { region: "us", zones: ["eu-1"] },
    });
    await expect(joinCluster(hub, { ...request, name: "twin" })).rejects.toThrow(/in the fleet already, as paris/);
    await hub.client
      .resource(ClusterKind)
      .apply({ metadata: { name: "lab" }, spec: { syncMode: "Pull" } }, { fieldManager: "test" });
    await expect(joinCluster(hub, { ...request, name: "lab" })).rejects.toThrow(/lab is in the fleet by pull/);
    await hub.client.resource(ClusterKind).delete("lab");
    await expect(joinCluster(hub, { ...request, name: "Big" })).rejects.toThrow(/RFC 1123/);
    await expect(awaitReady(hub, "paris", 0)).rejects.toThrow(/is not Ready after 0 s/);

    // It never answered: what was delivered there is not taken away, and that is told.
    const inWorks = { namespace: "karmada-es-paris" };
    await hub.client.resource(NamespaceKind).apply({ metadata: { name: inWorks.namespace } }, { fieldManager: "test" });
    const work = { metadata: { name: "web", ...inWorks }, spec: { workload: { manifests: [] } } };
    await hub.client.resource(WorkKind).apply(work, { fieldManager: "test", ...inWorks });
    expect(await leaveCluster(hub, "paris", 1000)).toEqual({ hadAccount: true, staying: 1 });
    expect(await forgetHub(member.client, "paris")).toBe(true);
    expect(await forgetHub(member.client, "paris")).toBe(false);
    // The namespace that was made for it goes too.
    await eventually(
      () => member.client.resource(NamespaceKind).find("karmada-cluster"),
      (space) => space === undefined,
      "the namespace is gone",
    );
    expect(await listClusters(hub)).toEqual([]);
    await expect(leaveCluster(hub, "paris", 1000)).rejects.toMatchObject({ httpCode: 404 });
    expect(await hub.client.resource(SecretKind).find("paris", inSpace)).toBeUndefined();
    const roles = (await member.client.resource(ClusterRoleKind).list()).items.map(({ metadata }) => metadata.name);
    expect(roles.filter((name) => name.includes("karmada"))).toEqual([]);
    await expect(asHub.json("GET", "/api/v1/configmaps")).rejects.toMatchObject({ httpCode: 401 });
  },
);

embedded(
  "a name stays one cluster's; the hub is no member of itself; nothing is made before that is known",
  async () => {
    const { hub, member, request } = await start();
    const other = await startTestCluster({ name: "other", random: seededRandom(3) });
    onTestFinished(() => other.close());
    await joinCluster(hub, request);
    const before = (await listClusters(hub))[0];
    await expect(joinCluster(hub, { ...request, member: other.client })).rejects.toThrow(
      "paris is another cluster already: `argosy clusters leave paris` first",
    );
    const endpoint = { server: "paris" };
    await expect(joinCluster(hub, { ...request, name: "b", member: other.client, endpoint })).rejects.toThrow(
      '"paris" is no URL of an API',
    );
    await expect(joinCluster(hub, { ...request, name: "hub", member: hub.client })).rejects.toThrow(/the hub itself/);
    expect((await listClusters(hub))[0]).toEqual(before);
    expect(await other.client.resource(NamespaceKind).find("karmada-cluster")).toBeUndefined();
    expect(await isMember(hub, "paris", member.client)).toBe(true);
    expect(await isMember(hub, "paris", other.client)).toBe(false);
    await hub.client
      .resource(ClusterKind)
      .apply({ metadata: { name: "lab" }, spec: { syncMode: "Pull" } }, { fieldManager: "test" });
    await expect(joinCluster(hub, { ...request, name: "lab", member: other.client })).rejects.toThrow(/by pull/);
    // Another hub's account keeps the namespace.
    const account = { metadata: { name: "karmada-lyon", namespace: "karmada-cluster" } };
    const options = { fieldManager: "test", namespace: "karmada-cluster" };
    await member.client.resource(ServiceAccountKind).apply(account, options);
    expect(await forgetHub(member.client, "paris")).toBe(true);
    const space = await member.client.resource(NamespaceKind).get("karmada-cluster");
    expect(space.metadata.deletionTimestamp).toBeUndefined();
  },
);

embedded("a cordon keeps other taints", async () => {
  const { hub, request } = await start();
  await joinCluster(hub, request);
  const own = { key: "dedicated", effect: "NoSchedule" };
  await hub.client.resource(ClusterKind).patch("paris", "merge", { spec: { taints: [own] } });
  expect(await setCordon(hub, "paris", true)).toBe(true);
  expect(await setCordon(hub, "paris", true)).toBe(false);
  const taints = async () => (await listClusters(hub))[0]?.spec?.taints;
  expect(await taints()).toEqual([own, { key: "cluster.karmada.io/unschedulable", effect: "NoSchedule" }]);
  expect(await setCordon(hub, "paris", false)).toBe(true);
  expect(await taints()).toEqual([own]);
});
