import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createManager, type Manager } from "../../../kernel/control/index.js";
import { PersistentVolumeClaimKind, PersistentVolumeKind, PodKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { claimProtection, volumeProtection } from "./index.js";

let cluster: TestCluster;
let manager: Manager;

beforeAll(async () => {
  cluster = await startTestCluster();
  const { clock, random } = cluster;
  manager = createManager({ cluster, clock, random, log: silentLogger });
  manager.add(claimProtection());
  manager.add(volumeProtection());
  manager.start();
});
afterAll(async () => {
  await manager.close();
  await cluster.close();
});

const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 10_000, interval: 20 });
const namespace = "default";

test("a claim stays as long as a pod with a node uses it", async () => {
  const claims = cluster.client.resource(PersistentVolumeClaimKind);
  const pods = cluster.client.resource(PodKind);
  const made = await claims.create(
    {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data", namespace },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } }, storageClassName: "none" },
    },
    { namespace },
  );
  await pods.create(
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "user", namespace },
      spec: {
        nodeName: "n",
        containers: [{ name: "c", image: "i" }],
        volumes: [{ name: "d", persistentVolumeClaim: { claimName: "data" } }],
      },
    },
    { namespace },
  );
  await claims.delete("data", { namespace });
  const held = await claims.get("data", { namespace });
  await pods.delete("user", { namespace, gracePeriodSeconds: 0 });

  expect(made.metadata.finalizers).toEqual(["kubernetes.io/pvc-protection"]);
  expect(held.metadata.deletionTimestamp).toBeDefined();
  await eventually(async () => expect(await claims.find("data", { namespace })).toBeUndefined());
});

test("a volume stays as long as a claim is bound to it", async () => {
  const volumes = cluster.client.resource(PersistentVolumeKind);
  await volumes.create({
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: "v" },
    spec: { capacity: { storage: "1Gi" }, accessModes: ["ReadWriteOnce"], hostPath: { path: "/x" } },
  });
  await volumes.patch("v", "merge", { status: { phase: "Bound" } }, { fieldManager: "t", subresource: "status" });
  await volumes.delete("v");
  const held = await volumes.get("v");
  await volumes.patch("v", "merge", { status: { phase: "Released" } }, { fieldManager: "t", subresource: "status" });

  expect(held.metadata.finalizers).toEqual(["kubernetes.io/pv-protection"]);
  await eventually(async () => expect(await volumes.find("v")).toBeUndefined());
});
