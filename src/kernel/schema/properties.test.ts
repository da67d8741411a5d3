import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json, JsonObject } from "../kinds/object.js";
import { applyDefaults, cloneJson, equalJson, prune, s, validateSchema } from "./index.js";

const spec = s.object({
  count: s.integer({ min: 0, max: 3 }).default(1),
  mode: s.enum("a", "b").optional(),
  list: s.listMap(s.object({ k: s.string(), v: s.integer().default(7) }), ["k"]).optional(),
  map: s.map(s.object({ x: s.boolean().optional() })).optional(),
  open: s.preserveUnknown().optional(),
  size: s.quantity().optional(),
}).schema;

const anything: fc.Arbitrary<JsonObject> = fc.dictionary(
  fc.constantFrom("count", "mode", "list", "map", "open", "size", "other", "__proto__"),
  fc.jsonValue({ maxDepth: 3 }).map((value): Json => JSON.parse(JSON.stringify(value))),
);

test("no input makes pruning, defaulting or validation fail (property)", () => {
  fc.assert(
    fc.property(anything, (input) => {
      const value = cloneJson(input);
      prune(spec, value);
      applyDefaults(spec, value);
      for (const cause of validateSchema(spec, value, "spec")) {
        expect(cause.field.startsWith("spec")).toBe(true);
        expect(cause.message).not.toBe("");
      }
    }),
  );
});

test("pruning and defaulting a second time change nothing (property)", () => {
  fc.assert(
    fc.property(anything, (input) => {
      const value = cloneJson(input);
      prune(spec, value);
      applyDefaults(spec, value);
      const once = cloneJson(value);

      expect(prune(spec, value)).toEqual([]);
      applyDefaults(spec, value);
      expect(equalJson(value, once)).toBe(true);
    }),
  );
});

const good = fc.record(
  {
    count: fc.integer({ min: 0, max: 3 }),
    mode: fc.constantFrom("a", "b"),
    list: fc.uniqueArray(fc.record({ k: fc.string(), v: fc.integer() }), { selector: (item) => item.k }),
    size: fc.constantFrom("1", "500m", "2Gi", 3),
  },
  { requiredKeys: [] },
);

test("what fits has no faults and loses nothing (property)", () => {
  fc.assert(
    fc.property(good, (input) => {
      const value: JsonObject = { ...input };
      expect(prune(spec, value)).toEqual([]);
      expect(validateSchema(spec, value)).toEqual([]);
    }),
  );
});
