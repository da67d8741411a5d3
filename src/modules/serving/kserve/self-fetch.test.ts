import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { addPod, applyService, conditionOf, deploymentOf, startServing, until } from "./fixture.js";

const onnx = (more: JsonObject = {}): JsonObject => ({
  predictor: { model: { modelFormat: { name: "onnx" }, storageUri: "hf://org/model", ...more } },
});
const scheduled = [{ type: "PodScheduled", status: "True" }];
const status = (more: JsonObject): JsonObject => ({
  phase: "Running",
  conditions: scheduled,
  containerStatuses: [{ name: "kserve-container", image: "x", imageID: "", ready: false, restartCount: 0, ...more }],
});

test.each<[what: string, annotations: JsonObject]>([
  ["as it is", {}],
  ["while its pods stay as they were built", { "serving.kserve.io/disable-auto-update": "true" }],
])("a model that shows to be code gets an init container, which it keeps: a service %s", async (_what, annotations) => {
  const cluster = await startServing();
  await applyService(cluster, "a", onnx(), { annotations });
  const first = await deploymentOf(cluster, "a-predictor");
  expect(first.spec.template.spec?.initContainers).toBeUndefined();
  await addPod(cluster, "a-1", first, status({ state: { running: { startedAt: "2026-01-01T00:00:00Z" } } }));
  await until(cluster, "a", (service) => conditionOf(service, "Ready") === "Unknown Fetching");

  await addPod(
    cluster,
    "a-2",
    first,
    status({ state: { terminated: { exitCode: 1, message: "ModelIsCode: model.js is code, and this server holds" } } }),
  );
  const second = await deploymentOf(
    cluster,
    "a-predictor",
    ({ spec }) => spec.template.spec?.initContainers !== undefined,
  );
  expect(second.spec.template.spec?.initContainers).toMatchObject([
    { name: "storage-initializer", args: expect.arrayContaining(["--model-uri", "hf://org/model", "--fetch-to"]) },
  ]);
  expect(second.spec.template.spec?.containers[0]?.args).toEqual([
    ...["--model-name=a", "--model-dir=/mnt/models", "--http=8080"],
  ]);

  // The pods that said so are gone, and the same model is asked for otherwise.
  await cluster.client.json("DELETE", "/api/v1/namespaces/models/pods/a-2?gracePeriodSeconds=0");
  await applyService(cluster, "a", onnx({ args: ["--max-queued=1"] }), { annotations });
  const third = await deploymentOf(cluster, "a-predictor", ({ spec }) =>
    JSON.stringify(spec.template.spec?.containers[0]?.args).includes("--max-queued=1"),
  );
  expect(third.spec.template.spec?.initContainers).toHaveLength(1);
});
