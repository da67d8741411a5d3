import { expect, test } from "vitest";
import type { JsonObject, Node } from "../../../../kernel/kinds/index.js";
import type { InferenceService } from "../inference-service-kind.js";
import type { LocalModelCache, LocalModelNodeGroup } from "../storage-kinds.js";
import { matchModel } from "./match.js";
import { modelsOfNode, planFaults, planModels, refusedSpace, wantedOf } from "./plan.js";

const cache = (name: string, uri: string, more: JsonObject = {}, metadata: JsonObject = {}) =>
  ({
    kind: metadata["namespace"] === undefined ? "LocalModelCache" : "LocalModelNamespaceCache",
    metadata: { name, creationTimestamp: "2026-01-01T00:00:00Z", ...metadata },
    spec: { sourceModelUri: uri, modelSize: "1Gi", nodeGroups: ["gpu"], ...more },
  }) as unknown as LocalModelCache;
const group = (name: string, storageLimit: string, volume: JsonObject = {}) =>
  ({
    metadata: { name },
    spec: {
      storageLimit,
      persistentVolumeSpec: {
        local: { path: "/models" },
        nodeAffinity: {
          required: { nodeSelectorTerms: [{ matchExpressions: [{ key: "gpu", operator: "In", values: ["a", "b"] }] }] },
        },
        ...volume,
      },
      persistentVolumeClaimSpec: {},
    },
  }) as unknown as LocalModelNodeGroup;
const node = (name: string, labels: Record<string, string> = {}) => ({ metadata: { name, labels } }) as unknown as Node;
const service = (annotations: Record<string, string> = {}, namespace = "team") =>
  ({ metadata: { name: "m", namespace, annotations } }) as unknown as InferenceService;

const nodes = [node("n1", { gpu: "a" }), node("n2", { gpu: "b" }), node("n3")];

test("a group's nodes are those of its volume's affinity; older models come first until its limit", () => {
  const caches = [
    cache("young", "s3://b/young", {}, { creationTimestamp: "2026-01-03T00:00:00Z" }),
    cache("old", "s3://b/old"),
    cache("same", "s3://b/old", {}, { creationTimestamp: "2026-01-02T00:00:00Z" }),
    cache("large", "s3://b/large", { modelSize: "3Gi" }, { creationTimestamp: "2026-01-02T00:00:00Z" }),
  ];
  const plan = planModels(caches, [group("gpu", "2Gi")], nodes);

  expect(modelsOfNode(plan, "n1").map(({ model }) => model.name)).toEqual(["old", "young"]);
  expect(modelsOfNode(plan, "n3")).toEqual([]);
  expect(plan.groups.get("gpu")).toMatchObject({ usedBytes: 2 * 2 ** 30, limitBytes: 2 * 2 ** 30 });
  expect(planFaults(plan, wantedOf(caches[3] as LocalModelCache))).toEqual([
    { reason: "StorageLimitExceeded", message: expect.stringContaining("3221225472 bytes do not fit") },
  ]);
});

const kept = (of: LocalModelNodeGroup, places: JsonObject, annotations: Record<string, string> = {}) =>
  ({ ...of, metadata: { ...of.metadata, annotations }, status: { places } }) as unknown as LocalModelNodeGroup;
const Gi = 2 ** 30;

test("what has a place keeps it: an older model that grows, or comes back, pushes none off; a smaller size gives none back", () => {
  const grown = cache("old", "s3://b/old", { modelSize: "3Gi" });
  const back = cache("back", "s3://b/back", {}, { creationTimestamp: "2026-01-01T00:00:00Z" });
  const young = cache("young", "s3://b/young", {}, { creationTimestamp: "2026-01-03T00:00:00Z" });
  const [old, other] = [wantedOf(grown).key, wantedOf(young).key];
  const full = planModels([grown, back, young], [kept(group("gpu", "2Gi"), { [old]: "1Gi", [other]: "1Gi" })], nodes);
  const wide = planModels([grown, young], [kept(group("gpu", "4Gi"), { [old]: "1Gi", [other]: "2Gi" })], nodes);
  const narrow = planModels([young], [kept(group("gpu", "1Mi"), { [other]: String(2 * Gi) })], nodes);

  expect(modelsOfNode(full, "n1").map(({ model }) => [model.name, model.bytes])).toEqual([
    ["old", Gi],
    ["young", Gi],
  ]);
  expect(planFaults(full, wantedOf(grown))).toEqual([]);
  expect(refusedSpace(full, wantedOf(grown))?.message).toMatch(
    /3221225472 bytes do not fit beside the 1073741824 of other models .*it keeps its place of 1073741824 bytes/,
  );
  expect(planFaults(full, wantedOf(back))[0]?.reason).toBe("StorageLimitExceeded");
  expect(wide.groups.get("gpu")?.places.get(old)).toBe(Gi);
  expect(narrow.groups.get("gpu")).toMatchObject({ usedBytes: 2 * Gi });
  expect(modelsOfNode(narrow, "n1")).toHaveLength(1);
});

