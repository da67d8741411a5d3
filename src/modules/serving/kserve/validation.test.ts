import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject } from "../../../kernel/schema/index.js";
import { completeInferenceService } from "./defaults.js";
import { doubleImplementation, inferenceServiceFaults } from "./validation.js";

const model = (more: JsonObject = {}): JsonObject => ({
  modelFormat: { name: "onnx" },
  storageUri: "s3://models/a",
  ...more,
});
const service = (predictor: JsonObject, more: JsonObject = {}, metadata: JsonObject = {}): JsonObject => {
  const object: JsonObject = { metadata: { name: "a", ...metadata }, spec: { predictor, ...more } };
  completeInferenceService(object);
  return object;
};
const faults = (object: JsonObject, old?: JsonObject) =>
  inferenceServiceFaults(object, old).map(({ field, message }) => `${field}: ${message}`);

test("a framework key becomes a model, with the protocol of its format", () => {
  const sklearn = service({ sklearn: { storageUri: "s3://m/a" } });
  const onnx = service({ onnx: { storageUri: "s3://m/a" }, logger: { url: "http://dumper" } });

  expect(sklearn["spec"]).toEqual({
    predictor: { model: { modelFormat: { name: "sklearn" }, storageUri: "s3://m/a", protocolVersion: "v1" } },
  });
  expect(onnx["spec"]).toMatchObject({ predictor: { model: { protocolVersion: "v2" }, logger: { mode: "all" } } });
  const again = structuredClone(onnx);
  completeInferenceService(again);
  expect(again).toEqual(onnx);
});

test("a manifest with a framework key may be applied again", () => {
  const first = service({ sklearn: { storageUri: "s3://m/a" } });
  const old = structuredClone(first);
  const runtime = { runtime: "kserve-sklearnserver" };
  Object.assign(old, {
    metadata: { name: "a", annotations: { "serving.argosy.dev/chosen-runtime": JSON.stringify(runtime) } },
    spec: { predictor: { model: { modelFormat: { name: "sklearn" }, ...runtime, storageUri: "s3://m/a" } } },
  });
  const merged = (more: JsonObject) => {
    const object = structuredClone(old);
    const { model: made } = asObject(asObject(old["spec"])["predictor"]);
    object["spec"] = { predictor: { ...(made === undefined ? {} : { model: made }), ...more } };
    completeInferenceService(object, old);
    return object;
  };

  const again = merged({ sklearn: { storageUri: "s3://m/b" } });
  expect(again["spec"]).toEqual({
    predictor: {
      model: { modelFormat: { name: "sklearn" }, ...runtime, storageUri: "s3://m/b", protocolVersion: "v1" },
    },
  });
  expect(faults(again, old)).toEqual([]);
  expect(faults(merged({ sklearn: {}, model: model() }), old)[0]).toMatch(/has sklearn and model/);
});

test("what was filled in does not stay when a model is replaced", () => {
  const filled = { runtime: "kserve-sklearnserver", protocolVersion: "v1" };
  const containers = [{ name: "kserve-container", image: "x" }];

  expect(service({ model: filled, containers })["spec"]).toEqual({ predictor: { containers } });
  expect(service({ model: filled, xgboost: {} })["spec"]).toMatchObject({
    predictor: { model: { modelFormat: { name: "xgboost" } } },
  });
  expect(service({ model: model(), containers })["spec"]).toMatchObject({ predictor: { model: model() } });
});

test("a predictor has exactly one implementation", () => {
  const container = { name: "kserve-container", image: "x" };

  expect(faults(service({ model: model() }))).toEqual([]);
  expect(faults(service({ containers: [{ name: "any", image: "x" }] }))).toEqual([]);
  expect(faults(service({ model: model(), containers: [{ name: "sidecar", image: "x" }] }))).toEqual([]);
  expect(faults(service({}))).toEqual(["spec.predictor: needs a model, or containers of its own"]);
  expect(faults(service({ model: model(), containers: [container] }))).toEqual([]);
  expect(doubleImplementation(service({ model: model(), containers: [container] }))?.message).toBe(
    "has model and containers (with kserve-container); give exactly one of them",
  );
  expect(faults(service({ sklearn: {}, xgboost: {} }))[0]).toMatch(/has sklearn and xgboost/);
});

