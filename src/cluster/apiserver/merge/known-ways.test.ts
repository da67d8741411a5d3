import fc from "fast-check";
import { expect, test } from "vitest";
import { ApiError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { nativeTypes } from "../registry/native-resources.js";
import type { Shape } from "../registry/shape.js";
import { ShapeBuilder } from "../registry/shape.js";
import { differAlike, speakAlike } from "./alike.js";
import { compareObjects, fieldsOf } from "./compare.js";
import { createMerge, type MergeOptions } from "./create.js";
import { type FieldSet, toFieldsV1 } from "./field-set.js";

const box: Shape = new ShapeBuilder({}, { native: false }).shape({
  type: "object",
  properties: {
    apiVersion: { type: "string" },
    kind: { type: "string" },
    metadata: { type: "object", properties: { name: { type: "string" } } },
    map: { type: "object", additionalProperties: { type: "string" } },
    set: { type: "array", items: { type: "string" }, "x-kubernetes-list-type": "set" },
    list: {
      type: "array",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["k", "l"],
      items: {
        type: "object",
        required: ["k"],
        properties: { k: { type: "string" }, l: { type: "string", default: "a" }, v: { type: "integer" } },
      },
    },
    whole: { type: "array", items: { type: "string" } },
    open: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    status: { type: "object", properties: { n: { type: "integer" } } },
  },
});

const letters = fc.constantFrom("a", "b");
const anything = fc.oneof(letters, fc.constant(null), fc.constant({}), fc.constant([]), fc.constant({ a: { b: "c" } }));
const body = fc.record(
  {
    map: fc.oneof(fc.dictionary(letters, letters), fc.constant(null)),
    set: fc.uniqueArray(letters),
    list: fc.array(fc.record({ k: letters, l: letters, v: fc.nat(1) }, { requiredKeys: ["k"] }), { maxLength: 3 }),
    whole: fc.array(letters, { maxLength: 2 }),
    open: fc.dictionary(fc.constantFrom("a", "b", "constructor"), anything),
    status: fc.record({ n: fc.nat(1) }),
  },
  { requiredKeys: [] },
);
const boxes = body.map(
  (members): JsonObject => ({
    apiVersion: "example.com/v1",
    kind: "Box",
    metadata: { name: "b" },
    ...(members as JsonObject),
  }),
);
const deployments = fc
  .record({
    labels: fc.dictionary(letters, letters),
    replicas: fc.nat(1),
    containers: fc.uniqueArray(
      fc.record(
        {
          name: letters,
          image: letters,
          ports: fc.array(fc.record({ containerPort: fc.nat(1), protocol: fc.constantFrom("TCP", "UDP") })),
          env: fc.array(fc.record({ name: letters, value: letters }, { requiredKeys: ["name"] }), { maxLength: 2 }),
        },
        { requiredKeys: ["name"] },
      ),
      { selector: ({ name }) => name },
    ),
  })
  .map(
    ({ labels, replicas, containers }): JsonObject => ({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "d", labels },
      spec: { replicas, template: { metadata: { labels }, spec: { containers: containers as Json[] } } },
    }),
  );

const deploymentShape = nativeTypes().find((type) => type.plural === "deployments")?.shape ?? box;
const cases = [
  { name: "Box", shape: box, objects: boxes },
  { name: "Deployment", shape: deploymentShape, objects: deployments },
] as const;

const written = (sets: Record<"added" | "modified" | "removed", FieldSet>): Json[] =>
  [sets.added, sets.modified, sets.removed].map(toFieldsV1);

/** The same with some values changed, and now and then a member less. */
function near(value: Json | undefined, seed: { at: number }): Json | undefined {
  seed.at = (seed.at * 1103515245 + 12345) % 2 ** 31;
  const chance = (seed.at >> 8) % 100;
  if (chance < 2) return undefined;
  if (typeof value === "string" && value.length === 1) return chance < 30 ? (value === "a" ? "b" : "a") : value;
  if (typeof value === "number") return chance < 30 ? 1 - value : value;
  if (Array.isArray(value)) return value.map((item) => near(item, seed)).filter((item) => item !== undefined);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, near(member, seed)]));
}

const nearObject = (value: JsonObject, at: number): JsonObject => (near(value, { at }) ?? {}) as JsonObject;

test.each(cases)("comparisons of a $name that go alike find the same (property)", ({ shape, objects }) => {
  let alike = 0;
  fc.assert(
    fc.property(objects, objects, fc.nat(), fc.boolean(), (first, now, seed, isNew) => {
      const old = isNew ? {} : first;
      const [other, then] = [nearObject(old, seed), nearObject(now, seed + 1)];
      if (!differAlike(shape, { old, now }, { old: other, now: then })) return;
      alike += 1;
      expect(written(compareObjects(shape, old, now))).toEqual(written(compareObjects(shape, other, then)));
    }),
    { numRuns: 1500 },
  );
  expect(alike).toBeGreaterThan(30);
});

