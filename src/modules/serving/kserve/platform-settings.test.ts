import { expect, test } from "vitest";
import { ConfigMapKind, NamespaceKind } from "../../../kernel/kinds/index.js";
import { applyService, startServing, until } from "./fixture.js";

test("settings of KServe's controllers are told as not read, with what a CA bundle is had by instead", async () => {
  const cluster = await startServing();
  await cluster.client.resource(NamespaceKind).apply({ metadata: { name: "kserve" } }, { fieldManager: "user" });
  await cluster.client.resource(ConfigMapKind).apply(
    {
      metadata: { name: "inferenceservice-config", namespace: "kserve" },
      data: {
        ...{ _example: "…", deploy: '{"defaultDeploymentMode": "Standard"}' },
        storageInitializer: '{"caBundleConfigMapName": "stores", "caBundleVolumeMountPath": "/etc/ssl/custom-certs"}',
      },
    },
    { fieldManager: "user", namespace: "kserve" },
  );
  await applyService(cluster, "digits", {
    predictor: { model: { modelFormat: { name: "onnx" }, storageUri: "https://models/m" } },
  });
  const told = ({ status }: Parameters<Parameters<typeof until>[2]>[0]): string | undefined =>
    status?.conditions?.find(({ type, status: is }) => type === "AllFieldsHonored" && is === "False")?.message;
  const service = await until(cluster, "digits", (one) => told(one) !== undefined);

  expect(told(service)).toContain(
    "ConfigMap kserve/inferenceservice-config (deploy, storageInitializer: settings of KServe's controllers, which do not run here; ConfigMap stores counts where it is named by the annotation serving.argosy.dev/ca-bundle",
  );
});
