import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { ConfigMapKind, PersistentVolumeClaimKind } from "../../../kernel/kinds/index.js";
import { answer, applyService, deploymentOf, namespace, type Setup, settle, startServing, until } from "./fixture.js";
import { type TrainedModel, TrainedModelKind } from "./storage-kinds.js";
import { trainedModelFaults } from "./trained-model-admission.js";
import { listText, planModels, revisionOf } from "./trained-model-plan.js";

const model = (more: JsonObject = {}): JsonObject => ({
  ...{ storageUri: "s3://models/m", framework: "sklearn", memory: "100Mi" },
  ...more,
});

const applyModel = (cluster: Setup, name: string, spec: JsonObject, inferenceService = "many") =>
  cluster.client
    .resource(TrainedModelKind)
    .apply(
      { metadata: { name, namespace }, spec: { inferenceService, model: spec } },
      { fieldManager: "user", force: true, namespace },
    );

function modelThat(cluster: Setup, name: string, wanted: (model: TrainedModel) => boolean): Promise<TrainedModel> {
  const informer = cluster.informers.informer(TrainedModelKind);
  return new Promise((resolve) => {
    const check = (): void => {
      const found = informer.get({ namespace, name });
      if (found === undefined || !wanted(found)) return;
      remove();
      resolve(found);
    };
    const remove = informer.onChange(check);
    setImmediate(check);
  });
}

const says = ({ status }: TrainedModel, type: string): string => {
  const found = status?.conditions?.find((condition) => condition.type === type);
  return `${found?.status ?? "absent"} ${found?.reason ?? ""}`;
};

const listed = async (cluster: Setup): Promise<string[]> => {
  const map = await cluster.client.resource(ConfigMapKind).find("modelconfig-many-0", { namespace });
  const list: { modelName: string }[] = JSON.parse(map?.data?.["models.json"] ?? "[]");
  return list.map(({ modelName }) => modelName);
};

test("models go to the pods of a service that has none of its own, within its memory, and are Ready when its pods say so", async () => {
  const cluster = await startServing([TrainedModelKind]);
  await applyModel(cluster, "one", model());
  await modelThat(cluster, "one", (found) => says(found, "Ready") === "False ServiceNotFound");
  await applyService(cluster, "many", {
    predictor: { sklearn: { protocolVersion: "v1", resources: { limits: { memory: "300Mi" } } } },
  });
  const deployment = await deploymentOf(cluster, "many-predictor");
  const pod = deployment.spec.template.spec;
  expect(pod?.containers[0]?.args).toEqual([
    ...["--repository=/mnt/models", "--model-config=/mnt/configs/models.json", "--http=8080"],
    "--cache=/var/cache/argosy/models",
  ]);
  expect(pod?.volumes).toContainEqual({
    name: "model-list",
    configMap: { name: "modelconfig-many-0", optional: true, defaultMode: 420 },
  });
  await modelThat(cluster, "one", (found) => says(found, "IsMMSPredictor") === "True MultiModel");
  await settle(cluster, "many-predictor");
  answer(cluster, "many-predictor", "many");
  await until(
    cluster,
    "many",
    ({ status }) => status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true,
  );
  const asked = await modelThat(cluster, "one", (found) => says(found, "InferenceServiceReady") === "True Ready");
  expect(await listed(cluster)).toEqual(["one"]);

  const host = "many-predictor.models.cloud.argosy.localhost";
  const tell = (more: object): void =>
    void cluster.answers.set(host, { status: 200, body: JSON.stringify({ revision: revisionOf(asked), ...more }) });
  tell({ state: "UNAVAILABLE", reason: "ModelDownloadFailed: no such bucket" });
  await modelThat(cluster, "one", (found) => says(found, "Ready") === "False ModelDownloadFailed");
  tell({ state: "LOADING", reason: "the model is being fetched" });
  await modelThat(cluster, "one", (found) => says(found, "Ready") === "Unknown Loading");
  tell({ state: "READY", reason: "" });
  const ready = await modelThat(cluster, "one", (found) => says(found, "Ready") === "True Loaded");
  expect(ready.status).toMatchObject({
    url: "http://many.models.cloud.argosy.localhost:8081/v1/models/one:predict",
    address: { url: "http://many.models.svc.cluster.local/v1/models/one:predict" },
    observedGeneration: 1,
  });
  expect(cluster.asked).toContain(`http://${host}:8081/v2/repository/configured/one`);

  await applyModel(cluster, "two", model({ memory: "250Mi" }));
  await modelThat(cluster, "two", (found) => says(found, "MemoryResourceAvailable") === "False MemoryNotAvailable");
  await applyModel(cluster, "other", model({ framework: "pytorch" }));
  await modelThat(cluster, "other", (found) => says(found, "FrameworkSupported") === "False FrameworkNotSupported");
  expect(await listed(cluster)).toEqual(["one"]);

  await cluster.client.resource(TrainedModelKind).delete("one", { namespace });
  await modelThat(cluster, "two", (found) => says(found, "MemoryResourceAvailable") === "True Available");
  expect(await listed(cluster)).toEqual(["two"]);
  await cluster.client.resource(TrainedModelKind).delete("two", { namespace });
  while ((await listed(cluster)).length > 0) await new Promise((resolve) => setImmediate(resolve));
});

