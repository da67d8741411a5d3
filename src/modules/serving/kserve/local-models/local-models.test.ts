import { expect, test } from "vitest";
import {
  type Job,
  JobKind,
  type JsonObject,
  NamespaceKind,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  PodKind,
} from "../../../../kernel/kinds/index.js";
import { applyService, conditionOf, deploymentOf, namespace, type Setup, startServing, until } from "../fixture.js";
import {
  type LocalModelCache,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  LocalModelNodeGroupKind,
  LocalModelNodeKind,
} from "../storage-kinds.js";

const JOBS = "kserve-localmodel-jobs";

async function begin(nodes: readonly string[] = ["n1", "n2"]): Promise<Setup> {
  const cluster = await startServing();
  for (const name of nodes) {
    await cluster.client
      .resource(NodeKind)
      .create({ apiVersion: "v1", kind: "Node", metadata: { name, labels: { disk: "fast" } }, spec: {} });
    const conditions = [{ type: "Ready", status: "True" }];
    await cluster.client.resource(NodeKind).patch(name, "merge", { status: { conditions } }, { subresource: "status" });
  }
  const fast = { key: "disk", operator: "In", values: ["fast"] };
  const capacity = { storage: "2Gi" };
  await cluster.client.resource(LocalModelNodeGroupKind).apply(
    {
      metadata: { name: "fast" },
      spec: {
        storageLimit: "2Gi",
        persistentVolumeSpec: {
          ...{ accessModes: ["ReadWriteOnce"], volumeMode: "Filesystem", capacity, storageClassName: "by-hand" },
          local: { path: "/var/models" },
          nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [fast] }] } },
        },
        persistentVolumeClaimSpec: {
          ...{ accessModes: ["ReadWriteOnce"], storageClassName: "by-hand", resources: { requests: capacity } },
        },
      },
    },
    { fieldManager: "user" },
  );
  return cluster;
}

const applyCache = (cluster: Setup, name: string, sourceModelUri: string, more: JsonObject = {}) =>
  cluster.client
    .resource(LocalModelCacheKind)
    .apply(
      { metadata: { name }, spec: { sourceModelUri, modelSize: "1Gi", nodeGroups: ["fast"], ...more } },
      { fieldManager: "user" },
    );

async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

const cacheWith = (cluster: Setup, name: string, isWanted: (cache: LocalModelCache) => boolean) =>
  eventually(async () => {
    const found = await cluster.client.resource(LocalModelCacheKind).find(name);
    return found !== undefined && isWanted(found) ? found : undefined;
  });

const readyOf = ({ status }: LocalModelCache): string => {
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  return `${ready?.status ?? ""} ${ready?.reason ?? ""}`;
};

/** The job for a node. */
const jobOn = (cluster: Setup, node: string, work: "fetch" | "remove"): Promise<Job> =>
  eventually(async () => {
    const { items } = await cluster.client.resource(JobKind).list({ namespace: JOBS });
    return items.find(
      ({ metadata, spec }) => spec.template.spec?.nodeName === node && metadata.name.includes(`-${work}-`),
    );
  });

const setJob = (cluster: Setup, job: Job, status: JsonObject) =>
  cluster.client
    .resource(JobKind)
    .patch(job.metadata.name, "merge", { status }, { namespace: JOBS, subresource: "status" });

const onnx = (storageUri: string): JsonObject => ({
  predictor: { model: { modelFormat: { name: "onnx" }, storageUri } },
});

