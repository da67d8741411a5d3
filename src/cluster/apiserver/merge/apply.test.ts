import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { CustomType } from "../registry/custom-type.js";
import { createRegistry } from "../registry/index.js";
import { nativeTypes } from "../registry/native-resources.js";
import type { MergeSchema } from "../types.js";
import { compareObjects } from "./compare.js";
import { overlaps, parseFieldsV1, toFieldsV1 } from "./field-set.js";

function mergeOf(group: string, version: string, plural: string): MergeSchema {
  const type = createRegistry().find(group, version, plural);
  if (type === undefined) throw new Error(`${plural} is not served`);
  return type.merge;
}

const by = (manager: string, extra: { force?: boolean; subresource?: string; now?: string } = {}) => ({
  manager,
  subresource: "",
  now: "2026-01-01T00:00:00Z",
  force: false,
  ...extra,
});
const configMaps = mergeOf("", "v1", "configmaps");
const deployments = mergeOf("apps", "v1", "deployments");
const config = (data: JsonObject): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "c" },
  data,
});

function managers(object: JsonObject): Record<string, Json | undefined> {
  const metadata = object["metadata"] as JsonObject;
  const entries = (metadata["managedFields"] ?? []) as JsonObject[];
  return Object.fromEntries(
    entries.map((entry) => [`${entry["manager"] as string}/${entry["operation"] as string}`, entry["fieldsV1"]]),
  );
}

test("a field that is no longer applied goes, unless someone else owns it", () => {
  const first = configMaps.apply(undefined, config({ a: "1", b: "2" }), by("one"));
  const second = configMaps.apply(first, config({ b: "2" }), by("two"));
  const third = configMaps.apply(second, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" } }, by("one"));

  expect(third["data"]).toEqual({ b: "2" });
  expect(managers(third)).toEqual({ "two/Apply": { "f:data": { "f:b": {} } } });
});

test("refuses to take another manager's field, and names it", () => {
  const live = configMaps.apply(undefined, config({ a: "1" }), by("one"));

  expect(() => configMaps.apply(live, config({ a: "2" }), by("two"))).toThrow(
    'Apply failed with 1 conflict: conflict with "one": .data.a',
  );
  expect(managers(configMaps.apply(live, config({ a: "2" }), by("two", { force: true })))).toEqual({
    "two/Apply": { "f:data": { "f:a": {} } },
  });
});

test("an update owns what it changed, with the map around what it made", () => {
  const made = config({ a: "1" });
  configMaps.trackUpdate(made, undefined, by("editor"));

  expect(managers(made)).toEqual({ "editor/Update": { "f:data": { ".": {}, "f:a": {} } } });
  expect(() => configMaps.apply(made, config({ a: "2" }), by("one"))).toThrow(
    'conflict with "editor" using v1: .data.a',
  );
});

test("an update takes fields from an apply, and a removed field from everyone", () => {
  const live = configMaps.apply(undefined, config({ a: "1", b: "2" }), by("one"));
  const next = { ...live, data: { a: "9" } };
  configMaps.trackUpdate(next, live, by("editor"));

  expect(managers(next)).toEqual({ "editor/Update": { "f:data": { "f:a": {} } } });
});

test("giving up a field records nothing that was not applied", () => {
  const annotated = (annotations: JsonObject): JsonObject => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "c", annotations },
  });
  const live = configMaps.apply(undefined, annotated({ a: "1", b: "2" }), by("one"));
  const next = configMaps.apply(live, annotated({ a: "1" }), by("one"));

  expect(managers(next)).toEqual({ "one/Apply": { "f:metadata": { "f:annotations": { "f:a": {} } } } });
});

test("applying the same again changes nothing, not even times", () => {
  const live = configMaps.apply(undefined, config({ a: "1" }), by("one"));

  expect(configMaps.apply(live, config({ a: "1" }), by("one", { now: "2027-01-01T00:00:00Z" }))).toEqual(live);
});

const deployment = (containers: JsonObject[], extra: JsonObject = {}): JsonObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "d" },
  spec: { ...extra, template: { spec: { containers } } },
});

test("list items belong to whoever applied them", () => {
  const first = deployments.apply(
    undefined,
    deployment([{ name: "main", image: "a", env: [{ name: "X", value: "1" }] }]),
    by("one"),
  );
  const second = deployments.apply(first, deployment([{ name: "side", image: "b" }]), by("two"));
  const third = deployments.apply(second, deployment([{ name: "main", image: "a2" }]), by("one"));
  const names = (object: JsonObject): unknown => {
    const spec = ((object["spec"] as JsonObject)["template"] as JsonObject)["spec"] as JsonObject;
    return (spec["containers"] as JsonObject[]).map(({ name, image, env }) => ({ name, image, env }));
  };

  expect(names(third)).toEqual([
    { name: "main", image: "a2", env: undefined },
    { name: "side", image: "b", env: undefined },
  ]);
  expect(managers(second)["two/Apply"]).toEqual({
    "f:spec": {
      "f:template": { "f:spec": { "f:containers": { 'k:{"name":"side"}': { ".": {}, "f:image": {}, "f:name": {} } } } },
    },
  });
});

test("a status that is sent to the resource itself is neither applied nor owned", () => {
  const applied = { ...deployment([], { replicas: 1 }), status: { replicas: 7 } };
  const result = deployments.apply(undefined, applied, by("one"));

  expect(managers(result)["one/Apply"]).not.toHaveProperty("f:status");
});

