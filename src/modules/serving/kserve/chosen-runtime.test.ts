import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { applyService, conditionOf, deploymentOf, namespace, type Setup, startServing, until } from "./fixture.js";
import { ServingRuntimeKind } from "./runtime-kinds.js";

const runtime = (cluster: Setup, name: string, format: string, more: JsonObject = {}) =>
  cluster.client.resource(ServingRuntimeKind).apply(
    {
      metadata: { name },
      spec: {
        supportedModelFormats: [{ name: format, autoSelect: true, priority: 1 }],
        containers: [{ name: "kserve-container", image: `example.com/${name}` }],
        ...more,
      },
    },
    { fieldManager: "user", force: true, namespace },
  );
const image = async (cluster: Setup, wanted: string) =>
  (await deploymentOf(cluster, "m-predictor", ({ spec }) => spec.template.spec?.containers[0]?.image === wanted)).spec;
const model = (format: string, more: JsonObject = {}): JsonObject => ({
  predictor: { model: { modelFormat: { name: format }, storageUri: "pvc://models/m", ...more } },
});

test("the runtime that is chosen is written into the spec and stays, until the model is of another format, or the runtime goes", async () => {
  const cluster = await startServing();
  await runtime(cluster, "first", "own");
  await applyService(cluster, "m", model("own"));
  const chosen = await until(cluster, "m", ({ spec }) => spec.predictor.model?.runtime === "first");
  expect(chosen.spec.predictor.model).toMatchObject({ modelFormat: { name: "own" }, runtime: "first" });
  await until(cluster, "m", ({ status }) => status?.servingRuntimeName === "first");
  const decisions = await cluster.ledger.query({ kind: "InferenceService", name: "m", topic: "runtime" });
  expect(decisions[0]?.winners).toEqual([{ name: "first", reason: "first in order" }]);

  // A better one comes, and the writer applies the same again: nothing changes.
  await runtime(cluster, "second", "own", { supportedModelFormats: [{ name: "own", autoSelect: true, priority: 9 }] });
  await runtime(cluster, "other", "fresh");
  await applyService(cluster, "m", model("own"));
  await image(cluster, "example.com/first");
  await applyService(cluster, "m", model("fresh"));
  await until(cluster, "m", ({ spec }) => spec.predictor.model?.runtime === "other");
  await image(cluster, "example.com/other");

  await applyService(cluster, "m", model("own"));
  await until(cluster, "m", ({ spec }) => spec.predictor.model?.runtime === "second");
  await cluster.client.resource(ServingRuntimeKind).delete("second", { namespace });
  await until(cluster, "m", ({ spec }) => spec.predictor.model?.runtime === "first");

  // Who names one gets that one, or is told that it does not do.
  await applyService(cluster, "m", model("own", { runtime: "other" }));
  await until(cluster, "m", (seen) => conditionOf(seen, "PredictorReady") === "False NoSupportingRuntime");
}, 20_000);

test("disable-auto-update: a runtime's change waits for the next change of the service, the chosen name is none", async () => {
  const cluster = await startServing();
  const annotations = { "serving.kserve.io/disable-auto-update": "true" };
  await runtime(cluster, "first", "own");
  await applyService(cluster, "m", model("own"), { annotations });
  await until(cluster, "m", ({ status }) => status?.servingRuntimeName === "first");
  await runtime(cluster, "first", "own", { containers: [{ name: "kserve-container", image: "example.com/newer" }] });
  await applyService(
    cluster,
    "m",
    { ...model("own"), predictor: { ...(model("own")["predictor"] as JsonObject), minReplicas: 2 } },
    { annotations },
  );
  const kept = await deploymentOf(cluster, "m-predictor", ({ spec }) => spec.replicas === 2);
  expect(kept.spec.template.spec?.containers[0]?.image).toBe("example.com/first");

  await applyService(cluster, "m", model("own", { storageUri: "pvc://models/next" }), { annotations });
  await image(cluster, "example.com/newer");
}, 20_000);