test("a model comes to the nodes of its group by jobs; a service waits for it, mounts it, and goes where it is", async () => {
  const cluster = await begin();
  await applyCache(cluster, "digits", "gs://lake/digits");
  const [first, second] = [await jobOn(cluster, "n1", "fetch"), await jobOn(cluster, "n2", "fetch")];
  await applyService(cluster, "waits", onnx("gs://lake/digits/1"));
  const waiting = await until(cluster, "waits", (one) => conditionOf(one, "Ready") === "Unknown Fetching");
  const pod = JSON.parse(JSON.stringify(first.spec.template.spec));
  const claim = pod.volumes[0].persistentVolumeClaim.claimName;
  const volume = await cluster.client.resource(PersistentVolumeKind).get(claim);
  await setJob(cluster, first, { succeeded: 1 });
  const half = await cacheWith(cluster, "digits", ({ status }) => status?.nodeStatus?.["n1"] === "NodeDownloaded");
  const { spec } = await deploymentOf(cluster, "waits-predictor");
  const served = JSON.parse(JSON.stringify(spec.template.spec));
  await setJob(cluster, second, { succeeded: 1 });
  const whole = await cacheWith(cluster, "digits", (one) => readyOf(one) === "True Downloaded");

  expect(waiting.status?.conditions?.find(({ type }) => type === "Ready")?.message).toMatch(
    /cluster cloud: LocalModelCache digits is being downloaded; none of the 2 nodes/,
  );
  expect(pod.containers[0].args).toEqual([
    ...["--model-uri", "gs://lake/digits", "--fetch-to", "/mnt/models", "--cache", "/var/cache/argosy/models"],
    ...["--max-bytes", String(2 ** 30)],
  ]);
  expect(volume.spec).toMatchObject({
    hostPath: { path: expect.stringMatching(/^\/var\/models\/models\/[0-9a-f]{16}$/), type: "DirectoryOrCreate" },
    claimRef: { namespace: JOBS, name: claim },
    storageClassName: "by-hand",
    persistentVolumeReclaimPolicy: "Retain",
  });
  expect(volume.spec.local).toBeUndefined();
  expect(half.status).toMatchObject({
    nodeStatus: { n1: "NodeDownloaded", n2: "NodeDownloadPending" },
    copies: { available: 1, total: 2, failed: 0 },
    inferenceServices: [{ name: "waits", namespace }],
  });
  expect(whole.status?.copies).toEqual({ available: 2, total: 2, failed: 0 });
  expect(served.initContainers).toBeUndefined();
  expect(served.containers[0].volumeMounts).toEqual([
    { name: "kserve-source-0", mountPath: "/mnt/models", readOnly: true, subPath: "1" },
  ]);
  const label = served.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]
    .matchExpressions[0].key as string;
  expect((await cluster.client.resource(NodeKind).get("n1")).metadata.labels?.[label]).toBe("true");
  const mine = served.volumes[0].persistentVolumeClaim.claimName as string;
  const own = await cluster.client.resource(PersistentVolumeClaimKind).get(mine, { namespace });
  expect(own.spec).toMatchObject({ volumeName: mine, accessModes: ["ReadOnlyMany"] });
  // Who may use it may not change it for all others.
  expect((await cluster.client.resource(PersistentVolumeKind).get(mine)).spec.accessModes).toEqual(["ReadOnlyMany"]);
  expect(volume.spec.accessModes).toEqual(["ReadWriteOnce"]);
});

test("a download that fails says by name why, where and in which pod, and is tried again", async () => {
  const cluster = await begin(["n1"]);
  await applyCache(cluster, "digits", "hf://org/digits");
  const job = await jobOn(cluster, "n1", "fetch");
  const pods = cluster.client.resource(PodKind);
  await pods.create(
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "fetch-1", namespace: JOBS, labels: job.spec.template.metadata?.labels ?? {} },
      spec: { containers: [{ name: "storage-initializer", image: "x" }] },
    },
    { namespace: JOBS },
  );
  const message = "model-server: ModelDownloadFailed: AccessDenied: looking for hf://org/digits: 401; give a token";
  const terminated = { exitCode: 1, message, finishedAt: "2026-01-01T00:00:00Z" };
  const containerStatuses = [
    { name: "storage-initializer", image: "x", imageID: "", ready: false, restartCount: 0, state: { terminated } },
  ];
  await pods.patch(
    "fetch-1",
    "merge",
    { status: { phase: "Failed", containerStatuses } },
    { namespace: JOBS, subresource: "status" },
  );
  // At the first failure: the job itself tries twice more.
  const first = await cacheWith(cluster, "digits", ({ status }) => status?.nodeStatus?.["n1"] === "NodeDownloadError");
  expect(readyOf(first)).toBe("False DownloadFailed");
  expect(first.status?.conditions?.find(({ type }) => type === "Ready")?.message).toContain(
    "AccessDenied: looking for",
  );
  const seen = new Set<string>();
  const stop = cluster.informers.informer(LocalModelCacheKind).onChange(() => {
    for (const { status } of cluster.informers.informer(LocalModelCacheKind).list())
      seen.add(status?.nodeStatus?.["n1"] ?? "none");
  });
  const failedAt = (lastTransitionTime: string): JsonObject => ({
    ...{ failed: 1, startTime: "2026-01-01T00:00:00Z" },
    conditions: ["FailureTarget", "Failed"].map((type) => ({ type, status: "True", lastTransitionTime })),
  });
  await setJob(cluster, job, failedAt("2026-01-01T00:00:00Z"));
  const again = await eventually(async () => {
    const found = await jobOn(cluster, "n1", "fetch");
    return found.metadata.uid === job.metadata.uid ? undefined : found;
  });
  await setJob(cluster, again, failedAt(new Date().toISOString().replace(/\.\d+/, "")));
  const failed = await cacheWith(cluster, "digits", (one) => readyOf(one) === "False DownloadFailed");

  stop();
  expect([...seen].filter((state) => state !== "NodeDownloadError")).toEqual([]);
  expect(failed.status?.nodeStatus).toEqual({ n1: "NodeDownloadError" });
  expect(failed.status?.conditions?.find(({ type }) => type === "Ready")?.message).toBe(
    `0 of 1 nodes have it; node n1: cluster cloud, pod ${JOBS}/fetch-1: AccessDenied: looking for hf://org/digits: 401; give a token`,
  );
  expect(again.metadata.name).toBe(job.metadata.name);
});

