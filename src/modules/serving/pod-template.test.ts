import { expect, test } from "vitest";
import { checksOf } from "../../cluster/apiserver/index.js";
import type { JsonObject } from "../../kernel/kinds/index.js";
import { memoryLedger } from "../../stores/ledger/index.js";
import { startTestCluster } from "../../testing/index.js";
import type { MLServiceRuntimeSpec, Release } from "./kinds.js";
import { MLServiceKind } from "./kinds.js";
import { createServingModule } from "./module.js";
import { addModel, buildPodTemplate } from "./pod-template.js";

const runtime: MLServiceRuntimeSpec = {
  enabled: true,
  template: { spec: { containers: [{ name: "user-container", image: "argosy.dev/model-server:0.1" }] } },
};
const release: Release = {
  name: "v1",
  predictor: {
    minReplicas: 1,
    model: { runtime: "onnx" },
    storage: { s3: { secretRef: { name: "s3" }, uri: "s3://models/digits/", mountPath: "/models" } },
  },
};

const specOf = (cacheHostPath: string | undefined) =>
  buildPodTemplate(release, runtime, { labels: {}, cacheHostPath }).template["spec"] as {
    volumes: JsonObject[];
    initContainers: { args: string[]; volumeMounts: JsonObject[] }[];
    containers: { volumeMounts: JsonObject[] }[];
  };

test("pods of a node share downloads where there is a folder for it; only the init container sees it", () => {
  const shared = specOf("/data/models/demo");
  const alone = specOf(undefined);

  expect(shared.volumes).toContainEqual({
    name: "model-cache",
    hostPath: { path: "/data/models/demo", type: "DirectoryOrCreate" },
  });
  expect(alone.volumes).toContainEqual({ name: "model-cache", emptyDir: {} });
  expect(shared.initContainers[0]?.args.slice(-2)).toEqual(["--cache", "/var/cache/argosy/models"]);
  expect(shared.initContainers[0]?.volumeMounts).toContainEqual({
    name: "model-cache",
    mountPath: "/var/cache/argosy/models",
  });
  expect(shared.containers[0]?.volumeMounts).toEqual([{ name: "model", mountPath: "/models", readOnly: true }]);
  expect(JSON.stringify(alone)).not.toContain("share");
});

test("volumes of the writer's own keep their names, and the platform's have others", () => {
  const spec: JsonObject = { volumes: [{ name: "model", emptyDir: {} }] };
  const main: JsonObject = {};
  const pvc = { name: "claim", mountPath: "/models" };
  addModel(spec, main, { pvc } as never, { labels: {}, cacheHostPath: undefined });

  expect(spec["volumes"]).toMatchObject([{ name: "model" }, { name: "argosy-model" }]);
  expect(main["volumeMounts"]).toMatchObject([{ name: "argosy-model", mountPath: "/models" }]);
});

test("the hub refuses a model service of its own, and says where it belongs", async () => {
  const module = createServingModule({
    ledger: memoryLedger({ clock: { now: () => 0 } as never }),
    probe: { ask: async () => ({}) } as never,
    address: () => ({ domain: "x", port: 1 }),
  });
  const checks = checksOf(module.admission ?? [], () => hub);
  const hub = await startTestCluster({ kinds: [MLServiceKind], checks });
  const made = hub.client.resource(MLServiceKind).create(
    {
      apiVersion: "tensorstack.dev/v1beta1",
      kind: "MLService",
      metadata: { name: "digits", namespace: "default" },
      spec: { default: "v1", runMode: "Immediate", releases: [release] },
    },
    { namespace: "default" },
  );

  await expect(made).rejects.toThrow("the hub runs no models; apply the MLService in a member cluster (--context)");
  await hub.close();
});

const served = (
  pods: JsonObject,
  args: readonly string[] = ["--model-dir", "/models/"],
  apart: readonly string[] = [],
): JsonObject => {
  const image = "argosy.dev/model-server:0.1";
  const [main = {}, ...others] = (pods["containers"] ?? [{}]) as JsonObject[];
  const containers = [{ name: "user-container", image, args: [...args], ...main }, ...others];
  const template = { spec: { ...pods, containers } } as unknown as MLServiceRuntimeSpec["template"];
  return buildPodTemplate(release, { enabled: true, template }, { labels: {}, cacheHostPath: undefined, apart })
    .template["spec"] as JsonObject;
};

test("the built-in server fetches its model itself, beside nobody", () => {
  const spec = served({});
  expect(spec["initContainers"]).toBeUndefined();
  expect(spec["containers"]).toMatchObject([
    {
      args: expect.arrayContaining(["--model-uri", "s3://models/digits/", "--allow-code", "elsewhere"]),
      volumeMounts: [
        { name: "model", mountPath: "/models" },
        { name: "model-cache", mountPath: "/var/cache/argosy/models" },
        { name: "model-s3", mountPath: "/var/run/argosy/s3", readOnly: true },
      ],
    },
  ]);
});

test.each<[who: string, spec: JsonObject]>([
  ["a model that is code", served({}, undefined, ["s3://models/digits/"])],
  ["a server of somebody's own", served({ containers: [{ image: "other" }] })],
  ["a program of somebody's own", served({ containers: [{ command: ["sh"] }] })],
  ["a server that may run code", served({}, ["--model-dir=/models", "--allow-code=yes"])],
  ["a server that reads elsewhere", served({}, ["--model-dir=/other"])],
  ["a container beside it", served({ containers: [{}, { name: "b", image: "x" }] })],
  ["an init container before it", served({ initContainers: [{ name: "b", image: "x" }] })],
  ["a volume in the model", served({ containers: [{ volumeMounts: [{ name: "v", mountPath: "/models/x" }] }] })],
])("%s has an init container, and never the store's keys", (_who, spec) => {
  const initContainers = spec["initContainers"] as JsonObject[];
  expect(initContainers.at(-1)).toMatchObject({ name: "fetch-model" });
  const containers = JSON.stringify(spec["containers"]);
  expect(containers).not.toContain("model-s3");
  expect(containers).not.toContain("--model-uri");
});
