import { expect, test, vi } from "vitest";
import { createManager } from "../../../kernel/control/index.js";
import { EventKind, PodDisruptionBudgetKind, PodKind, ReplicaSetKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { disruptionController } from "./index.js";

test("a budget counts its healthy pods, allows what is left over, and evictions spend it", async () => {
  const cluster = await startTestCluster();
  const { clock, random, client } = cluster;
  const manager = createManager({ cluster, clock, random, log: silentLogger });
  manager.add(disruptionController());
  manager.start();
  const namespace = "default";
  const pods = client.resource(PodKind);
  const labels = { app: "x" };
  const template = { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } };
  const set = await client.resource(ReplicaSetKind).create(
    {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: { name: "s", namespace },
      spec: { replicas: 4, selector: { matchLabels: labels }, template },
    },
    { namespace },
  );
  const ownerReferences = [
    { apiVersion: "apps/v1", kind: "ReplicaSet", name: "s", uid: set.metadata.uid, controller: true },
  ];
  for (let i = 0; i < 3; i++) {
    const pod = await pods.create(
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: `p${i}`, namespace, labels, ownerReferences },
        spec: { nodeName: "n", containers: [{ name: "c", image: "i" }] },
      },
      { namespace },
    );
    await pods.updateStatus({ ...pod, status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] } });
  }
  const budgets = client.resource(PodDisruptionBudgetKind);
  await budgets.create(
    {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "b", namespace },
      spec: { maxUnavailable: "50%", selector: { matchLabels: labels } },
    },
    { namespace },
  );
  const statusIs = (wanted: object) =>
    vi.waitFor(async () => expect((await budgets.get("b", { namespace })).status).toMatchObject(wanted), {
      timeout: 20_000,
    });

  await statusIs({ expectedPods: 4, currentHealthy: 3, desiredHealthy: 2, disruptionsAllowed: 1 });
  await client.json("POST", `/api/v1/namespaces/${namespace}/pods/p0/eviction`, {
    apiVersion: "policy/v1",
    kind: "Eviction",
    metadata: { name: "p0" },
  });
  await statusIs({
    currentHealthy: 2,
    disruptionsAllowed: 0,
    conditions: [{ type: "DisruptionAllowed", status: "False", reason: "InsufficientPods" }],
  });
  await expect(
    client.json("POST", `/api/v1/namespaces/${namespace}/pods/p1/eviction`, {
      apiVersion: "policy/v1",
      kind: "Eviction",
      metadata: { name: "p1" },
    }),
  ).rejects.toThrow("disruption budget");
  await pods.create(
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "alone", namespace, labels },
      spec: { containers: [{ name: "c", image: "i" }] },
    },
    { namespace },
  );
  const told = async () =>
    (await client.resource(EventKind).list({ namespace })).items.map(({ reason, message }) => `${reason}: ${message}`);
  await vi.waitFor(
    async () =>
      expect((await told()).join()).toContain(
        "UnmanagedPods: Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string{app: x,},MatchExpressions:[]LabelSelectorRequirement{},})",
      ),
    { timeout: 20_000 },
  );
  await statusIs({ expectedPods: 4, currentHealthy: 2 });
  await client.resource(ReplicaSetKind).patch("s", "merge", { spec: { replicas: 6 } }, { namespace });
  await statusIs({ expectedPods: 6, currentHealthy: 2 });

  const owner = { apiVersion: "example.com/v1", kind: "Thing", name: "t", uid: "t", controller: true };
  await pods.create(
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "odd", namespace, labels, ownerReferences: [owner] },
      spec: { containers: [{ name: "c", image: "i" }] },
    },
    { namespace },
  );
  await statusIs({
    currentHealthy: 2,
    disruptionsAllowed: 0,
    conditions: [{ reason: "SyncFailed", message: 'found no controllers for pod "odd"' }],
  });

  await manager.close();
  await cluster.close();
});
