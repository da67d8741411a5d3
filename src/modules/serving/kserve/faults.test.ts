import { expect, test } from "vitest";
import type { Deployment, JsonObject } from "../../../kernel/kinds/index.js";
import { DeploymentKind } from "../../../kernel/kinds/index.js";
import {
  addPod,
  answer,
  applyService,
  conditionOf,
  deploymentOf,
  namespace,
  type Setup,
  settle,
  startServing,
  until,
} from "./fixture.js";

const waiting = (reason: string, message = "") => ({ waiting: { reason, message } });
const container = (state: object, more: object = {}) => ({
  ...{ name: "kserve-container", image: "example.com/m", imageID: "", ready: false, restartCount: 3, state },
  ...more,
});
const main = (state: object, more: object = {}): JsonObject => ({
  phase: "Pending",
  conditions: [{ type: "PodScheduled", status: "True" }],
  containerStatuses: [container(state, more)] as unknown as JsonObject[],
});
const ended = (exitCode: number, more: object) => ({ lastState: { terminated: { exitCode, ...more } } });
const unscheduled = (message: string): JsonObject => ({
  phase: "Pending",
  conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message }],
});

/** Fault → how its pod says it, our reason, KServe's, and what the message must name. */
const FAULTS: Readonly<Record<string, readonly [JsonObject, string, string, RegExp]>> = {
  download: [
    {
      ...main({}),
      initContainerStatuses: [
        container(waiting("CrashLoopBackOff"), {
          name: "storage-initializer",
          ...ended(1, { message: "model-server: ModelDownloadFailed: s3://b/m: no such key" }),
        }),
      ] as unknown as JsonObject[],
    },
    ...(["ModelDownloadFailed", "ModelLoadFailed", /s3:\/\/b\/m: no such key/] as const),
  ],
  load: [
    main(waiting("CrashLoopBackOff"), ended(1, { message: "model-server: ModelLoadFailed: no valid protobuf" })),
    ...(["ModelLoadFailed", "ModelLoadFailed", /no valid protobuf/] as const),
  ],
  crash: [
    main(waiting("CrashLoopBackOff"), ended(139, { message: "" })),
    ...(["CrashLoop", "RuntimeUnhealthy", /exit code 139/] as const),
  ],
  memory: [
    main(waiting("CrashLoopBackOff"), ended(137, { reason: "OOMKilled" })),
    ...(["OutOfMemory", "RuntimeUnhealthy", /more memory than its limit/] as const),
  ],
  image: [
    main(waiting("ImagePullBackOff", "not found")),
    ...(["ImageNotFound", "RuntimeUnhealthy", /image example.com\/m: not found/] as const),
  ],
  config: [
    main(waiting("CreateContainerConfigError", 'secret "x" not found')),
    ...(["ConfigurationError", "RuntimeUnhealthy", /secret "x" not found/] as const),
  ],
  gpu: [
    unscheduled("0/2 nodes are available: 2 Insufficient nvidia.com/gpu."),
    ...(["GpuUnavailable", "RuntimeUnhealthy", /2 Insufficient nvidia.com\/gpu/] as const),
  ],
  node: [
    unscheduled("0/2 nodes are available: 2 Insufficient memory."),
    ...(["Unschedulable", "RuntimeUnhealthy", /2 Insufficient memory/] as const),
  ],
  evicted: [
    { phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory." },
    ...(["Evicted", "RuntimeUnhealthy", /low on resource/] as const),
  ],
};

const service = (cluster: Setup, name: string): Promise<Deployment> =>
  applyService(cluster, name, {
    predictor: { containers: [{ name: "kserve-container", image: "example.com/m" }] },
  }).then(() => deploymentOf(cluster, `${name}-predictor`));

test("each fault is a reason of its own, in KServe's words too, and names cluster and pod", async () => {
  const cluster = await startServing();
  for (const [name, [status, reason, theirs, words]] of Object.entries(FAULTS)) {
    await addPod(cluster, `${name}-1`, await service(cluster, name), status);
    const seen = await until(cluster, name, (one) => conditionOf(one, "Ready") === `False ${reason}`);
    expect(conditionOf(seen, "PredictorReady")).toBe(`False ${reason}`);
    expect(seen.status?.modelStatus).toMatchObject({
      transitionStatus: "BlockedByFailedLoad",
      states: { targetModelState: "FailedToLoad" },
      lastFailureInfo: { location: `cluster cloud, pod ${namespace}/${name}-1`, reason: theirs },
    });
    expect(seen.status?.modelStatus?.lastFailureInfo?.message).toMatch(words);
  }
}, 30_000);

test("pods that a quota refuses: the reason names the cluster and the quota", async () => {
  const cluster = await startServing();
  const { metadata } = await service(cluster, "quota");
  const message = 'pods "quota-predictor-x" is forbidden: exceeded quota: team, requested: requests.nvidia.com/gpu=1';
  const refused = { type: "ReplicaFailure", status: "True", reason: "FailedCreate", message };
  await cluster.client
    .resource(DeploymentKind)
    .patch(metadata.name, "merge", { status: { conditions: [refused] } }, { namespace, subresource: "status" });
  const seen = await until(cluster, "quota", (one) => conditionOf(one, "Ready") === "False QuotaExceeded");
  expect(seen.status?.modelStatus?.lastFailureInfo).toMatchObject({
    location: "cluster cloud",
    reason: "RuntimeUnhealthy",
    message: expect.stringContaining("exceeded quota: team"),
  });
});

test("encrypted models, and models over several nodes, are refused with the reason rather than run otherwise", async () => {
  const cluster = await startServing();
  const model = { modelFormat: { name: "onnx" }, storageUri: "pvc://models/m" };
  await applyService(cluster, "secret", {
    predictor: { model: { ...model, confidential: { enabled: true, resourceId: "kbs:///a/b/c" } } },
  });
  const secret = await until(
    cluster,
    "secret",
    (one) => conditionOf(one, "PredictorReady") === "False InvalidPredictorSpec",
  );
  expect(secret.status?.modelStatus).toMatchObject({ transitionStatus: "InvalidSpec" });
  await applyService(cluster, "nodes", { predictor: { model, workerSpec: { pipelineParallelSize: 2 } } });
  const nodes = await until(cluster, "nodes", (one) =>
    /^False (NoSupportingRuntime|InvalidPredictorSpec)/.test(conditionOf(one, "PredictorReady")),
  );
  expect(nodes.status?.modelStatus).toMatchObject({ transitionStatus: "InvalidSpec" });
});

test("a template that is none is told, though the API server calls that its own fault", async () => {
  const cluster = await startServing();
  await applyService(cluster, "twice", {
    predictor: {
      model: { modelFormat: { name: "onnx" }, storageUri: "pvc://models/m" },
      volumes: [{ name: "kserve-source-0", emptyDir: {} }],
    },
  });

  const seen = await until(cluster, "twice", (one) => conditionOf(one, "PredictorReady") === "False InvalidTemplate");
  expect(seen.status?.modelStatus?.lastFailureInfo?.message).toMatch(/volumes: duplicate entries .*kserve-source-0/);
});

test.each<readonly [string, JsonObject]>([
  ["RuntimeNotRecognized", { model: { modelFormat: { name: "onnx" }, runtime: "none", storageUri: "pvc://m/m" } }],
  ["SecretNotFound", { model: { modelFormat: { name: "onnx" }, storage: { key: "none", path: "m" } } }],
  ["InvalidPredictorSpec", { pmml: { storageUri: "pvc://m/m" } }],
])("what cannot be made (%s) leaves the service answering, and says so", async (reason, wrong) => {
  const cluster = await startServing();
  answer(cluster, "m", "m-predictor");
  await service(cluster, "m");
  await settle(cluster, "m-predictor");
  await until(cluster, "m", (one) => conditionOf(one, "Ready") === "True Answers");
  const containers = reason === "InvalidPredictorSpec" ? [{ name: "kserve-container", image: "example.com/m" }] : [];
  await applyService(cluster, "m", { predictor: { ...wrong, ...(containers.length === 0 ? {} : { containers }) } });

  const seen = await until(cluster, "m", (one) => conditionOf(one, "Ready") === `False ${reason}`);

  expect(["Answering", "IngressReady"].map((type) => conditionOf(seen, type))).toEqual([
    "True Answers",
    "True Answers",
  ]);
  expect(seen.status?.url).toBe("http://m.models.cloud.argosy.localhost:8081");
  expect(seen.status?.components?.["predictor"]?.latestRolledoutRevision).toBe("m-predictor-00001");
});