test.each(cases)("configurations of a $name that speak alike speak of the same fields (property)", (of) => {
  const { shape, objects } = of;
  let alike = 0;
  fc.assert(
    fc.property(objects, fc.nat(), (one, seed) => {
      const other = nearObject(one, seed);
      if (!speakAlike(shape, one, other)) return;
      alike += 1;
      expect(toFieldsV1(fieldsOf(shape, one))).toEqual(toFieldsV1(fieldsOf(shape, other)));
    }),
    { numRuns: 1500 },
  );
  expect(alike).toBeGreaterThan(30);
});

test("what differs in values alone is alike", () => {
  const made = (name: string): JsonObject => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, labels: { app: name } },
    spec: { template: { spec: { containers: [{ name: "web", image: name, ports: [{ containerPort: 80 }] }] } } },
  });
  const status = (of: JsonObject, n: number): JsonObject => ({ ...of, status: { observedGeneration: n } });

  expect(speakAlike(deploymentShape, made("a"), made("b"))).toBe(true);
  expect(differAlike(deploymentShape, { old: {}, now: made("a") }, { old: {}, now: made("b") })).toBe(true);
  const changes = [made("a"), made("b")].map((old, n) => ({ old, now: status(structuredClone(old), n) }));
  expect(differAlike(deploymentShape, changes[0] ?? never, changes[1] ?? never)).toBe(true);
});

const never = { old: undefined, now: undefined };

const options = (shape: Shape, kind: string, apiVersion: string): MergeOptions => ({
  shape,
  kind,
  group: apiVersion.split("/")[0] ?? "",
  version: apiVersion.split("/")[1] ?? "",
  supportsStrategic: false,
  isConvertible: true,
  hasStatus: true,
  normalise: (object) => object,
});

test.each([
  { name: "Box", of: options(box, "Box", "example.com/v1"), objects: boxes },
  { name: "Deployment", of: options(deploymentShape, "Deployment", "apps/v1"), objects: deployments },
])("writes of a $name after others own what they would own as the first (property)", ({ of, objects }) => {
  const step = fc.record({
    object: objects,
    manager: letters,
    subresource: fc.constantFrom("", "status"),
    isApply: fc.boolean(),
  });
  const known = createMerge(of);
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 5 }), (steps) => {
      const after = [known, undefined].map((merge) => {
        let live: JsonObject | undefined;
        for (const [index, { object, manager, subresource, isApply }] of steps.entries()) {
          const own = merge ?? createMerge(of);
          const by = { manager, subresource, now: `2026-01-01T00:00:0${index}Z`, force: true };
          if (isApply) {
            try {
              live = own.apply(live, structuredClone(object), by);
            } catch (error) {
              // Items that are there twice.
              expect(error).toBeInstanceOf(ApiError);
            }
          } else {
            const now = structuredClone(object);
            own.trackUpdate(now, live, by);
            live = now;
          }
        }
        return live;
      });
      expect(after[0]).toEqual(after[1]);
    }),
    { numRuns: 300 },
  );
});

test("owners that an object is made with are owned by its maker, whoever owned the one before", () => {
  const merge = createMerge(options(deploymentShape, "Deployment", "apps/v1"));
  const by = { manager: "maker", subresource: "", now: "2026-01-01T00:00:00Z" };
  const fieldsOfNew = (name: string, ...uids: string[]): unknown => {
    const ownerReferences = uids.map((uid) => ({ apiVersion: "v1", kind: "Pod", name: "p", uid }));
    const object: JsonObject = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, labels: { app: name }, ...(uids.length === 0 ? {} : { ownerReferences }) },
      spec: { replicas: 1 },
    };
    merge.trackUpdate(object, undefined, by);
    const { managedFields } = object["metadata"] as unknown as {
      readonly managedFields: { readonly fieldsV1: Json }[];
    };
    expect(managedFields).toHaveLength(1);
    return managedFields[0]?.fieldsV1;
  };
  const labels = { "f:labels": { ".": {}, "f:app": {} } };
  const spec = { ".": {}, "f:replicas": {} };
  const owned = (...uids: string[]): unknown => ({
    "f:metadata": {
      ...labels,
      "f:ownerReferences": { ".": {}, ...Object.fromEntries(uids.map((uid) => [`k:{"uid":"${uid}"}`, {}])) },
    },
    "f:spec": spec,
  });

  expect(fieldsOfNew("a", "u1")).toEqual(owned("u1"));
  expect(fieldsOfNew("b", "u2", "u3")).toEqual(owned("u2", "u3"));
  expect(fieldsOfNew("c")).toEqual({ "f:metadata": labels, "f:spec": spec });
});
