import { expect, test } from "vitest";
import type { JsonObject } from "../../kernel/kinds/index.js";
import { DeploymentKind, SecretKind, ServiceKind } from "../../kernel/kinds/index.js";
import { deploymentOf, namespace, type Setup, settle, startServing } from "./kserve/fixture.js";
import { type SimpleMLService, SimpleMLServiceKind } from "./simple-kind.js";

const options = { fieldManager: "user", force: true, namespace };
const apply = (on: Setup, spec: JsonObject) =>
  on.client.resource(SimpleMLServiceKind).apply({ metadata: { name: "digits", namespace }, spec }, options);

async function until(on: Setup, type: string, wanted: string): Promise<SimpleMLService> {
  for (;;) {
    const seen = await on.client.resource(SimpleMLServiceKind).get("digits", { namespace });
    const found = seen.status?.conditions?.find((condition) => condition.type === type);
    if (`${found?.status ?? ""} ${found?.reason ?? ""}` === wanted) return seen;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

test("a SimpleMLService is one Deployment and one Service, with the model beside the server", async () => {
  const cluster = await startServing([SimpleMLServiceKind]);
  const storage = { s3: { secretRef: { name: "s3" }, uri: "s3://models/digits/" } };
  const custom = {
    spec: { containers: [{ name: "any", image: "argosy.dev/model-server", args: ["--model-dir=/var/lib/t9k/model"] }] },
  };
  await apply(cluster, { custom, storage, replicas: 2 });
  await until(cluster, "Ready", "False SecretNotFound");
  await cluster.client.resource(SecretKind).apply(
    {
      metadata: { name: "s3", namespace, labels: { "tensorstack.dev/resource": "s3" } },
      data: { ".s3cfg": "W2RlZmF1bHRd" },
    },
    options,
  );
  const deployment = await deploymentOf(cluster, "digits", ({ spec }) => spec.replicas === 2);
  await settle(cluster, "digits");
  const ready = await until(cluster, "Ready", "True PodsReady");

  expect(deployment.spec.template.spec?.initContainers?.[0]?.args).toEqual(
    expect.arrayContaining(["--model-uri", "s3://models/digits/", "--fetch-to", "/var/lib/t9k/model"]),
  );
  expect(ready.status?.address).toEqual({
    url: "http://digits.models.svc.cluster.local",
    ports: [{ port: 80, protocol: "TCP" }],
  });
  const { spec } = await cluster.client.resource(ServiceKind).get("digits", { namespace });
  expect(spec.ports?.[0]).toMatchObject({ port: 80, targetPort: 8080 });
});

test("TensorStack's scheduler places the pods where the cluster has it; else that is said", async () => {
  const cluster = await startServing([SimpleMLServiceKind]);
  const spec = { tensorflow: { image: "tensorflow/serving" }, scheduler: { t9kScheduler: { queue: "gold" } } };
  await apply(cluster, spec);
  const without = await until(cluster, "AllFieldsHonored", "False FieldsIgnored");
  const containers = [{ name: "c", image: "x" }];
  const template = { metadata: { labels: { a: "b" } }, spec: { containers } };
  await cluster.client.resource(DeploymentKind).apply(
    {
      metadata: { name: "t9k-scheduler", namespace: "default" },
      spec: { selector: { matchLabels: { a: "b" } }, template },
    },
    { ...options, namespace: "default" },
  );
  await apply(cluster, { ...spec, replicas: 3 });
  const made = await deploymentOf(cluster, "digits", ({ spec: { replicas } }) => replicas === 3);
  await until(cluster, "AllFieldsHonored", "True Honored");

  expect(without.status?.conditions?.find(({ type }) => type === "AllFieldsHonored")?.message).toContain(
    "t9k-scheduler",
  );
  expect(made.spec.template.spec?.schedulerName).toBe("t9k-scheduler");
  expect(made.spec.template.metadata?.annotations).toMatchObject({ "scheduler.tensorstack.dev/queue": "gold" });
});

test("exactly one server; TensorFlow Serving and TorchServe are told where the model lies", async () => {
  const cluster = await startServing([SimpleMLServiceKind]);
  await apply(cluster, {
    tensorflow: { image: "tensorflow/serving" },
    pytorch: { image: "pytorch/torchserve", modelsFlag: "a=a.mar" },
  });
  await until(cluster, "Ready", "False InvalidSpec");
  await cluster.client.resource(SimpleMLServiceKind).delete("digits", { namespace });
  await apply(cluster, { tensorflow: { image: "tensorflow/serving" } });
  const { spec } = await deploymentOf(cluster, "digits");

  expect(spec.template.spec?.containers[0]?.args).toEqual([
    "--rest_api_port=8080",
    "--model_name=digits",
    "--model_base_path=/var/lib/t9k/model",
  ]);
});

test("pods of the writer's own keep their ports, and are asked where the Service leads; the address has its port", async () => {
  const cluster = await startServing([SimpleMLServiceKind]);
  const ports = [
    { name: "rest", containerPort: 8501 },
    { name: "grpc", containerPort: 8500 },
  ];
  const service = { ports: [{ name: "grpc", port: 8500, targetPort: "grpc" }] };
  await apply(cluster, { custom: { spec: { containers: [{ name: "c", image: "x", ports }] } }, service });
  const own = await deploymentOf(cluster, "digits", ({ spec }) => spec.template.spec?.containers[0]?.image === "x");
  const { status } = await until(cluster, "Ready", "False Starting");
  await apply(cluster, {
    custom: { spec: { containers: [{ name: "c", image: "y" }] } },
    service: { ports: [{ port: 7777 }] },
  });
  const led = await deploymentOf(cluster, "digits", ({ spec }) => spec.template.spec?.containers[0]?.image === "y");

  expect(own.spec.template.spec?.containers[0]).toMatchObject({ ports, readinessProbe: { tcpSocket: { port: 8501 } } });
  expect(status?.address?.url).toBe("http://digits.models.svc.cluster.local:8500");
  expect(led.spec.template.spec?.containers[0]?.readinessProbe?.tcpSocket?.port).toBe(7777);
});

test("another strategy replaces the one before; without a pod no model is said to be there", async () => {
  const cluster = await startServing([SimpleMLServiceKind]);
  const custom = { spec: { containers: [{ name: "c", image: "x" }] } };
  await apply(cluster, { custom });
  await deploymentOf(cluster, "digits");
  await apply(cluster, { custom, strategy: { type: "Recreate" } });
  const { spec } = await deploymentOf(cluster, "digits", ({ spec: { strategy } }) => strategy?.type === "Recreate");
  await apply(cluster, { custom, strategy: { type: "Rolling" } });
  const refused = await until(cluster, "Ready", "False InvalidTemplate");

  expect(spec.strategy).toEqual({ type: "Recreate" });
  expect(refused.status?.conditions?.find(({ type }) => type === "ModelDownloaded")?.status).toBe("False");
});
