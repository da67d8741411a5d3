import { afterAll, beforeAll, expect, test } from "vitest";
import {
  EventKind,
  findCondition,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  ServiceKind,
  StorageClassKind,
} from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

// What a comparison with kube-scheduler found to be otherwise once.

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster([]);
  for (const [name, zone] of [
    ["a", "east"],
    ["b", "west"],
  ] as const)
    await play.addNode(name, { labels: { zone, "topology.kubernetes.io/zone": zone } });
  await play.clock.advance(1000);
});
afterAll(() => play.close());

const at = { namespace: "default" };
const pods = () => play.client.resource(PodKind);
const said = (pod: Pod) => findCondition(pod.status?.conditions, "PodScheduled")?.message;

async function make(name: string, spec: Partial<Pod["spec"]> = {}, labels: Record<string, string> = {}): Promise<void> {
  await pods().create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels },
    spec: { containers: [{ name: "main", image: "one" }], ...spec },
  });
}
async function place(...asked: Parameters<typeof make>): Promise<Pod> {
  const [name] = asked;
  await make(...asked);
  await play.until(async () => {
    const pod = await pods().get(name, at);
    return pod.spec.nodeName !== undefined || said(pod) !== undefined;
  });
  return pods().get(name, at);
}
async function clear(): Promise<void> {
  await pods().deleteCollection({ namespace: "default", gracePeriodSeconds: 0 });
  await play.until(async () => (await pods().list(at)).items.length === 0);
}
const on = (node: string) => ({ nodeSelector: { "kubernetes.io/hostname": node } });
const cpu = (amount: string) => ({
  containers: [{ name: "main", image: "one", resources: { requests: { cpu: amount } } }],
});

test("a pod that waits for company goes when the company comes", async () => {
  const podAffinity = {
    requiredDuringSchedulingIgnoredDuringExecution: [
      { topologyKey: "zone", labelSelector: { matchLabels: { app: "friend" } } },
    ],
  };
  expect(said(await place("lonely", { affinity: { podAffinity } }))).toBe(
    "0/2 nodes are available: 2 node(s) didn't match pod affinity rules. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
  );
  await place("friend", on("b"), { app: "friend" });
  await play.until(async () => (await pods().get("lonely", at)).spec.nodeName === "b", 5000);
  await clear();
});

test("who is to be near must be what all terms mean; terms that no node can meet are told at once", async () => {
  await place("half-a", on("a"), { app: "x" });
  await place("half-b", on("a"), { tier: "y" });
  const podAffinity = {
    requiredDuringSchedulingIgnoredDuringExecution: [
      { topologyKey: "zone", labelSelector: { matchLabels: { app: "x" } } },
      { topologyKey: "zone", labelSelector: { matchLabels: { tier: "y" } } },
    ],
  };
  expect(said(await place("both", { affinity: { podAffinity } }))).toContain("didn't match pod affinity rules");
  const names = (value: string) => ({ key: "metadata.name", operator: "In", values: [value] });
  const nodeSelectorTerms = [{ matchFields: [names("a"), names("b")] }];
  const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } };
  expect(said(await place("torn", { affinity: { nodeAffinity } }))).toBe(
    "0/2 nodes are available: pod affinity terms conflict. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
  );
  await clear();
});

test("a selector that selects everything counts nobody in a spread", async () => {
  const constraint = { maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule", labelSelector: {} };
  for (const name of ["e1", "e2", "e3"]) await place(name, on("a"));
  expect((await place("e4", { ...on("a"), topologySpreadConstraints: [constraint] })).spec.nodeName).toBe("a");
  await clear();
});

test("pods of one service are kept apart where nothing else is said", async () => {
  await play.client.resource(ServiceKind).create({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "default" },
    spec: { selector: { app: "web" }, ports: [{ port: 80 }] },
  });
  await place("ballast", { ...on("b"), ...cpu("1") });
  await place("w1", on("a"), { app: "web" });
  // More is free on the other one's node.
  expect((await place("w2", {}, { app: "web" })).spec.nodeName).toBe("b");
  await clear();
});

test("events say what was being done; a pod that did not change is not told the same again", async () => {
  const about = async () =>
    (await play.client.resource(EventKind).list(at)).items.filter(({ involvedObject: one }) => one.name === "vast");
  await place("vast", cpu("99"));
  await play.until(async () => (await about()).length > 0);
  const [event] = await about();
  expect(event).toMatchObject({ action: "Scheduling", reportingComponent: "default-scheduler", type: "Warning" });
  expect(event?.series).toBeUndefined();
  // Nodes say that they are alive; nothing follows from that.
  await play.clock.advance(60_000);
  expect((await about())[0]?.series).toBeUndefined();
  const a = await play.client.resource(NodeKind).get("a");
  await play.client.resource(NodeKind).patch("a", "merge", { metadata: { labels: { new: "yes" } } });
  await play.until(async () => (await about())[0]?.series?.count === 2);
  expect(a.metadata.labels).not.toHaveProperty("new");
  await clear();
});

test("the volume is reserved with the node; a provisioner is told for which node", async () => {
  for (const [name, provisioner] of [
    ["ready", "kubernetes.io/no-provisioner"],
    ["made", "example.com/disks"],
  ] as const)
    await play.client.resource(StorageClassKind).create({
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name },
      provisioner,
      volumeBindingMode: "WaitForFirstConsumer",
    });
  const claims = play.client.resource(PersistentVolumeClaimKind);
  for (const storageClassName of ["ready", "made"])
    await claims.create({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: storageClassName, namespace: "default" },
      spec: { storageClassName, accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    });
  const volumes = play.client.resource(PersistentVolumeKind);
  const only = [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: ["b"] }] }];
  const disk = (name: string, more: object) => ({
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name },
    spec: { capacity: { storage: "1Gi" }, accessModes: ["ReadWriteOnce"], hostPath: { path: "/d" }, ...more },
  });
  await volumes.create(
    disk("disk", { storageClassName: "ready", nodeAffinity: { required: { nodeSelectorTerms: only } } }),
  );
  const uses = (claimName: string) => ({ volumes: [{ name: "data", persistentVolumeClaim: { claimName } }] });
  await make("user", uses("ready"));
  await play.until(async () => (await pods().get("user", at)).spec.nodeName === "b");
  expect((await volumes.get("disk")).spec.claimRef).toMatchObject({ name: "ready", namespace: "default" });

  await make("asker", { ...uses("made"), ...on("a") });
  await play.until(
    async () =>
      (await claims.get("made", at)).metadata.annotations?.["volume.kubernetes.io/storage-provisioner"] !== undefined,
  );
  const { annotations } = (await claims.get("made", at)).metadata;
  expect(annotations).toMatchObject({
    "volume.kubernetes.io/selected-node": "a",
    "volume.kubernetes.io/storage-provisioner": "example.com/disks",
  });
  expect((await pods().get("asker", at)).spec.nodeName).toBeUndefined();
  // The provisioner gives up: the pod looks for another place.
  await claims.patch(
    "made",
    "merge",
    { metadata: { annotations: { "volume.kubernetes.io/selected-node": null } } },
    at,
  );
  await play.until(async () => said(await pods().get("asker", at)) !== undefined);
  expect(said(await pods().get("asker", at))).toBe(
    'running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "made"',
  );
  await clear();
});