test("what is in use is not removed; what is not is taken from its nodes first", async () => {
  const cluster = await begin(["n1"]);
  await applyCache(cluster, "digits", "hf://org/digits");
  await setJob(cluster, await jobOn(cluster, "n1", "fetch"), { succeeded: 1 });
  await applyService(cluster, "uses", onnx("hf://org/digits"));
  await cacheWith(cluster, "digits", ({ status }) => status?.inferenceServices?.length === 1);
  const caches = cluster.client.resource(LocalModelCacheKind);

  await expect(caches.delete("digits")).rejects.toThrow(/used by the InferenceServices models\/uses/);
  await applyService(cluster, "uses", onnx("hf://org/digits"), {
    annotations: { "serving.kserve.io/disable-localmodel": "true" },
  });
  await cacheWith(cluster, "digits", ({ status }) => status?.inferenceServices?.length === 0);
  await caches.delete("digits");
  const removal = await jobOn(cluster, "n1", "remove");
  const claim = removal.spec.template.spec?.volumes?.[0]?.persistentVolumeClaim?.claimName ?? "";
  const volume = await cluster.client.resource(PersistentVolumeKind).get(claim);
  const held = await caches.find("digits");
  await setJob(cluster, removal, { succeeded: 1 });
  await eventually(async () => ((await caches.find("digits")) === undefined ? true : undefined));
  await eventually(async () => {
    const { items } = await cluster.client.resource(PersistentVolumeKind).list();
    return items.every(({ metadata }) => metadata.deletionTimestamp !== undefined) ? true : undefined;
  });

  // Folder and all: the job has what it lies in.
  const key = removal.metadata.labels?.["localmodel.serving.argosy.dev/key"] ?? "";
  expect(removal.spec.template.spec?.containers[0]?.args).toEqual(["--clear", `/mnt/models/${key}`]);
  expect(volume.spec.hostPath?.path).toBe("/var/models/models");
  expect(held?.metadata.deletionTimestamp).toBeDefined();
});

test("a group of nodes is not removed while services are served from it, and says which", async () => {
  const cluster = await begin(["n1"]);
  await applyCache(cluster, "digits", "hf://org/digits");
  await setJob(cluster, await jobOn(cluster, "n1", "fetch"), { succeeded: 1 });
  await applyService(cluster, "uses", onnx("hf://org/digits"));
  const groups = cluster.client.resource(LocalModelNodeGroupKind);
  const usersAre = (count: number) =>
    eventually(async () => ((await groups.get("fast")).status?.inferenceServices?.length === count ? true : undefined));
  await usersAre(1);

  await expect(groups.delete("fast")).rejects.toThrow(/used by the InferenceServices models\/uses/);
  await applyService(cluster, "uses", onnx("hf://org/digits"), {
    annotations: { "serving.kserve.io/disable-localmodel": "true" },
  });
  await usersAre(0);
  await groups.delete("fast");
  const told = await cacheWith(cluster, "digits", (one) => readyOf(one) === "False GroupNotFound");

  // Its volumes know where its files are: they go as those of a node that left.
  const removal = await jobOn(cluster, "n1", "remove");
  expect(removal.spec.template.spec?.containers[0]?.args?.[0]).toBe("--clear");
  expect(told.status?.copies?.total).toBe(0);
});