test.each<[string, JsonObject, RegExp]>([
  ["minimum above maximum", { minReplicas: 3, maxReplicas: 2 }, /minReplicas: 3 is more than maxReplicas, 2/],
  ["a CPU target", { scaleTarget: 300 }, /scaleTarget: is percent of the requested CPU: 1 to 100, not 300/],
  [
    "a CPU target of a metric",
    {
      autoScaling: { metrics: [{ type: "Resource", resource: { name: "cpu", target: { averageUtilization: 150 } } }] },
    },
    /metrics\[0\]\.resource\.target\.averageUtilization: is percent of the requested CPU: 1 to 100, not 150/,
  ],
  ["a rate", { scaleMetric: "rps", scaleTarget: 0 }, /scaleTarget: must be at least 1/],
  ["a canary's share", { canaryTrafficPercent: 101 }, /canaryTrafficPercent: must be 0 to 100/],
  ["a logger's mode", { logger: { mode: "some" } }, /logger.mode: some is none of all, request, response/],
  ["a batch", { batcher: { maxBatchSize: 0 } }, /maxBatchSize: must be at least 1/],
  ["concurrency", { containerConcurrency: -1 }, /containerConcurrency: must not be below 0/],
])("%s is looked at", (_what, fields, message) => {
  expect(faults(service({ model: model(), ...fields }))).toEqual([expect.stringMatching(message)]);
});

test("metrics that a class does not go by are refused", () => {
  const scaled = (metric: string, annotations: Record<string, string>) =>
    faults(service({ model: model(), maxReplicas: 3, scaleMetric: metric }, {}, { annotations }));
  const by = (name: string) => ({ "serving.kserve.io/autoscalerClass": name });

  expect(scaled("cpu", by("hpa"))).toEqual([]);
  expect(scaled("rps", {})).toEqual([]);
  expect(scaled("rps", by("hpa"))).toEqual([
    expect.stringMatching(/scaleMetric: .*hpa goes by cpu or memory, not rps/),
  ]);
  expect(scaled("cpu", by("keda"))).toEqual([expect.stringMatching(/scaleMetric: .*keda goes by autoScaling/)]);
  expect(scaled("cpu", { "serving.kserve.io/metrics": "gpu" })[0]).toMatch(/metrics\]: gpu is none of cpu, memory/);
  for (const target of ["0", "101", "8.5", "many"])
    expect(scaled("cpu", { "serving.kserve.io/targetUtilizationPercentage": target })[0]).toMatch(/a whole percentage/);
});

test("stores: known ones, one way to name them, places that do not clash", () => {
  const at = (storageUri: string) => faults(service({ model: model({ storageUri }) }));
  const several = (...places: [string, string][]) =>
    faults(
      service({
        model: { modelFormat: { name: "onnx" } },
        storageUris: places.map(([uri, mountPath]) => ({ uri, mountPath })),
      }),
    );

  expect(
    ["s3://b/m", "gs://b/m", "pvc://claim/m", "models:/name@champion", "/mnt/own", "hf://org/m:1"].flatMap(at),
  ).toEqual([]);
  expect(at("s4://b/m")[0]).toMatch(/s4:\/\/ is no known store; did you mean s3:\/\/\?/);
  expect(at("hdfs://nn/m")[0]).toMatch(/use webhdfs:/);
  expect(at("https://git.example.com/team/model.git")[0]).toMatch(/git repositories are not cloned/);
  expect(at("hf://model")[0]).toMatch(/hf:\/\/ORGANIZATION\/MODEL/);
  expect(at("models:/name@a/b")[0]).toMatch(/models:\/NAME@ALIAS/);
  expect(at("pvc:///m")[0]).toMatch(/name of a claim/);
  expect(at("s3://b/../c")[0]).toMatch(/upwards/);
  expect(several(["s3://b/m", "/mnt/models/a"], ["s3://b/n", "/mnt/models/b"], ["pvc://c/x", "/other"])).toEqual([]);
  expect(several(["s3://b/m", "/mnt/a"], ["s3://b/n", "/opt/b"])[0]).toMatch(/common folder/);
  expect(several(["s3://b/m", "/mnt/a"], ["s3://b/n", "/mnt/a"])[0]).toMatch(/given twice/);
  expect(several(["s3://b/m", "/mnt/../a"])[0]).toMatch(/upwards/);
  expect(faults(service({ model: model(), storageUris: [{ uri: "s3://b/n" }] }))[0]).toMatch(/beside model.storageUri/);
});