test("the models of one namespace take half of a group at most, or what the group says; those of all namespaces may have it all", () => {
  const of = (name: string, namespace: string) => cache(name, `s3://b/${name}`, {}, { namespace });
  const caches = [of("a", "team"), of("b", "team"), of("c", "team"), of("d", "others"), cache("e", "s3://b/e")];
  const placed = (one: LocalModelNodeGroup) =>
    modelsOfNode(planModels(caches, [one], nodes), "n1").map(({ model }) => model.name);
  const limited = group("gpu", "4Gi");
  const [, , third] = caches;

  expect(placed(limited).sort()).toEqual(["a", "b", "d", "e"]);
  expect(placed(kept(limited, {}, { "serving.argosy.dev/storage-limit-per-namespace": "1Gi" })).sort()).toEqual([
    ...["a", "d", "e"],
  ]);
  expect(planFaults(planModels(caches, [limited], nodes), wantedOf(third as LocalModelCache))[0]).toEqual({
    reason: "NamespaceLimitExceeded",
    message: expect.stringContaining("beside the 2147483648 of its namespace within the 2147483648 that one namespace"),
  });
});

test("a model of less than nothing makes no room for others", () => {
  const caches = [
    cache("a-none", "s3://b/none", { modelSize: "-1Ti" }),
    cache("large", "s3://b/large", { modelSize: "3Gi" }),
  ];
  const plan = planModels(caches, [group("gpu", "2Gi")], nodes);

  expect(plan.groups.get("gpu")?.usedBytes).toBe(0);
  expect(modelsOfNode(plan, "n1").map(({ model }) => model.name)).toEqual(["a-none"]);
});

test("what cannot be placed says why: no such group, no folder, no node", () => {
  const of = (groups: LocalModelNodeGroup[]) => {
    const one = cache("m", "s3://b/m");
    return planFaults(planModels([one], groups, nodes), wantedOf(one))[0]?.reason;
  };

  expect(of([])).toBe("GroupNotFound");
  expect(of([group("gpu", "2Gi", { local: undefined, csi: { driver: "x" } } as unknown as JsonObject)])).toBe(
    "UnsupportedVolume",
  );
  const elsewhere = {
    nodeAffinity: {
      required: { nodeSelectorTerms: [{ matchFields: [{ key: "metadata.name", operator: "In", values: ["n9"] }] }] },
    },
  };
  expect(of([group("gpu", "2Gi", elsewhere)])).toBe("NoNodes");
  expect(of([group("gpu", "2Gi")])).toBeUndefined();
});

test("a service is served from what its URI is or lies below, the nearest and its namespace's first", () => {
  const plan = planModels(
    [
      cache("all", "hf://org/model"),
      cache("deep", "hf://org/model/onnx/"),
      cache("own", "hf://org/model", {}, { namespace: "team" }),
      cache("others", "s3://b/m", {}, { namespace: "others" }),
    ],
    [group("gpu", "100Gi"), group("cpu", "1Gi")],
    nodes,
  );
  const matched = (uri: string, of = service()) => {
    const found = matchModel(of, uri, plan);
    return found === undefined ? undefined : `${found.model.name}:${found.subPath}`;
  };

  expect(matched("hf://org/model")).toBe("own:");
  expect(matched("hf://org/model/1", service({}, "elsewhere"))).toBe("all:1");
  expect(matched("hf://org/model/onnx/1/", service({}, "elsewhere"))).toBe("deep:1");
  expect(matched("hf://org/model-2")).toBeUndefined();
  expect(matched("s3://b/m")).toBeUndefined();
  expect(matched("hf://org/model", service({ "serving.kserve.io/disable-localmodel": "true" }))).toBeUndefined();
  expect(matched("hf://org/model", service({ "serving.kserve.io/nodegroup": "cpu" }))).toBeUndefined();
  expect(matched("hf://org/model", service({ "serving.kserve.io/nodegroup": "gpu" }))).toBe("own:");
});

test("a model of one namespace is in no folder of another's", () => {
  const keys = [
    cache("m", "s3://b/m"),
    cache("m", "s3://b/m", {}, { namespace: "a" }),
    cache("m", "s3://b/m", {}, { namespace: "b" }),
  ];

  expect(new Set(keys.map((one) => wantedOf(one).key)).size).toBe(3);
});
