import { expect, test } from "vitest";
import { DeploymentKind, IngressKind } from "../../../kernel/kinds/index.js";
import { answer, applyService, conditionOf, namespace, settle, startServing, until } from "./fixture.js";
import { ServingRuntimeKind } from "./runtime-kinds.js";

const wordsOf = (service: { status?: { conditions?: { type: string; message?: string }[] } | undefined }) =>
  service.status?.conditions?.find(({ type }) => type === "AllFieldsHonored")?.message ?? "";

test("a tag has its address when its revision is alone; annotations say yes in any case, and what says neither is told", async () => {
  const cluster = await startServing();
  const model = { modelFormat: { name: "onnx" }, storageUri: "pvc://models/digits", runtimeVersion: "23.05-py3" };
  const annotations = {
    "serving.kserve.io/deploymentMod": "Knative",
    "serving.kserve.io/enable-tag-routing": "True",
    "serving.kserve.io/disable-auto-update": "perhaps",
  };
  await applyService(cluster, "digits", { predictor: { model } }, { annotations });
  await settle(cluster, "digits-predictor");
  answer(cluster, "digits-predictor", "digits");
  const seen = await until(cluster, "digits", (one) => conditionOf(one, "Ready") === "True Answers");
  const host = "latest-digits-predictor.models.cloud.argosy.localhost";

  expect(seen.status?.components?.["predictor"]?.traffic).toMatchObject([
    { tag: "latest", url: `http://${host}:8081` },
  ]);
  const ingress = await cluster.client.resource(IngressKind).get("digits-predictor", { namespace });
  expect(ingress.spec.rules?.map((rule) => rule.host)).toContain(host);
  expect(wordsOf(seen)).toMatch(/disable-auto-update \(it is neither true nor false\)/);
  expect(wordsOf(seen)).toMatch(
    /deploymentMod \(nobody here knows it; did you mean serving.kserve.io\/deploymentMode\?\)/,
  );
  expect(wordsOf(seen)).toMatch(/runtimeVersion 23.05-py3 \(its server is Argosy's, of its own version\)/);

  await applyService(
    cluster,
    "digits",
    { predictor: { model } },
    { annotations: { "serving.kserve.io/stop": "TRUE" } },
  );
  await until(cluster, "digits", (one) => conditionOf(one, "Stopped") === "True Stopped");
  expect((await cluster.client.resource(DeploymentKind).list({ namespace })).items).toEqual([]);
});

test("what only ModelMesh would do with a runtime is told", async () => {
  const cluster = await startServing();
  const containers = [{ name: "kserve-container", image: "example.com/server" }];
  const spec = { supportedModelFormats: [{ name: "own", autoSelect: true }], containers, replicas: 2 };
  await cluster.client
    .resource(ServingRuntimeKind)
    .create(
      { apiVersion: "serving.kserve.io/v1alpha1", kind: "ServingRuntime", metadata: { name: "mesh", namespace }, spec },
      { namespace },
    );
  await applyService(cluster, "meshed", {
    predictor: { model: { modelFormat: { name: "own" }, storageUri: "pvc://models/own" } },
  });

  const seen = await until(cluster, "meshed", (one) => conditionOf(one, "AllFieldsHonored") === "False FieldsIgnored");
  expect(wordsOf(seen)).toMatch(/replicas of ServingRuntime mesh \(ModelMesh's/);
});