test("its pods can read every store that the namespace has credentials for, whatever models come", async () => {
  const cluster = await startServing([TrainedModelKind]);
  const secret = async (name: string, labels: JsonObject, stringData: JsonObject): Promise<void> => {
    const object = { apiVersion: "v1", kind: "Secret", metadata: { name, labels }, stringData };
    await cluster.client.json("POST", `/api/v1/namespaces/${namespace}/secrets`, object);
  };
  await secret("store", { "tensorstack.dev/resource": "s3" }, { ".s3cfg": "[default]" });
  await secret("storage-config", {}, { hf: '{"type":"hf","token":"t"}' });
  await applyService(cluster, "many", { predictor: { sklearn: {} } });
  const pod = (await deploymentOf(cluster, "many-predictor")).spec.template.spec;

  expect(pod?.containers[0]?.args?.slice(-2)).toEqual([
    "--store-config=hf=/var/run/argosy/store/storage-config/hf",
    "--store-config=s3=/var/run/argosy/store/store/.s3cfg",
  ]);
  expect(pod?.volumes?.map(({ name }) => name)).toEqual([
    ...["store-storage-config", "store-store", "model-list", "model-folder", "model-cache"],
  ]);
});

test("a service with a model of its own takes no others, and says so", async () => {
  const cluster = await startServing([TrainedModelKind]);
  await applyService(cluster, "many", {
    predictor: { model: { modelFormat: { name: "onnx" }, storageUri: "pvc://models/digits" } },
  });
  await applyModel(cluster, "one", model());
  const refused = await modelThat(cluster, "one", (found) => says(found, "Ready") === "False NotMultiModel");
  expect(says(refused, "IsMMSPredictor")).toBe("False NotMultiModel");
  expect(refused.status?.conditions?.at(-1)?.message).toContain("take away its storageUri");
});