test("a model beyond the group's limit has no place and says so; the group tells what is left", async () => {
  const cluster = await begin(["n1"]);
  await applyCache(cluster, "first", "hf://org/first");
  await applyCache(cluster, "huge", "hf://org/huge", { modelSize: "5Gi" });
  const refused = await cacheWith(cluster, "huge", (one) => readyOf(one) === "False StorageLimitExceeded");
  const group = await eventually(async () => {
    const found = await cluster.client.resource(LocalModelNodeGroupKind).get("fast");
    return found.status?.used === String(2 ** 30) ? found : undefined;
  });
  const node = await eventually(() => cluster.client.resource(LocalModelNodeKind).find("n1"));

  expect(refused.status?.copies).toEqual({ available: 0, total: 0, failed: 0 });
  expect(group.status?.available).toBe(String(2 ** 30));
  expect(node.spec.localModels.map(({ modelName }) => modelName)).toEqual(["first"]);
  await expect(applyCache(cluster, "claim", "pvc://claim/model")).rejects.toThrow(/no store that nodes can fetch from/);
  await expect(applyCache(cluster, "less", "hf://org/less", { modelSize: "-1Ti" })).rejects.toThrow(/more than 0/);
  await expect(applyCache(cluster, "first", "hf://org/first", { modelSize: "-1Gi" })).rejects.toThrow(/more than 0/);
  await expect(applyCache(cluster, "first", "hf://org/other")).rejects.toThrow(/immutable/);
});

test("a model that grows keeps its place and says so; no other one loses its own", async () => {
  const cluster = await begin(["n1"]);
  await applyCache(cluster, "old", "hf://org/old");
  await applyCache(cluster, "young", "hf://org/young");
  await eventually(async () => {
    const found = await cluster.client.resource(LocalModelNodeGroupKind).get("fast");
    return Object.keys(found.status?.places ?? {}).length === 2 ? found : undefined;
  });
  await applyCache(cluster, "old", "hf://org/old", { modelSize: "2Gi" });
  const sizeOf = ({ status }: LocalModelCache) => status?.conditions?.find(({ type }) => type === "SizeGranted");
  const refused = await cacheWith(cluster, "old", (one) => sizeOf(one)?.status === "False");
  const node = await eventually(async () => {
    const found = await cluster.client.resource(LocalModelNodeKind).find("n1");
    return found?.spec.localModels.length === 2 ? found : undefined;
  });
  await cluster.client.resource(LocalModelCacheKind).delete("young");
  const granted = await cacheWith(cluster, "old", (one) => sizeOf(one)?.status === "True");

  expect(sizeOf(refused)?.reason).toBe("StorageLimitExceeded");
  expect(readyOf(refused)).toBe("False Downloading");
  expect(node.spec.localModels.map(({ modelName }) => modelName)).toEqual(["old", "young"]);
  expect(readyOf(granted)).toBe("False Downloading");
  const group = cluster.client.resource(LocalModelNodeGroupKind);
  await expect(
    group.patch("fast", "merge", {
      metadata: { annotations: { "serving.argosy.dev/storage-limit-per-namespace": "much" } },
    }),
  ).rejects.toThrow(/much is no quantity/);
});

