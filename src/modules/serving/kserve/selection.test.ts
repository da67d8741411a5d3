import { expect, test } from "vitest";
import type { Runtime } from "./runtime-kinds.js";
import { type Candidate, type ModelRequest, selectRuntime } from "./selection.js";

const ask = (more: Partial<ModelRequest> = {}): ModelRequest => ({
  format: "sklearn",
  protocol: "v1",
  multiModel: false,
  multiNode: false,
  ...more,
});

const runtime = (name: string, spec: Runtime["spec"], at = "2026-01-01T00:00:00Z"): Runtime =>
  ({
    apiVersion: "serving.kserve.io/v1alpha1",
    kind: "ServingRuntime",
    metadata: { name, creationTimestamp: at },
    spec,
  }) as unknown as Runtime;
const sklearn = (more: object = {}) => [{ name: "sklearn", version: "1", autoSelect: true, ...more }];
const inCluster = (one: Runtime): Candidate => ({ runtime: one, scope: "cluster" });
const inNamespace = (one: Runtime): Candidate => ({ runtime: one, scope: "namespace" });
const chosen = (request: ModelRequest, ...candidates: Candidate[]) =>
  selectRuntime(request, candidates).chosen?.runtime.metadata.name;

test("the namespace's runtimes win as a block, whatever their priority", () => {
  const own = inNamespace(runtime("own", { supportedModelFormats: sklearn() }));
  const shared = inCluster(runtime("shared", { supportedModelFormats: sklearn({ priority: 9 }) }));

  const { chosen: winner, losers } = selectRuntime(ask(), [shared, own]);

  expect(winner?.runtime.metadata.name).toBe("own");
  expect(losers).toEqual([
    {
      name: "ClusterServingRuntime shared",
      reason: "comes after ServingRuntime own: runtimes of the namespace come first",
    },
  ]);
});

test("within a scope priority, then the simplest protocol, then the newest, then the name decide", () => {
  const make = (name: string, more: object, protocols: string[], at?: string) =>
    inCluster(runtime(name, { supportedModelFormats: sklearn(more), protocolVersions: protocols }, at));

  expect(
    chosen(ask({ protocol: "v2" }), make("a", { priority: 1 }, ["v1", "v2"]), make("b", { priority: 2 }, ["v2"])),
  ).toBe("b");
  expect(chosen(ask({ protocol: "v2" }), make("a", {}, ["v2"]), make("b", {}, ["v1", "v2"]))).toBe("b");
  expect(chosen(ask({ protocol: "v2" }), make("a", {}, ["v2"]), make("b", { priority: 1 }, ["v2"]))).toBe("b");
  expect(chosen(ask(), make("a", {}, ["v1"]), make("b", {}, ["v1"], "2026-02-01T00:00:00Z"))).toBe("b");
  expect(chosen(ask(), make("b", {}, ["v1"]), make("a", {}, ["v1"]))).toBe("a");
});

test("formats match by name, and by version where one is asked for", () => {
  const one = inCluster(runtime("one", { supportedModelFormats: sklearn() }));

  expect(chosen(ask(), one)).toBe("one");
  expect(chosen(ask({ version: "1" }), one)).toBe("one");
  expect(selectRuntime(ask({ version: "2" }), [one]).fault).toEqual({
    reason: "NoSupportingRuntime",
    message: "no runtime serves sklearn 2 by v1: ClusterServingRuntime one supports sklearn 1, not 2",
  });
});

test("a runtime without autoSelect is used where it is named, a disabled one never", () => {
  const shy = inCluster(runtime("shy", { supportedModelFormats: [{ name: "sklearn" }] }));
  const off = inCluster(runtime("off", { supportedModelFormats: sklearn(), disabled: true }));

  expect(chosen(ask(), shy)).toBeUndefined();
  expect(chosen(ask({ runtime: "shy" }), shy)).toBe("shy");
  expect(selectRuntime(ask({ runtime: "off" }), [off]).fault?.reason).toBe("RuntimeDisabled");
  expect(selectRuntime(ask({ runtime: "gone" }), [shy]).fault).toEqual({
    reason: "RuntimeNotRecognized",
    message: "there is no ServingRuntime or ClusterServingRuntime gone; there are shy",
  });
});

test("protocol, many models and several nodes are told as reasons", () => {
  const v2 = inCluster(runtime("v2", { supportedModelFormats: sklearn(), protocolVersions: ["v2"] }));
  const many = inCluster(runtime("many", { supportedModelFormats: sklearn(), multiModel: true }));
  const nodes = inCluster(runtime("nodes", { supportedModelFormats: sklearn(), workerSpec: {} }));

  expect(selectRuntime(ask(), [v2, many, nodes]).losers.map(({ reason }) => reason)).toEqual([
    "does not speak v1, but v2",
    "is for many models a pod",
    "is for several nodes",
  ]);
  expect(chosen(ask({ multiNode: true }), nodes)).toBe("nodes");
});

test("a model that is not given goes to a runtime for many, or to the one that is named, whose image may have it", () => {
  const one = inCluster(runtime("one", { supportedModelFormats: sklearn() }));
  const many = inCluster(runtime("many", { supportedModelFormats: sklearn(), multiModel: true }));

  expect(chosen(ask({ multiModel: true }), one, many)).toBe("many");
  expect(chosen(ask({ multiModel: true, runtime: "one" }), one, many)).toBe("one");
  expect(chosen(ask({ runtime: "many" }), one, many)).toBeUndefined();
  expect(selectRuntime(ask({ multiModel: true }), [one]).fault?.message).toContain("none is given (storageUri)");
});

test("a format that nobody here can serve is refused with what to do", () => {
  expect(selectRuntime(ask({ format: "tensorflow" }), []).fault?.message).toMatch(
    /no runtime supports the format.*convert the model to ONNX/,
  );
});

test("a name that is nearly one is answered with it", () => {
  const one = inCluster(runtime("one-modelserver", { supportedModelFormats: sklearn() }));

  expect(selectRuntime(ask({ runtime: "one-modelservr" }), [one]).fault?.message).toMatch(
    /there are one-modelserver; did you mean one-modelserver\?$/,
  );
  expect(selectRuntime(ask({ format: "sklern" }), [one]).fault?.message).toMatch(
    /there are runtimes for sklearn; did you mean sklearn\?$/,
  );
});
