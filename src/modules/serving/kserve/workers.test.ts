import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { DeploymentKind, ServiceKind } from "../../../kernel/kinds/index.js";
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
import { ServingRuntimeKind } from "./runtime-kinds.js";
import { inferenceServiceFaults } from "./validation.js";
import { shareNodes } from "./workers.js";

const gpus = (count: number | undefined, name = "nvidia.com/gpu"): JsonObject =>
  count === undefined ? {} : { resources: { limits: { [name]: String(count) } } };
const share = (pipeline: number, tensor: number, head?: number, worker?: number) => {
  const workerSpec = { pipelineParallelSize: pipeline, tensorParallelSize: tensor };
  const { nodes, headGpus, workerGpus } = shareNodes({
    ...{ workerSpec, head: gpus(head), worker: gpus(worker), gpuTypes: undefined },
  });
  return [nodes, headGpus, workerGpus];
};

test.each([
  ["nobody asks for GPUs: one a pod", share(2, 2), [4, 1, 1]],
  ["workers ask: the head has what is left", share(3, 2, undefined, 2), [3, 2, 2]],
  ["what is left may be fewer", share(1, 5, undefined, 2), [3, 1, 2]],
  ["the head asks alone: workers have one", share(1, 4, 2), [3, 2, 1]],
  ["one pod has them all", share(2, 1, undefined, 2), [1, 2, 0]],
  ["none at all", share(3, 1, 0), [3, 0, 0]],
])("pods and GPUs: %s", (_what, found, wanted) => expect(found).toEqual(wanted));

test("too few GPUs are refused with the number that is missing; resources of one's own may be GPUs", () => {
  expect(() => share(1, 6, 1, 2)).toThrow("give the head 2");
  const own = { workerSpec: { tensorParallelSize: 4 }, head: {}, worker: gpus(2, "own.com/chip") };
  expect(shareNodes({ ...own, gpuTypes: '["own.com/chip"]' })).toMatchObject({ nodes: 2, gpu: "own.com/chip" });
});

test("one head with its workers: who scales it otherwise, or says its sizes elsewhere, is told so", () => {
  const faults = (more: JsonObject, metadata: JsonObject = {}) =>
    inferenceServiceFaults({
      metadata: { name: "llm", ...metadata },
      spec: { predictor: { model: { modelFormat: { name: "huggingface" } }, workerSpec: {}, ...more } },
    }).map(({ field }) => field);
  const env = [{ name: "TENSOR_PARALLEL_SIZE", value: "2" }];

  expect(faults({ minReplicas: 1, maxReplicas: 1 })).toEqual([]);
  expect(faults({ minReplicas: 0 })).toEqual(["spec.predictor.minReplicas"]);
  expect(faults({ maxReplicas: 2, scaleMetric: "cpu" })).toEqual([
    "spec.predictor.maxReplicas",
    "spec.predictor.scaleMetric",
  ]);
  expect(faults({ workerSpec: { pipelineParallelSize: 0 } })).toEqual([
    "spec.predictor.workerSpec.pipelineParallelSize",
  ]);
  expect(faults({ workerSpec: { containers: [{ name: "worker-container", env }] } })).toEqual([
    "spec.predictor.workerSpec.containers[0].env",
  ]);
  expect(faults({}, { name: "l".repeat(41) })).toEqual(["metadata.name"]);
  for (const [name, value] of [
    ["autoscalerClass", "hpa"],
    ["deploymentMode", "Knative"],
  ] as const)
    expect(faults({}, { annotations: { [`serving.kserve.io/${name}`]: value } })).toHaveLength(1);
});

const container = (name: string): JsonObject => ({
  ...{ name, image: "example.com/nodes:1", resources: { limits: { "nvidia.com/gpu": "2" } } },
});

async function start(): Promise<Setup> {
  const cluster = await startServing();
  await cluster.client.resource(ServingRuntimeKind).create(
    {
      apiVersion: "serving.kserve.io/v1alpha1",
      kind: "ServingRuntime",
      metadata: { name: "nodes", namespace },
      spec: {
        supportedModelFormats: [{ name: "huggingface", autoSelect: true }],
        containers: [container("kserve-container")],
        workerSpec: { tensorParallelSize: 2, containers: [container("worker-container")] },
      } as never,
    },
    { namespace },
  );
  return cluster;
}

