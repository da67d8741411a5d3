import { expect, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { ConfigMapKind, type JsonObject } from "../../../kernel/kinds/index.js";
import { applyService, conditionOf, deploymentOf, namespace, startServing, until } from "./fixture.js";

const OPTIONS = { fieldManager: "user", force: true, namespace };
const CA = "serving.argosy.dev/ca-bundle";
const onnx = (storageUri: string): JsonObject => ({
  predictor: { model: { modelFormat: { name: "onnx" }, storageUri } },
});

test("who fetches a model trusts what the service names, or KServe's bundle of the namespace; who fetches nothing needs none", async () => {
  const cluster = await startServing();
  const pem = (await createAuthority({ name: "theirs", clock: systemClock })).caPem;
  const bundles = cluster.client.resource(ConfigMapKind);
  await bundles.apply({ metadata: { name: "global-ca-bundle", namespace }, data: { "cabundle.crt": pem } }, OPTIONS);
  await bundles.apply({ metadata: { name: "mine", namespace }, data: { "a.pem": pem, bad: "no PEM" } }, OPTIONS);
  const file = "/etc/ssl/custom-certs/cabundle.crt";
  const volume = (name: string, key: string) => ({
    configMap: { name, defaultMode: 420, items: [{ key, path: "cabundle.crt" }] },
  });

  await applyService(cluster, "itself", onnx("https://models.example/model.onnx"));
  const itself = (await deploymentOf(cluster, "itself-predictor")).spec.template.spec;
  expect(itself?.containers[0]?.env).toContainEqual({ name: "ARGOSY_CA_BUNDLE", value: file });
  expect(itself?.volumes).toContainEqual(expect.objectContaining(volume("global-ca-bundle", "cabundle.crt")));

  const annotations = { "serving.argosy.dev/fetch": "init-container", [CA]: "mine/a.pem" };
  await applyService(cluster, "init", onnx("https://models.example/model.onnx"), { annotations });
  const init = (await deploymentOf(cluster, "init-predictor")).spec.template.spec;
  expect(init?.initContainers?.[0]?.env).toContainEqual({ name: "ARGOSY_CA_BUNDLE", value: file });
  expect(init?.volumes).toContainEqual(expect.objectContaining(volume("mine", "a.pem")));
  expect(JSON.stringify(init?.containers)).not.toContain("custom-certs");

  await applyService(cluster, "claim", onnx("pvc://models/m"), { annotations: { [CA]: "mine/bad" } });
  const claim = await deploymentOf(cluster, "claim-predictor");
  expect(JSON.stringify(claim.spec.template)).not.toContain("custom-certs");

  await applyService(cluster, "bad", onnx("https://models.example/model.onnx"), { annotations: { [CA]: "mine/bad" } });
  await until(cluster, "bad", (service) => conditionOf(service, "Ready") === "False InvalidCABundle");
});
