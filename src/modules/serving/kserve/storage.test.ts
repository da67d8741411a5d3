import { expect, test } from "vitest";
import { type JsonObject, SecretKind, ServiceAccountKind } from "../../../kernel/kinds/index.js";
import { applyService, conditionOf, deploymentOf, namespace, type Setup, startServing, until } from "./fixture.js";
import { ClusterStorageContainerKind } from "./storage-kinds.js";

const onnx = (storageUri: string, more: JsonObject = {}): JsonObject => ({
  predictor: { model: { modelFormat: { name: "onnx" }, storageUri }, ...more },
});

const encode = (data: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")]));

const addSecret = (cluster: Setup, name: string, data: Record<string, string>, metadata: JsonObject = {}) =>
  cluster.client
    .resource(SecretKind)
    .apply({ metadata: { ...metadata, name, namespace }, data: encode(data) }, { fieldManager: "user", namespace });

const addContainer = (cluster: Setup, name: string, spec: JsonObject) =>
  cluster.client.resource(ClusterStorageContainerKind).apply({ metadata: { name }, spec }, { fieldManager: "user" });

/** For what is said of fetchers that are containers of their own. */
const APART: JsonObject = { annotations: { "serving.argosy.dev/fetch": "init-container" } };

const fetcherOf = async (cluster: Setup, name: string): Promise<JsonObject> => {
  const { spec } = await deploymentOf(cluster, `${name}-predictor`);
  return JSON.parse(JSON.stringify(spec.template.spec?.initContainers?.[0]));
};

test("each scheme gets what the ServiceAccount's Secrets hold for it, in KServe's forms", async () => {
  const cluster = await startServing();
  await addSecret(cluster, "hub", { HF_TOKEN: "t" });
  await addSecret(cluster, "goo.gle", { "gcloud-application-credentials.json": "{}" });
  await addSecret(cluster, "web", { "https-host": "models.example.com", headers: "{}" });
  await addSecret(cluster, "other", { "https-host": "other.example.com", headers: "{}" });
  const said = {
    "serving.kserve.io/s3-endpoint": "minio:9000",
    "serving.kserve.io/s3-usehttps": "0",
    "serving.kserve.io/s3-usevirtualbucket": "true",
  };
  await addSecret(cluster, "minio", { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b" }, { annotations: said });
  await cluster.client.resource(ServiceAccountKind).apply(
    {
      metadata: { name: "reader", namespace },
      secrets: ["hub", "goo.gle", "web", "other", "minio"].map((name) => ({ name })),
    },
    { fieldManager: "user", namespace },
  );
  const as = { serviceAccountName: "reader" };
  await applyService(cluster, "hf", onnx("hf://org/model", as), APART);
  await applyService(cluster, "gs", onnx("gs://bucket/model", as), APART);
  await applyService(cluster, "web", onnx("https://models.example.com/model.onnx", as), APART);
  await applyService(cluster, "s3", onnx("s3://bucket/model", as), APART);
  await applyService(cluster, "none", onnx("hf://org/model"), APART);

  const key = (name: string, secret: string, from = name) => ({
    name,
    valueFrom: { secretKeyRef: { name: secret, key: from } },
  });
  expect((await fetcherOf(cluster, "hf"))["env"]).toEqual([key("HF_TOKEN", "hub")]);
  expect(await fetcherOf(cluster, "gs")).toMatchObject({
    env: [
      {
        name: "GOOGLE_APPLICATION_CREDENTIALS",
        value: "/var/run/argosy/store/goo.gle/gcloud-application-credentials.json",
      },
    ],
    volumeMounts: expect.arrayContaining([
      {
        name: expect.stringMatching(/^store-goo-gle-[0-9a-f]{8}$/),
        mountPath: "/var/run/argosy/store/goo.gle",
        readOnly: true,
      },
    ]),
  });
  expect((await fetcherOf(cluster, "web"))["env"]).toEqual([
    key("models.example.com-headers", "web", "headers"),
    key("other.example.com-headers", "other", "headers"),
  ]);
  expect((await fetcherOf(cluster, "s3"))["env"]).toEqual([
    key("AWS_ACCESS_KEY_ID", "minio"),
    key("AWS_SECRET_ACCESS_KEY", "minio"),
    { name: "AWS_ENDPOINT_URL", value: "http://minio:9000" },
    { name: "S3_USER_VIRTUAL_BUCKET", value: "true" },
  ]);
  expect((await fetcherOf(cluster, "none"))["env"]).toBeUndefined();
});

test("a ServiceAccount with a role of AWS reads S3 by it", async () => {
  const cluster = await startServing();
  const annotations = {
    "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/reader",
    "serving.kserve.io/s3-region": "eu-1",
  };
  await cluster.client
    .resource(ServiceAccountKind)
    .apply({ metadata: { name: "eks", namespace, annotations } }, { fieldManager: "user", namespace });
  await applyService(cluster, "a", onnx("s3://bucket/model", { serviceAccountName: "eks" }), APART);

  expect((await fetcherOf(cluster, "a"))["env"]).toEqual([{ name: "AWS_DEFAULT_REGION", value: "eu-1" }]);
});

test("an entry of storage-config says of what type the store is, and is given to the fetcher as a file", async () => {
  const cluster = await startServing();
  await addSecret(cluster, "storage-config", { lake: '{"type": "gs", "bucket": "lake"}' });
  const storage = { key: "lake", path: "digits/model.onnx" };
  await applyService(cluster, "a", { predictor: { model: { modelFormat: { name: "onnx" }, storage } } }, APART);

  expect((await fetcherOf(cluster, "a"))["args"]).toEqual([
    ...["--model-uri", "gs://lake/digits/model.onnx", "--fetch-to", "/mnt/models"],
    ...["--cache", "/var/cache/argosy/models", "--storage-config", "/var/run/argosy/store/storage-config/lake"],
  ]);
});

test("a storage without a key has the entry that KServe takes by itself, else the store's own", async () => {
  const cluster = await startServing();
  await addSecret(cluster, "storage-config", {
    ...{ default: '{"type": "gs", "bucket": "lake"}', default_hf: "{}", s3: '{"type": "s3"}' },
  });
  const model = (storage: JsonObject): JsonObject => ({
    predictor: { model: { modelFormat: { name: "onnx" }, storage } },
  });
  await applyService(cluster, "a", model({ path: "digits" }), APART);
  await applyService(cluster, "b", model({ path: "org/m", parameters: { type: "hf" } }), APART);
  await applyService(cluster, "c", model({ path: "digits", parameters: { type: "s3", bucket: "b" } }), APART);

  const fetched = async (name: string) => JSON.stringify((await fetcherOf(cluster, name))["args"]);
  expect(await fetched("a")).toMatch(/gs:\/\/lake\/digits.*storage-config\/default"/);
  expect(await fetched("b")).toMatch(/hf:\/\/org\/m.*storage-config\/default_hf"/);
  expect(await fetched("c")).toMatch(/s3:\/\/b\/digits.*storage-config\/s3"/);
});

test("a ClusterStorageContainer fetches what fits it best: by name, by the longest prefix, before patterns; disabled ones and jobs do not", async () => {
  const cluster = await startServing();
  const fetcher = (image: string, formats: JsonObject[], more: JsonObject = {}): JsonObject => ({
    container: { name: "storage-initializer", image, args: ["fetch"], resources: { limits: { memory: "1Gi" } } },
    supportedUriFormats: formats,
    ...more,
  });
  await addContainer(cluster, "lake", fetcher("lake:1", [{ prefix: "lake://" }, { prefix: "gs://" }]));
  await addContainer(cluster, "cold", fetcher("cold:1", [{ prefix: "gs://cold/" }]));
  await addContainer(cluster, "any", fetcher("any:1", [{ regex: "^(gs|hf)://.+" }]));
  await addContainer(
    cluster,
    "jobs",
    fetcher("job:1", [{ prefix: "hf://org/" }], { workloadType: "localModelDownloadJob" }),
  );
  await applyService(cluster, "a", onnx("lake://digits"));
  await applyService(cluster, "b", onnx("gs://cold/digits"));
  await applyService(cluster, "c", onnx("hf://org/digits"));
  await applyService(cluster, "d", onnx("gs://cold/digits", { storageContainerName: "lake" }));
  await applyService(cluster, "e", onnx("hf://org/digits", { storageContainerName: "lake" }));
  const wrong = await until(cluster, "e", (one) => conditionOf(one, "Ready") === "False InvalidPredictorSpec");
  await cluster.client.resource(ClusterStorageContainerKind).patch("any", "merge", { disabled: true });
  await deploymentOf(cluster, "c-predictor", ({ spec }) =>
    JSON.stringify(spec.template.spec?.containers[0]?.args ?? []).includes("hf://org/digits"),
  );

  expect(await fetcherOf(cluster, "a")).toMatchObject({
    name: "storage-initializer",
    image: "lake:1",
    args: ["fetch", "lake://digits", "/mnt/models"],
    resources: { limits: { memory: "1Gi" } },
    volumeMounts: [{ mountPath: "/mnt/models" }],
  });
  expect((await fetcherOf(cluster, "b"))["image"]).toBe("cold:1");
  expect((await fetcherOf(cluster, "d"))["image"]).toBe("lake:1");
  expect(wrong.status?.conditions?.find(({ type }) => type === "Ready")?.message).toMatch(
    /cluster cloud: storageContainerName lake: its supportedUriFormats do not have hf:\/\/org\/digits/,
  );
});

test("KServe's own container is Argosy's fetcher in its surroundings; what nobody fetches is refused, and patterns that are none", async () => {
  const cluster = await startServing();
  await addContainer(cluster, "default", {
    container: {
      name: "storage-initializer",
      image: "kserve/storage-initializer:v0.20",
      resources: { limits: { cpu: "2" } },
    },
    supportedUriFormats: [{ prefix: "hdfs://" }, { prefix: "gs://" }],
  });
  await applyService(cluster, "a", onnx("gs://bucket/digits"));
  const { image, resources, args } = await fetcherOf(cluster, "a");

  expect([image, resources]).toEqual(["argosy.dev/model-server", { limits: { cpu: "2" } }]);
  expect(args).toEqual(expect.arrayContaining(["--model-uri", "gs://bucket/digits"]));
  await expect(applyService(cluster, "b", onnx("hdfs://nn/digits"))).rejects.toThrow(/use webhdfs/);
  await expect(
    addContainer(cluster, "bad", { container: { name: "x", image: "x" }, supportedUriFormats: [{ regex: "(" }] }),
  ).rejects.toThrow(/supportedUriFormats\[0\].regex: Invalid value.*is no regular expression/);
});

test("a scheme that objects of JavaScript have a member of is one of a container's own like others", async () => {
  const cluster = await startServing();
  await addContainer(cluster, "own", {
    container: { name: "fetch", image: "example.com/fetch:1" },
    supportedUriFormats: [{ prefix: "constructor://" }],
  });
  await applyService(cluster, "odd", onnx("constructor://lake/odd"));

  expect(await fetcherOf(cluster, "odd")).toMatchObject({
    image: "example.com/fetch:1",
    args: ["constructor://lake/odd", "/mnt/models"],
  });
});
