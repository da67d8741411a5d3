import { expect, test } from "vitest";
import type { Informer, InformerSet, Key } from "../../../../kernel/control/types.js";
import type { Kind, KubeObject } from "../../../../kernel/kinds/index.js";
import { NodeKind } from "../../../../kernel/kinds/index.js";
import { InferenceServiceKind } from "../inference-service-kind.js";
import { LocalModelCacheKind, LocalModelNamespaceCacheKind, LocalModelNodeGroupKind } from "../storage-kinds.js";
import { cachesFor, planIn, usersOf } from "./world.js";

/** Informers over objects that stay as they are; an index is looked at once for each object. */
function informersOf(objects: ReadonlyMap<Kind, readonly KubeObject[]>): InformerSet {
  const made = new Map<Kind, unknown>();
  const informer = (kind: Kind) => {
    const known = made.get(kind);
    if (known !== undefined) return known;
    const all = objects.get(kind) ?? [];
    const indexes = new Map<string, Map<string, KubeObject[]>>();
    const one: Pick<Informer<KubeObject>, "list" | "get" | "addIndex" | "byIndex"> = {
      list: () => all,
      get: ({ name }: Key) => all.find(({ metadata }) => metadata.name === name),
      addIndex(index, values) {
        if (indexes.has(index)) return;
        const found = new Map<string, KubeObject[]>();
        for (const object of all)
          for (const value of values(object)) found.set(value, [...(found.get(value) ?? []), object]);
        indexes.set(index, found);
      },
      byIndex: (index, value) => indexes.get(index)?.get(value) ?? [],
    };
    made.set(kind, one);
    return one;
  };
  return { informer, close: () => Promise.resolve() } as unknown as InformerSet;
}

test("who uses which model costs each service once, whatever the number of models; plans are made once between changes", () => {
  const count = 300;
  let looks = 0;
  const services = Array.from({ length: count }, (_, index) => ({
    apiVersion: "serving.kserve.io/v1beta1",
    kind: "InferenceService",
    metadata: { name: `s${index}`, namespace: "team", uid: `s${index}`, resourceVersion: "1" },
    get spec() {
      looks += 1;
      return { predictor: { model: { modelFormat: { name: "onnx" }, storageUri: `hf://org/m${index}/1` } } };
    },
  }));
  const caches = Array.from({ length: count }, (_, index) => ({
    apiVersion: "serving.kserve.io/v1alpha1",
    kind: "LocalModelCache",
    metadata: { name: `m${index}`, uid: `m${index}`, resourceVersion: "1" },
    spec: { sourceModelUri: `hf://org/m${index}`, modelSize: "1", nodeGroups: ["fast"] },
  }));
  const group = {
    metadata: { name: "fast" },
    spec: { storageLimit: "1Ti", persistentVolumeSpec: { local: { path: "/m" } }, persistentVolumeClaimSpec: {} },
  };
  const node = { metadata: { name: "n1", labels: {} } };
  const informers = informersOf(
    new Map<Kind, readonly KubeObject[]>([
      [InferenceServiceKind, services as unknown as KubeObject[]],
      [LocalModelCacheKind, caches as unknown as KubeObject[]],
      [LocalModelNamespaceCacheKind, []],
      [LocalModelNodeGroupKind, [group] as unknown as KubeObject[]],
      [NodeKind, [node] as unknown as KubeObject[]],
    ]),
  );
  const plan = planIn(informers);
  const users = plan.models.map((model) => usersOf(model, planIn(informers), { cluster: { informers } }));

  expect(planIn(informers)).toBe(plan);
  expect(
    users.every(
      ([user, ...others], index) => user?.name === plan.models[index]?.name.replace("m", "s") && others.length === 0,
    ),
  ).toBe(true);
  // Once for the index, once as a candidate.
  expect(looks).toBeLessThanOrEqual(3 * count);
  expect(cachesFor(services[7] as unknown as KubeObject, LocalModelCacheKind, informers)).toEqual([
    { namespace: "", name: "m7" },
  ]);
});