test("unknown fields and repeated items are refused in upstream's words", () => {
  expect(() => configMaps.apply(undefined, { ...config({}), bogus: 1 }, by("one"))).toThrow(
    "failed to create typed patch object (/c; /v1, Kind=ConfigMap): .bogus: field not declared in schema",
  );
  expect(() => deployments.apply(undefined, deployment([{ name: "a" }, { name: "a" }]), by("one"))).toThrow(
    '.spec.template.spec.containers: duplicate entries for key [name="a"]',
  );
});

const box = new CustomType({
  group: "example.com",
  version: "v1",
  plural: "boxes",
  singular: "box",
  kind: "Box",
  listKind: "BoxList",
  namespaced: true,
  shortNames: [],
  categories: [],
  storageVersion: "v1",
  schema: {
    type: "object",
    properties: {
      map: { type: "object", additionalProperties: { type: "string" } },
      set: { type: "array", items: { type: "string" }, "x-kubernetes-list-type": "set" },
      list: {
        type: "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
        items: { type: "object", required: ["k"], properties: { k: { type: "string" }, v: { type: "integer" } } },
      },
      whole: { type: "array", items: { type: "string" } },
    },
  },
  storageSchema: { type: "object" },
  status: false,
  scale: undefined,
  columns: [],
  selectableFields: [],
  deprecation: undefined,
});

const letters = fc.constantFrom("a", "b", "c");
const boxes = fc
  .record(
    {
      map: fc.dictionary(letters, letters, { minKeys: 1 }),
      set: fc.uniqueArray(letters, { minLength: 1 }),
      list: fc.uniqueArray(fc.record({ k: letters, v: fc.integer({ min: 0, max: 2 }) }), {
        selector: (item) => item.k,
        minLength: 1,
      }),
      whole: fc.array(letters, { minLength: 1 }),
    },
    { requiredKeys: [] },
  )
  .map((body): JsonObject => ({ apiVersion: "example.com/v1", kind: "Box", metadata: { name: "b" }, ...body }));

const bodyOf = (object: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(object).filter(([field]) => !["apiVersion", "kind", "metadata"].includes(field)));

test("what one manager applies is what is there (property)", () => {
  fc.assert(
    fc.property(fc.array(boxes, { minLength: 1, maxLength: 4 }), (steps) => {
      let live: JsonObject | undefined;
      for (const step of steps) live = box.merge.apply(live, step, by("one"));
      const last = bodyOf(steps.at(-1) ?? {});
      const sorted = (value: JsonObject): JsonObject => ({
        ...value,
        ...(Array.isArray(value["set"]) ? { set: value["set"].map(String).toSorted((a, b) => (a < b ? -1 : 1)) } : {}),
      });
      expect(sorted(bodyOf(live ?? {}))).toEqual(sorted(last));
    }),
  );
});

test("a forced apply always gets its fields, and two managers never lose each other's others (property)", () => {
  fc.assert(
    fc.property(boxes, boxes, (mine, theirs) => {
      const live = box.merge.apply(undefined, theirs, by("two"));
      const merged = box.merge.apply(live, mine, by("one", { force: true }));
      const again = box.merge.apply(merged, mine, by("one"));

      expect(again).toEqual(merged);
      // What only the other manager wanted is still there.
      for (const key of Object.keys((theirs["map"] ?? {}) as JsonObject)) expect(merged["map"]).toHaveProperty([key]);
      for (const item of (theirs["set"] ?? []) as Json[]) expect(merged["set"]).toContain(item);
      // Giving everything up leaves what the other wants.
      const left = box.merge.apply(
        merged,
        { apiVersion: "example.com/v1", kind: "Box", metadata: { name: "b" } },
        by("one"),
      );
      for (const item of (theirs["set"] ?? []) as Json[]) expect(left["set"]).toContain(item);
    }),
  );
});

test("FieldsV1 survive being read and written (property)", () => {
  fc.assert(
    fc.property(boxes, (object) => {
      const made = structuredClone(object);
      box.merge.trackUpdate(made, undefined, by("x"));
      const fields = managers(made)["x/Update"] ?? {};
      expect(toFieldsV1(parseFieldsV1(fields))).toEqual(fields);
    }),
  );
});

test("FieldsV1 overlap a set as what they are parsed to does (property)", () => {
  const fieldsOf = (of: JsonObject): Json => {
    const made = structuredClone(of);
    box.merge.trackUpdate(made, undefined, by("x"));
    return managers(made)["x/Update"] ?? {};
  };
  fc.assert(
    fc.property(boxes, boxes, (one, two) => {
      const set = parseFieldsV1(fieldsOf(two));
      expect(overlaps(fieldsOf(one), set)).toBe(!parseFieldsV1(fieldsOf(one)).intersection(set).isEmpty);
    }),
  );
});

test("objects that are equal compare as equal (property)", () => {
  fc.assert(
    fc.property(fc.dictionary(letters, letters), (data) => {
      const { shape } = nativeTypes().find((type) => type.plural === "configmaps") ?? {};
      if (shape === undefined) throw new Error("configmaps have a shape");
      const comparison = compareObjects(shape, config(data), config({ ...data }));
      expect([comparison.added.isEmpty, comparison.modified.isEmpty, comparison.removed.isEmpty]).toEqual([
        true,
        true,
        true,
      ]);
    }),
  );
});
