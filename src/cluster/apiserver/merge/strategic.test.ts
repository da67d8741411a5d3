import fc from "fast-check";
import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { createRegistry } from "../registry/index.js";

const merge = createRegistry().find("", "v1", "pods")?.merge;
const patch = (current: JsonObject, change: JsonObject): JsonObject => merge?.strategicMerge(current, change) ?? {};
const pod = (containers: JsonObject[]): JsonObject => ({ spec: { containers } });

test("lists merge by their key; what is new comes first where the server's order does not say", () => {
  expect(patch(pod([{ name: "a", image: "1" }]), pod([{ name: "a", image: "2" }, { name: "b" }]))).toEqual(
    pod([{ name: "a", image: "2" }, { name: "b" }]),
  );
  expect(patch(pod([{ name: "a" }]), pod([{ name: "b" }]))).toEqual(pod([{ name: "b" }, { name: "a" }]));
});

test("directives delete, replace and merge", () => {
  const current = pod([{ name: "a", env: [{ name: "X", value: "1" }] }, { name: "b" }]);

  expect(patch(current, pod([{ name: "b", $patch: "delete" }]))).toEqual(
    pod([{ name: "a", env: [{ name: "X", value: "1" }] }]),
  );
  expect(patch(current, pod([{ $patch: "replace" }, { name: "c" }]))).toEqual(pod([{ name: "c" }]));
  expect(patch({ metadata: { labels: { a: "1" } } }, { metadata: { labels: { $patch: "replace", b: "2" } } })).toEqual({
    metadata: { labels: { b: "2" } },
  });
  expect(patch({ metadata: { labels: { a: "1" } } }, { metadata: { labels: { $patch: "delete" } } })).toEqual({
    metadata: { labels: {} },
  });
});

test("null removes, retainKeys keeps nothing else", () => {
  expect(patch({ metadata: { labels: { a: "1", b: "2" } } }, { metadata: { labels: { a: null } } })).toEqual({
    metadata: { labels: { b: "2" } },
  });
  expect(
    patch(
      { spec: { volumes: [{ name: "v", emptyDir: {} }] } },
      { spec: { volumes: [{ $retainKeys: ["name", "secret"], name: "v", secret: { secretName: "s" } }] } },
    ),
  ).toEqual({
    spec: { volumes: [{ name: "v", secret: { secretName: "s" } }] },
  });
});

test("lists of texts grow, shrink and take an order", () => {
  const current = { metadata: { finalizers: ["a", "b"] } };

  expect(patch(current, { metadata: { finalizers: ["c"] } })).toEqual({ metadata: { finalizers: ["c", "a", "b"] } });
  expect(patch(current, { metadata: { "$deleteFromPrimitiveList/finalizers": ["a"] } })).toEqual({
    metadata: { finalizers: ["b"] },
  });
  expect(patch(current, { metadata: { "$setElementOrder/finalizers": ["b", "a"] } })).toEqual({
    metadata: { finalizers: ["b", "a"] },
  });
});

test("contradictions are refused in upstream's words", () => {
  expect(() => patch({}, { metadata: { labels: { $patch: "explode" } } })).not.toThrow();
  expect(() => patch({ metadata: { labels: {} } }, { metadata: { labels: { $patch: "explode" } } })).toThrow(
    "unknown patch type: explode in map: map[$patch:explode]",
  );
  expect(() => patch(pod([{ name: "a" }]), pod([{ image: "x" }]))).toThrow(
    "map: map[image:x] does not contain declared merge key: name",
  );
});

const containers = fc
  .uniqueArray(fc.record({ name: fc.constantFrom("a", "b", "c", "d"), image: fc.constantFrom("1", "2") }), {
    selector: (item) => item.name,
  })
  .map((list): JsonObject => pod(list));

test("a patch is idempotent and leaves what it does not name (property)", () => {
  fc.assert(
    fc.property(containers, containers, (current, change) => {
      const once = patch(current, change);
      const listOf = (object: JsonObject): JsonObject[] => (object["spec"] as { containers: JsonObject[] }).containers;

      expect(patch(once, change)).toEqual(once);
      const images = new Map(listOf(once).map((item) => [item["name"], item["image"]]));
      for (const item of listOf(change)) expect(images.get(item["name"])).toBe(item["image"]);
      const named = new Set(listOf(change).map((item) => item["name"]));
      for (const item of listOf(current))
        if (!named.has(item["name"])) expect(images.get(item["name"])).toBe(item["image"]);
    }),
  );
});
