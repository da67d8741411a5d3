import { expect, expectTypeOf, test } from "vitest";
import type { Infer } from "./index.js";
import { applyDefaults, didYouMean, knownNames, prune, s, validateSchema } from "./index.js";

const spec = s.object({
  replicas: s.integer({ min: 0, max: 10 }).default(1),
  image: s.string({ min: 1, pattern: "^[a-z]+$" }),
  mode: s.enum("Push", "Pull").optional(),
  ports: s.listMap(s.object({ name: s.string(), port: s.intOrString() }), ["name"]).optional(),
  labels: s.map(s.string()).optional(),
  tags: s.set(s.string(), { max: 2 }).optional(),
  template: s.preserveUnknown().optional(),
  nested: s.object({ depth: s.integer().default(3) }).optional(),
});
type Spec = Infer<typeof spec>;

test("types follow the schema", () => {
  expectTypeOf<Spec["replicas"]>().toEqualTypeOf<number>();
  expectTypeOf<Spec["mode"]>().toEqualTypeOf<"Push" | "Pull" | undefined>();
  expectTypeOf<NonNullable<Spec["ports"]>[number]>().toEqualTypeOf<{ name: string; port: string | number }>();
  // @ts-expect-error a required field is missing
  const wrong: Spec = { replicas: 1 };
  expect(wrong).toBeDefined();
});

test("words faults as a Kubernetes API server does", () => {
  const faults = validateSchema(
    spec.schema,
    {
      replicas: 11,
      mode: "Drag",
      ports: [
        { name: "a", port: [] },
        { name: "a", port: 1 },
      ],
      tags: ["x", "y", "z"],
      labels: { a: 1 },
    },
    "spec",
  );

  expect(faults.map((fault) => `${fault.field}: ${fault.message}`).sort()).toEqual([
    "spec.image: Required value",
    'spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer"',
    'spec.mode: Unsupported value: "Drag": supported values: "Push", "Pull"',
    'spec.ports[0].port: Invalid value: "": "spec.ports[0].port" must validate at least one schema (anyOf)',
    'spec.ports[0].port: Invalid value: "array": spec.ports[0].port in body must be of type integer,string: "array"',
    'spec.ports[0].port: Invalid value: "array": spec.ports[0].port in body must be of type integer: "array"',
    'spec.ports[1]: Duplicate value: {"name":"a"}',
    "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
    "spec.tags: Too many: 3: must have at most 2 items",
  ]);
});

test("an object that fits has no faults", () => {
  expect(
    validateSchema(spec.schema, { image: "abc", ports: [{ name: "a", port: "http" }], template: { x: [1] } }),
  ).toEqual([]);
});

test("fills in defaults inside objects that are there", () => {
  const value = { image: "abc", nested: {} };

  applyDefaults(spec.schema, value);

  expect(value).toEqual({ image: "abc", replicas: 1, nested: { depth: 3 } });
});

test("prunes what is unknown and says where it was", () => {
  const value = {
    image: "abc",
    imgae: "x",
    ports: [{ name: "a", port: 1, extra: {} }],
    template: { any: { thing: 1 } },
  };

  expect(prune(spec.schema, value, "spec")).toEqual(["spec.imgae", "spec.ports[0].extra"]);
  expect(value).toEqual({ image: "abc", ports: [{ name: "a", port: 1 }], template: { any: { thing: 1 } } });
});

test("a hostile member name stays data", () => {
  const value = JSON.parse('{"image":"a","labels":{"__proto__":"x","constructor":"y"}}');

  expect(validateSchema(spec.schema, value)).toEqual([]);
  expect(prune(spec.schema, value)).toEqual([]);
  expect(Object.keys(value.labels)).toEqual(["__proto__", "constructor"]);
});

test("suggests the field that was meant", () => {
  expect(didYouMean("imgae", knownNames(spec.schema, "imgae"))).toBe("image");
  expect(didYouMean("prot", knownNames(spec.schema, "ports[0].prot"))).toBe("port");
  expect(didYouMean("zzz", ["image", "mode"])).toBeUndefined();
});

test("a pattern in RE2 syntax is understood", () => {
  const flagged = s.string({ pattern: "(?i)^[[:alpha:]]+\\z" });

  expect(validateSchema(flagged.schema, "ABC")).toEqual([]);
  expect(validateSchema(flagged.schema, "AB1")).toHaveLength(1);
});