test("canaries have names of their own and leave scaling to the stable predictor", () => {
  const canary = (more: JsonObject, trafficPercent = 20): JsonObject => ({
    trafficPercent,
    predictor: { name: "next", model: model(), ...more },
  });
  const withCanary = (...canaries: JsonObject[]) =>
    faults(service({ model: model(), name: "main" }, { canary: canaries }));

  expect(withCanary(canary({}))).toEqual([]);
  expect(withCanary(canary({ name: "main" }))[0]).toMatch(/name of another predictor/);
  expect(withCanary(canary({}), canary({ name: "" }))[0]).toMatch(/is needed/);
  expect(withCanary(canary({ maxReplicas: 3 }))[0]).toMatch(/follows from spec.predictor/);
  expect(withCanary(canary({ minReplicas: 2 }))[0]).toMatch(/not be more than spec.predictor/);
  expect(withCanary(canary({}, 60), canary({ name: "other" }, 50))[0]).toMatch(/add up to 110 %/);
  expect(faults(service({ model: model(), canaryTrafficPercent: 5 }, { canary: [canary({})] }))[0]).toMatch(
    /one of the two ways/,
  );
});

test("mode and name do not change under a running service; slips are guessed", () => {
  const mode = (name: string) => ({ annotations: { "serving.kserve.io/deploymentMode": name } });
  const old: JsonObject = { spec: { predictor: { model: model() } }, status: { deploymentMode: "Standard" } };

  expect(faults(service({ model: model() }, {}, mode("RawDeployment")), old)).toEqual([]);
  expect(faults(service({ model: model() }, {}, mode("Serverless")), old)[0]).toMatch(
    /deployed as Standard, which does not change/,
  );
  expect(faults(service({ model: model() }, {}, mode("Standart")))[0]).toMatch(/did you mean Standard\?/);
  expect(faults(service({ model: model({ protocolVersion: "v22" }) }))[0]).toMatch(/did you mean v2\?/);
  expect(faults(service({ model: model(), name: "b" }), old)[0]).toMatch(/started again/);
  expect(faults(service({ model: model() }, {}, { name: "1a" }))[0]).toMatch(/must begin with a letter/);
});

test("annotations of routes and rollouts are checked as they are written; several nodes need a model that all of them have", () => {
  const annotated = (name: string, text: string) =>
    faults(service({ model: model() }, {}, { annotations: { [`serving.argosy.dev/${name}`]: text } }));

  expect(annotated("pin", "header=X-Model")).toEqual([]);
  expect(annotated("pin", "X-Model")[0]).toMatch(/serving.argosy.dev\/pin\].*header=NAME or cookie=NAME/);
  expect(annotated("affinity", "cookie")[0]).toMatch(/cookie=NAME or header=NAME/);
  expect(annotated("shadow", "next=101")[0]).toMatch(/NAME=PERCENT/);
  expect(annotated("surge", "all")[0]).toMatch(/1 or 25%/);
  expect(annotated("rollout-gates", "[]")).toEqual([]);
  expect(annotated("rollout-gates", "P99<1")[0]).toMatch(/must be JSON like/);

  const nodes = (storageUri: string) => faults(service({ model: model({ storageUri }), workerSpec: {} }));
  expect(nodes("pvc://models/llm")).toEqual([]);
  expect(nodes("s3://models/llm")[0]).toMatch(/pvc:\/\/ or oci:\/\//);
});
