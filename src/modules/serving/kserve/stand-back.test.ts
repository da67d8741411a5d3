import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { DeploymentKind, ValidatingWebhookConfigurationKind } from "../../../kernel/kinds/index.js";
import {
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
import { InferenceServiceKind } from "./inference-service-kind.js";
import { ClusterServingRuntimeKind } from "./runtime-kinds.js";

const spec = { predictor: { model: { modelFormat: { name: "onnx" }, storageUri: "pvc://models/digits" } } };
const options = { fieldManager: "kserve", force: true };

async function kserve(cluster: Setup, where: string, replicas = 1): Promise<void> {
  const apiVersion = "v1";
  await cluster.client
    .json("POST", "/api/v1/namespaces", { apiVersion, kind: "Namespace", metadata: { name: where } })
    .catch(() => undefined);
  const labels = { "control-plane": "kserve-controller-manager" };
  const template = {
    metadata: { labels },
    spec: { containers: [{ name: "manager", image: "kserve/kserve-controller" }] },
  };
  await cluster.client.resource(DeploymentKind).apply(
    {
      metadata: { name: "kserve-controller-manager" },
      spec: { replicas, selector: { matchLabels: labels }, template },
    },
    { ...options, namespace: where },
  );
}

/** What the controllers do of themselves is done. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

const deployments = async (cluster: Setup): Promise<string[]> =>
  (await cluster.client.resource(DeploymentKind).list({ namespace })).items.map(({ metadata }) => metadata.name);

test("where KServe runs nothing is carried out, and the status is KServe's, also while its manager restarts", async () => {
  const cluster = await startServing();
  // No pod of it is ready.
  await kserve(cluster, "kserve");
  await applyService(cluster, "digits", spec);
  const theirs: JsonObject = {
    url: "http://digits-models.example.com",
    observedGeneration: 1,
    conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" }],
    modelStatus: { transitionStatus: "UpToDate", states: { activeModelState: "Loaded", targetModelState: "Loaded" } },
  };
  const services = cluster.client.resource(InferenceServiceKind);
  const written = await services.patch("digits", "merge", { status: theirs }, { namespace, subresource: "status" });
  for (const runtime of (await cluster.client.resource(ClusterServingRuntimeKind).list()).items)
    await cluster.client.resource(ClusterServingRuntimeKind).delete(runtime.metadata.name);
  await cluster.restart();
  await quiet();

  const seen = await services.get("digits", { namespace });
  expect(seen.metadata.resourceVersion).toBe(written.metadata.resourceVersion);
  expect(seen.status).toEqual(theirs);
  expect(await deployments(cluster)).toEqual([]);
  expect((await cluster.client.resource(ClusterServingRuntimeKind).list()).items).toEqual([]);

  // Who goes for good, or is switched off, leaves them to Argosy.
  await kserve(cluster, "kserve", 0);
  await settle(cluster, "digits-predictor");
  answer(cluster, "digits-predictor", "digits");
  const ready = await until(cluster, "digits", (one) => conditionOf(one, "Ready") === "True Answers");
  expect(ready.status?.url).toBe("http://digits.models.cloud.argosy.localhost:8081");
  expect((await cluster.client.resource(ClusterServingRuntimeKind).list()).items.length).toBeGreaterThan(0);
});

test("a Deployment of that name in somebody's namespace switches nothing off, unless KServe's webhook vouches for it", async () => {
  const cluster = await startServing();
  await kserve(cluster, "team-a");
  await applyService(cluster, "digits", spec);
  await deploymentOf(cluster, "digits-predictor");

  const webhook = { name: "inferenceservice.serving.kserve.io" };
  await cluster.client.resource(ValidatingWebhookConfigurationKind).apply({ metadata: webhook, webhooks: [] }, options);
  await quiet();
  await applyService(cluster, "other", spec);
  await quiet();
  expect(await deployments(cluster)).toEqual(["digits-predictor"]);
});