test("a namespace that goes takes its models from the nodes, by jobs elsewhere; nobody's labels say who reads", async () => {
  const cluster = await begin(["n1"]);
  const { client } = cluster;
  const caches = client.resource(LocalModelNamespaceCacheKind);
  await caches.apply(
    { metadata: { name: "own" }, spec: { sourceModelUri: "hf://org/own", modelSize: "1Gi", nodeGroups: ["fast"] } },
    { fieldManager: "user", namespace },
  );
  const jobs = client.resource(JobKind);
  const fetch = await eventually(async () => (await jobs.list({ namespace })).items[0]);
  const claimName = fetch.spec.template.spec?.volumes?.[0]?.persistentVolumeClaim?.claimName ?? "";
  const pods = client.resource(PodKind);
  const pod = async (name: string, claim: string, labels: Record<string, string>): Promise<void> => {
    const volumes = [{ name: "m", persistentVolumeClaim: { claimName: claim } }];
    const spec = { containers: [{ name: "c", image: "x" }], volumes, nodeName: "n1" };
    await pods.create({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels }, spec }, { namespace });
  };
  // It reads, and says that it is one of the jobs'; the other one says that it reads.
  const key = fetch.metadata.labels?.["localmodel.serving.argosy.dev/key"] ?? "";
  await pod("reads", claimName, { "localmodel.serving.argosy.dev/work": "fetch" });
  const spec = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } };
  const labels = { "localmodel.serving.argosy.dev/key": key };
  await client
    .resource(PersistentVolumeClaimKind)
    .create(
      { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "mine", namespace, labels }, spec },
      { namespace },
    );
  await pod("pretends", "mine", {});

  await client.resource(NamespaceKind).delete(namespace);
  await caches.delete("own", { namespace });
  const waits = await eventually(async () => {
    const found = await client.resource(LocalModelNodeKind).find("n1");
    const said = found?.status?.conditions?.[0]?.message ?? "";
    return said.includes("reads it") ? said : undefined;
  });
  await pods.delete("reads", { namespace, gracePeriodSeconds: 0 });
  const removal = await jobOn(cluster, "n1", "remove");
  const claim = removal.spec.template.spec?.volumes?.[0]?.persistentVolumeClaim?.claimName ?? "";
  const volume = await client.resource(PersistentVolumeKind).get(claim);
  const before = await client.resource(PersistentVolumeKind).get(claimName);
  const held = await caches.find("own", { namespace });
  await setJob(cluster, removal, { succeeded: 1 });
  await eventually(async () => ((await caches.find("own", { namespace })) === undefined ? true : undefined));

  expect(waits).toContain(`being removed: ${namespace}/${key} (pod ${namespace}/reads reads it)`);
  expect(`${volume.spec.hostPath?.path ?? ""}/${key}`).toBe(before.spec.hostPath?.path);
  expect(volume.spec.claimRef).toMatchObject({ namespace: JOBS, name: claim });
  expect(claim).not.toBe(claimName);
  expect(held?.metadata.deletionTimestamp).toBeDefined();
});

test("jobs of others that look alike say nothing of a model, and stand in the way of none", async () => {
  const cluster = await begin(["n1"]);
  await applyCache(cluster, "digits", "gs://lake/digits");
  const job = await jobOn(cluster, "n1", "fetch");
  const { name, labels = {} } = job.metadata;
  const pod = { spec: { containers: [{ name: "c", image: "x" }], restartPolicy: "Never" } };
  const jobs = cluster.client.resource(JobKind);
  const make = (as: string, more: Record<string, string>) =>
    jobs.apply(
      { metadata: { name: as, labels: { ...labels, ...more } }, spec: { template: pod } },
      { fieldManager: "somebody", namespace },
    );
  await make(name, {});
  await make("other", { "localmodel.serving.argosy.dev/work": "remove" });
  // Without a volume: nothing could be made of it.
  await make("third", { "localmodel.serving.argosy.dev/key": "0123456789abcdef" });
  for (const one of [name, "other", "third"])
    await jobs.patch(one, "merge", { status: { succeeded: 1 } }, { namespace, subresource: "status" });
  await applyCache(cluster, "letters", "gs://lake/letters", { modelSize: "1Mi" });
  const letters = await eventually(async () => {
    const { items } = await jobs.list({ namespace: JOBS });
    return items.find((one) => one.metadata.uid !== job.metadata.uid);
  });
  const before = await cacheWith(cluster, "letters", ({ status }) => status?.copies?.total === 1);
  const digits = await cluster.client.resource(LocalModelCacheKind).get("digits");
  await setJob(cluster, letters, { succeeded: 1 });
  await setJob(cluster, job, { succeeded: 1 });
  const after = await cacheWith(cluster, "digits", (one) => readyOf(one) === "True Downloaded");

  expect(readyOf(before)).toBe("False Downloading");
  expect(digits.status?.nodeStatus?.["n1"]).toBe("NodeDownloadPending");
  expect(after.status?.nodeStatus?.["n1"]).toBe("NodeDownloaded");
});
