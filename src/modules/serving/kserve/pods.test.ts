import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { builtInRuntimes } from "./builtin-runtimes.js";
import { buildComponentPods, type PodInput } from "./pods.js";
import type { Runtime } from "./runtime-kinds.js";
import { NO_CREDENTIALS } from "./storage.js";

const runtimeOf = (name: string, spec: JsonObject): Runtime =>
  ({
    apiVersion: "serving.kserve.io/v1alpha1",
    kind: "ServingRuntime",
    metadata: { name },
    spec,
  }) as unknown as Runtime;
const builtIn = runtimeOf(
  "argosy-modelserver",
  builtInRuntimes().find(({ metadata }) => metadata.name === "argosy-modelserver")?.spec ?? {},
);
const server = (more: JsonObject = {}): Runtime =>
  runtimeOf("own", {
    containers: [
      {
        name: "kserve-container",
        image: "example.com/server:1",
        args: ["--name={{.Name}}", "--team={{.Labels.team}}"],
        ...more,
      },
    ],
    nodeSelector: { disk: "fast" },
    labels: { from: "runtime" },
  });

const input = (spec: JsonObject, runtime: Runtime | undefined): PodInput => ({
  component: "predictor",
  spec,
  runtime,
  values: { name: "m", namespace: "n", labels: { team: "vision" }, annotations: {} },
  labels: { app: "m" },
  access: {
    cacheHostPath: undefined,
    credentials: { s3: { ...NO_CREDENTIALS, file: { secret: "s3", key: ".s3cfg" } } },
  },
});
const podOf = (spec: JsonObject, runtime: Runtime | undefined) => {
  const built = buildComponentPods(input(spec, runtime));
  const pod = built.template["spec"] as {
    containers: JsonObject[];
    initContainers?: { args: string[] }[];
    volumes?: JsonObject[];
    nodeSelector?: JsonObject;
  };
  return { ...built, pod, main: pod.containers[0] ?? {} };
};
const model = (more: JsonObject = {}): JsonObject => ({
  model: { modelFormat: { name: "onnx" }, storageUri: "s3://b/m", ...more },
});

test("a program of one's own in the model server's image is not the model server", () => {
  const container = { name: "kserve-container", image: "argosy.dev/model-server:1", command: ["node", "own.js"] };
  const { main } = podOf({ containers: [container], batcher: { maxBatchSize: 4 } }, undefined);
  const same = podOf({ containers: [{ ...container, command: ["argosy", "model-server"] }] }, undefined).main;

  expect([main["args"], main["livenessProbe"]]).toEqual([undefined, undefined]);
  expect(main["readinessProbe"]).toMatchObject({ tcpSocket: { port: 8080 } });
  expect(same["args"]).toEqual(["--http=8080"]);
});

test("servers of others go on for a moment when their pod goes, until nobody sends them requests; their own hooks count", () => {
  const sleep = { sleep: { seconds: 2 } };
  const hooksOf = (container: JsonObject): unknown =>
    podOf({ containers: [{ name: "kserve-container", image: "own", ...container }] }, undefined).main["lifecycle"];

  expect(hooksOf({})).toEqual({ preStop: sleep });
  const postStart = { exec: { command: ["warm"] } };
  expect(hooksOf({ lifecycle: { postStart } })).toEqual({ postStart, preStop: sleep });
  const preStop = { httpGet: { path: "/drain", port: 8080 } };
  expect(hooksOf({ lifecycle: { preStop } })).toEqual({ preStop });
  expect(podOf(model(), builtIn).main["lifecycle"]).toBeUndefined();
});

