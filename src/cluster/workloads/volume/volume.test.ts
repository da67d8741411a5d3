import { afterAll, beforeAll, expect, test } from "vitest";
import {
  EventKind,
  type PersistentVolume,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  PodKind,
  StorageClassKind,
} from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster(["a", "b"]);
});
afterAll(() => play.close());

const at = { namespace: "default" };
const claims = () => play.client.resource(PersistentVolumeClaimKind);
const volumes = () => play.client.resource(PersistentVolumeKind);

async function addVolume(name: string, size: string, spec: Partial<PersistentVolume["spec"]> = {}) {
  await volumes().create({
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name },
    spec: {
      capacity: { storage: size },
      accessModes: ["ReadWriteOnce"],
      storageClassName: "hand",
      hostPath: { path: `/data/${name}` },
      ...spec,
    },
  });
}
async function ask(name: string, size: string, storageClassName = "hand") {
  await claims().create({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name, namespace: "default" },
    spec: { accessModes: ["ReadWriteOnce"], storageClassName, resources: { requests: { storage: size } } },
  });
}
const phase = async (name: string) => (await claims().get(name, at)).status?.phase;
const volumePhase = async (name: string) => (await volumes().get(name)).status?.phase;
const events = async (name: string) =>
  (await play.client.resource(EventKind).list(at)).items
    .filter(({ involvedObject }) => involvedObject.name === name)
    .map(({ reason, message }) => `${reason}: ${message}`);

test("a claim gets the smallest volume that is large enough, one that is reserved first; kept ones are released", async () => {
  await addVolume("small", "1Gi");
  await addVolume("large", "10Gi");
  await addVolume("fitting", "3Gi");
  await addVolume("reserved", "20Gi", { claimRef: { namespace: "default", name: "mine" } });
  await play.until(async () => (await volumePhase("reserved")) === "Available");
  await ask("data", "2Gi");
  await ask("mine", "2Gi");

  await play.until(async () => (await phase("data")) === "Bound" && (await phase("mine")) === "Bound");

  expect((await claims().get("data", at)).spec.volumeName).toBe("fitting");
  expect((await claims().get("data", at)).status).toMatchObject({ capacity: { storage: "3Gi" } });
  expect((await claims().get("mine", at)).spec.volumeName).toBe("reserved");
  expect(await volumePhase("fitting")).toBe("Bound");
  expect((await volumes().get("fitting")).spec.claimRef).toMatchObject({ name: "data", namespace: "default" });

  await claims().delete("data", at);
  await play.until(async () => (await volumePhase("fitting")) === "Released");
  await volumes().delete("reserved");
  await volumes().patch("reserved", "merge", { metadata: { finalizers: null } });
  await play.until(async () => (await phase("mine")) === "Lost");
  expect(await events("mine")).toContain(
    "ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!",
  );
});

test("what a claim waits for is told", async () => {
  await ask("none", "1Ti", "");
  await ask("unknown", "1Ti", "nobody");
  await play.client.resource(StorageClassKind).create({
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name: "outside" },
    provisioner: "example.com/disks",
  });
  await ask("elsewhere", "1Ti", "outside");

  await play.until(async () => (await events("elsewhere")).length > 0 && (await events("unknown")).length > 0);

  expect(await phase("none")).toBe("Pending");
  expect(await events("none")).toEqual([
    "FailedBinding: no persistent volumes available for this claim and no storage class is set",
  ]);
  expect(await events("unknown")).toEqual(['ProvisioningFailed: storageclass.storage.k8s.io "nobody" not found']);
  expect((await events("elsewhere"))[0]).toMatch(
    /^ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com\/disks' or manually/,
  );
});

test("WaitForFirstConsumer binds where the first pod runs; ephemeral claims come and go with their pods", async () => {
  await play.client.resource(StorageClassKind).create({
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name: "disks" },
    provisioner: "kubernetes.io/no-provisioner",
    volumeBindingMode: "WaitForFirstConsumer",
  });
  const on = (node: string) => ({
    storageClassName: "disks",
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [node] }] }],
      },
    },
  });
  await addVolume("disk-a", "1Gi", on("a"));
  await addVolume("disk-b", "5Gi", on("b"));
  await ask("disk", "1Gi", "disks");
  await play.until(async () => (await events("disk")).length > 0);
  expect(await events("disk")).toEqual([
    "WaitForFirstConsumer: waiting for first consumer to be created before binding",
  ]);
  const pods = play.client.resource(PodKind);
  const run = (name: string, volume: object) =>
    pods.create({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default" },
      spec: {
        nodeSelector: { "kubernetes.io/hostname": "b" },
        containers: [{ name: "main", image: "one" }],
        volumes: [{ name: "data", ...volume }],
      },
    });
  await run("user", { persistentVolumeClaim: { claimName: "disk" } });

  await play.until(async () => (await phase("disk")) === "Bound");
  expect((await claims().get("disk", at)).spec.volumeName).toBe("disk-b");
  await ask("huge", "9Ti", "disks");
  await ask("now", "9Ti", "hand");
  const scheduled = async (name: string) =>
    (await pods.get(name, at)).status?.conditions?.find(({ type }) => type === "PodScheduled")?.message;
  await run("too-much", { persistentVolumeClaim: { claimName: "huge" } });
  await run("too-soon", { persistentVolumeClaim: { claimName: "now" } });
  await play.until(
    async () => (await scheduled("too-much")) !== undefined && (await scheduled("too-soon")) !== undefined,
  );
  expect(await scheduled("too-much")).toMatch(
    /^0\/2 nodes are available: 1 node\(s\) didn't find available persistent volumes to bind, 1 node\(s\) didn't match Pod's node affinity\/selector\./,
  );
  expect(await scheduled("too-soon")).toMatch(
    /^0\/2 nodes are available: pod has unbound immediate PersistentVolumeClaims\./,
  );

  const spec = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } };
  await run("brief", { ephemeral: { volumeClaimTemplate: { spec } } });
  await play.until(async () => (await claims().find("brief-data", at)) !== undefined);
  await play.until(async () => (await pods.get("brief", at)).spec.nodeName === "b");
  await pods.delete("brief", at);
  await play.until(async () => (await claims().find("brief-data", at)) === undefined);
});