test("head and workers are Deployments that find each other; Ready is said of all of them; they go together", async () => {
  const cluster = await start();
  const model = { modelFormat: { name: "huggingface" }, storageUri: "pvc://models/llm" };
  const write = (more: JsonObject = {}) =>
    applyService(cluster, "llm", {
      predictor: { model: { ...model, ...more }, workerSpec: { pipelineParallelSize: 3 } },
    });
  await write();
  const workers = await deploymentOf(cluster, "llm-predictor-worker");
  const head = await deploymentOf(cluster, "llm-predictor");

  expect(workers.spec).toMatchObject({ replicas: 2, strategy: { type: "Recreate" } });
  const [worker] = workers.spec.template.spec?.containers ?? [];
  const said = Object.fromEntries((worker?.env ?? []).map(({ name, value }) => [name, value]));
  expect(said).toMatchObject({
    ...{ HEAD_SVC: "llm-head-1", WORKER_SVC: "llm-worker-1", ISVC_NAME: "llm", RAY_NODE_COUNT: "3" },
    ...{ PIPELINE_PARALLEL_SIZE: "3", TENSOR_PARALLEL_SIZE: "2", REQUEST_GPU_COUNT: "2" },
  });
  expect(worker?.volumeMounts).toEqual([expect.objectContaining({ mountPath: "/mnt/models", readOnly: true })]);
  const labels = head.spec.template.metadata?.labels;
  const service = await cluster.client.resource(ServiceKind).get("llm-head-1", { namespace });
  expect(service.spec).toMatchObject({ clusterIP: "None", publishNotReadyAddresses: true });
  expect(labels).toMatchObject(service.spec.selector ?? {});
  expect(workers.spec.template.metadata?.labels).not.toMatchObject(head.spec.selector.matchLabels ?? {});

  await settle(cluster, "llm-predictor");
  answer(cluster, "llm-predictor", "llm");
  await until(cluster, "llm", (one) => conditionOf(one, "PredictorReady") === "Unknown Starting");
  await addPod(cluster, "w-1", workers, {
    phase: "Pending",
    conditions: [{ type: "PodScheduled", status: "False", message: "0/2 nodes: 2 Insufficient nvidia.com/gpu." }],
  });
  await until(cluster, "llm", (one) => conditionOf(one, "PredictorReady") === "False GpuUnavailable");
  await settle(cluster, "llm-predictor-worker");
  await until(cluster, "llm", (one) => conditionOf(one, "Ready") === "True Answers");

  await write({ env: [{ name: "A", value: "b" }] });
  await deploymentOf(cluster, "llm-predictor-worker", ({ metadata }) =>
    Object.values(metadata.annotations ?? {}).includes("llm-predictor-00002"),
  );
  const next = await cluster.client.resource(ServiceKind).get("llm-head-2", { namespace });
  expect(next.spec.selector).toMatchObject({ "serving.argosy.dev/revision": "llm-predictor-00002" });

  await applyService(cluster, "llm", { predictor: { containers: [{ name: "kserve-container", image: "x" }] } });
  await cluster.client.resource(DeploymentKind).get("llm-predictor", { namespace });
  const gone = async () => {
    const { items } = await cluster.client.resource(DeploymentKind).list({ namespace });
    return items.every(({ metadata }) => metadata.name !== "llm-predictor-worker");
  };
  while (!(await gone())) await new Promise<void>((resolve) => setImmediate(resolve));
});

test("a runtime for one node is not enough", async () => {
  const cluster = await start();
  await applyService(cluster, "own", {
    predictor: { containers: [{ name: "kserve-container", image: "x" }], workerSpec: {} },
  });

  const seen = await until(
    cluster,
    "own",
    (one) => conditionOf(one, "PredictorReady") === "False InvalidPredictorSpec",
  );
  expect(seen.status?.modelStatus?.lastFailureInfo?.message).toMatch(/workerSpec needs a runtime for several nodes/);
  expect(seen.status?.conditions?.find(({ type }) => type === "Ready")?.message).toMatch(
    /^predictor: workerSpec needs/,
  );
});