test("the model server listens where its container's port says; without one the argument counts", () => {
  const ports = [{ containerPort: 9000, name: "h2c" }];
  const grpc = podOf(model({ ports }), builtIn);
  const container = { name: "kserve-container", image: "argosy.dev/model-server", args: ["--http", "7000", "--more"] };
  const own = podOf({ containers: [container] }, undefined);
  const both = podOf({ containers: [{ ...container, ports }] }, undefined);

  expect([grpc.port, (grpc.main["args"] as string[]).filter((arg) => arg.startsWith("--http"))]).toEqual([
    9000,
    ["--http=9000"],
  ]);
  expect([own.port, own.main["args"]]).toEqual([7000, ["--http", "7000", "--more"]]);
  expect([both.port, both.main["args"]]).toEqual([9000, ["--more", "--http=9000"]]);
});

test("a runtime's container takes the model's fields: arguments are added, its version is the image's tag", () => {
  const { main, pod, template } = podOf(
    { ...model({ args: ["--more"], runtimeVersion: "2", env: [{ name: "A", value: "b" }] }), labels: { from: "user" } },
    server(),
  );

  expect(main).toMatchObject({
    image: "example.com/server:2",
    args: ["--name=m", "--team=vision", "--more"],
    env: [{ name: "A", value: "b" }],
    resources: { limits: { cpu: "1", memory: "2Gi" } },
    volumeMounts: [{ mountPath: "/mnt/models", readOnly: true }],
  });
  expect(pod.nodeSelector).toEqual({ disk: "fast" });
  expect(template["metadata"]).toMatchObject({ labels: { from: "user", app: "m" } });
});

test("the built-in server has its own version, whatever version a runtime of that name has elsewhere", () => {
  expect(podOf(model({ runtimeVersion: "23.05-py3" }), builtIn).main["image"]).toBe(
    podOf(model(), builtIn).main["image"],
  );
});

test("a placeholder without a value is a fault that names it", () => {
  expect(() => podOf(model(), server({ args: ["{{.Labels.owner}}"] }))).toThrow("{{.Labels.owner}} in");
});

test("the built-in server is told what it can do itself, and asked by its own path", () => {
  const { main, probePath, anyAnswer } = podOf(
    { ...model(), containerConcurrency: 4, timeout: 30, batcher: { maxBatchSize: 16 } },
    builtIn,
  );

  expect(main["args"]).toEqual([
    "--model-name=m",
    "--model-dir=/mnt/models",
    "--http=8080",
    "--max-batch-rows=16",
    "--max-concurrent=4",
    "--request-timeout-ms=30000",
    ...["--model-uri", "s3://b/m", "--cache", "/var/cache/argosy/models"],
    ...["--storage-config", "/var/run/argosy/store/s3/.s3cfg", "--allow-code", "elsewhere"],
  ]);
  expect([probePath, anyAnswer]).toEqual(["/v2/health/ready", false]);
});

test("the built-in server fetches its model itself, with the store's settings, into a folder of the pod's", () => {
  const { main, pod } = podOf(model(), builtIn);

  expect(pod.initContainers).toBeUndefined();
  expect(main["volumeMounts"]).toEqual([
    { name: "kserve-provision-location", mountPath: "/mnt/models" },
    { name: "model-cache", mountPath: "/var/cache/argosy/models" },
    { name: "store-s3", mountPath: "/var/run/argosy/store/s3", readOnly: true },
  ]);
  expect(pod.volumes).toEqual([
    { name: "kserve-provision-location", emptyDir: {} },
    { name: "model-cache", emptyDir: {} },
    { name: "store-s3", secret: { secretName: "s3", defaultMode: 0o444 } },
  ]);
});