test("a model in a claim is a folder of its pods, which are started anew with it; one that waits for its claim holds up no other", async () => {
  const cluster = await startServing([TrainedModelKind]);
  await applyService(cluster, "many", { predictor: { sklearn: {} } });
  const first = await deploymentOf(cluster, "many-predictor");
  await applyModel(cluster, "one", model({ storageUri: "pvc://shared/digits/1" }));
  const waits = await modelThat(cluster, "one", (found) => says(found, "Ready") === "False ClaimNotFound");
  const before = await deploymentOf(cluster, "many-predictor");
  await cluster.client.resource(PersistentVolumeClaimKind).create(
    {
      ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "shared", namespace } },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    },
    { namespace },
  );
  const mounted = async () => {
    for (;;) {
      const { spec } = await deploymentOf(cluster, "many-predictor");
      const mount = spec.template.spec?.containers[0]?.volumeMounts?.find(({ mountPath }) =>
        mountPath.startsWith("/mnt/claims/"),
      );
      if (mount !== undefined) return { mount, volumes: spec.template.spec?.volumes };
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const { mount, volumes } = await mounted();
  await modelThat(cluster, "one", (found) => says(found, "Ready") === "False ServiceNotReady");
  const map = await cluster.client.resource(ConfigMapKind).get("modelconfig-many-0", { namespace });

  expect(waits.status?.conditions?.find(({ type }) => type === "Ready")?.message).toBe(
    "there is no PersistentVolumeClaim shared in namespace models",
  );
  expect(before.spec.template).toEqual(first.spec.template);
  expect(mount).toMatchObject({ mountPath: "/mnt/claims/shared", readOnly: true });
  expect(volumes).toContainEqual({
    name: mount.name,
    persistentVolumeClaim: { claimName: "shared", readOnly: true },
  });
  expect(JSON.parse(map.data?.["models.json"] ?? "")).toMatchObject([
    { modelName: "one", modelSpec: { storageUri: "file:///mnt/claims/shared/digits/1" } },
  ]);
});

test("a list holds what fits into a ConfigMap, the older ones first; images for pods to mount are fetched", () => {
  const many = Array.from({ length: 9000 }, (_, index) => ({
    metadata: {
      ...{ name: `model-${index}`, uid: `${index}` },
      creationTimestamp: new Date(Date.UTC(2026, 0, 1) + index * 1000).toISOString(),
    },
    spec: {
      inferenceService: "many",
      model: { storageUri: `s3://models/m-${index}`, framework: "sklearn", memory: 1 },
    },
  })) as unknown as TrainedModel[];
  const image = {
    ...many[0],
    spec: { inferenceService: "many", model: { ...many[0]?.spec.model, storageUri: "oci+native://r/m:1" } },
  };

  const plan = planModels(many, Number.POSITIVE_INFINITY);
  const text = listText(plan);

  expect(Buffer.byteLength(text)).toBeLessThan(1024 * 1024);
  expect(Buffer.byteLength(text)).toBeGreaterThan(990_000);
  expect(JSON.parse(text)).toEqual(plan.list);
  expect(plan.list.length + plan.unlisted.size).toBe(9000);
  expect(plan.unlisted.has("model-0")).toBe(false);
  expect(plan.unlisted.has("model-8999")).toBe(true);
  expect(planModels([image as TrainedModel], 9).list[0]?.["modelSpec"]).toMatchObject({
    storageUri: "oci+fetch://r/m:1",
  });
});

test.each<[string, JsonObject, JsonObject | undefined, RegExp]>([
  [
    "a name with dots",
    { metadata: { name: "a.b" }, spec: { inferenceService: "s", model: model() } },
    undefined,
    /^metadata.name: /,
  ],
  [
    "a claim without a name",
    { spec: { inferenceService: "s", model: model({ storageUri: "pvc:///b" }) } },
    undefined,
    /^spec.model.storageUri: .*pvc:..CLAIM.PATH/,
  ],
  [
    "a store that is none",
    { spec: { inferenceService: "s", model: model({ storageUri: "s4://a/b" }) } },
    undefined,
    /did you mean s3/,
  ],
  [
    "no framework",
    { spec: { inferenceService: "s", model: model({ framework: "" }) } },
    undefined,
    /^spec.model.framework: /,
  ],
  ["no service", { spec: { inferenceService: "", model: model() } }, undefined, /^spec.inferenceService: /],
  [
    "other memory than before",
    { spec: { inferenceService: "s", model: model({ memory: "1Gi" }) } },
    { spec: { inferenceService: "s", model: model() } },
    /^spec.model.memory: does not change: it is 100Mi/,
  ],
])("%s is refused with its field", (_, object, old, message) => {
  expect(trainedModelFaults(object, old).map((fault) => `${fault.field}: ${fault.message}`)).toEqual([
    expect.stringMatching(message),
  ]);
});