const own = { name: "mine", container: { image: "mine:1" }, isBuiltIn: false };
test.each<[what: string, spec: JsonObject, more: Partial<PodInput["access"]>, annotations: Record<string, string>]>([
  ["code is allowed beside it", model({ args: ["--allow-code=yes"] }), {}, {}],
  ["pickles are allowed", model({ env: [{ name: "ARGOSY_MODEL_ALLOW_PICKLES", value: "yes" }] }), {}, {}],
  ["its program is another", model({ command: ["/bin/sh"] }), {}, {}],
  ["others read the model too", { ...model(), containers: [{ name: "sidecar", image: "x" }] }, {}, {}],
  ["something is done before", { ...model(), initContainers: [{ name: "before", image: "x" }] }, {}, {}],
  ["there are several models", { ...model(), storageUris: [{ uri: "s3://b/n", mountPath: "/mnt/n" }] }, {}, {}],
  ["a variable of the store means something else", model({ env: [{ name: "HF_TOKEN", value: "x" }] }), {}, {}],
  ["a ClusterStorageContainer fetches it", model(), { containers: { "hf://b/m": own } }, {}],
  ["KServe's own one has surroundings", model(), { containers: { "hf://b/m": { ...own, isBuiltIn: true } } }, {}],
  ["it showed to be code", model(), { apart: ["hf://b/m"] }, {}],
  ["the user wants it", model(), {}, { "serving.argosy.dev/fetch": "init-container" }],
  ["models may be written", model(), {}, { "storage.kserve.io/readonly": "false" }],
])("an init container fetches where %s", (_what, spec, more, annotations) => {
  const variables = [{ name: "HF_TOKEN", secret: "hub", key: "HF_TOKEN" }];
  const wish = input({ ...spec, model: { ...(spec["model"] as JsonObject), storageUri: "hf://b/m" } }, builtIn);
  const { template } = buildComponentPods({
    ...wish,
    values: { ...wish.values, annotations },
    access: { ...wish.access, credentials: { hf: { ...NO_CREDENTIALS, variables } }, ...more },
  });

  const { initContainers, containers } = template["spec"] as {
    [name in "initContainers" | "containers"]: JsonObject[];
  };
  expect(initContainers.map(({ name }) => name)).toContain("storage-initializer");
  expect(JSON.stringify(containers)).not.toMatch(/--model-uri|hub/);
});

test("containers of the user's own: the named one answers, its port and probe are asked", () => {
  const own = podOf(
    {
      containers: [
        { name: "kserve-container", image: "x", env: [{ name: "STORAGE_URI", value: "s3://b/m" }] },
        {
          name: "transformer-container",
          image: "y",
          ports: [{ containerPort: 8090 }],
          readinessProbe: { httpGet: { path: "/ready", port: 8090 } },
        },
      ],
    },
    undefined,
  );

  expect([own.port, own.probePath, own.anyAnswer]).toEqual([8090, "/ready", false]);
  expect(own.pod.initContainers?.[0]?.args).toEqual(expect.arrayContaining(["--model-uri", "s3://b/m"]));
});

test("claims and images are mounted, several stores are fetched each to its place", () => {
  const several = podOf(
    {
      ...model({ storageUri: "" }),
      storageUris: [
        { uri: "s3://b/a", mountPath: "/mnt/models/a" },
        { uri: "s3://b/c", mountPath: "/mnt/models/c" },
      ],
    },
    server(),
  );
  const image = podOf(model({ storageUri: "oci+native://registry/model:1" }), server());

  expect(several.pod.initContainers?.map(({ args }) => args[1])).toEqual(["s3://b/a", "s3://b/c"]);
  expect(image.pod.volumes).toEqual([
    { name: "kserve-source-0", image: { reference: "registry/model:1", pullPolicy: "IfNotPresent" } },
  ]);
  expect(image.pod.initContainers).toBeUndefined();
});

test("storage: the entry's bucket and path become an address; other stores are refused", () => {
  const storage = (parameters: JsonObject): JsonObject => ({
    modelFormat: { name: "onnx" },
    storage: { key: "minio", path: "/m", parameters },
  });

  expect(podOf({ model: storage({ bucket: "models" }) }, server()).pod.initContainers?.[0]?.args[1]).toBe(
    "s3://models/m",
  );
  expect(() => podOf({ model: storage({}) }, server())).toThrow("names no bucket");
  expect(() => podOf({ model: storage({ type: "ftp", bucket: "b" }) }, server())).toThrow("ftp is not offered");
});
