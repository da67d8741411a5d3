import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json } from "../kinds/object.js";
import { isRight } from "./right.js";
import type { Schema } from "./types.js";
import { validateValue } from "./validate.js";

const small = fc.integer({ min: -3, max: 3 });
const counts = fc.nat({ max: 2 });
const names = fc.constantFrom("a", "b", "c");
const value = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<Json>(null, true, "", "a", "ab", "\u{1f600}", "2026-01-01T00:00:00Z", 0, 1, 2.5, -3, 3_000_000_000),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(names, tie("value"), { maxKeys: 3 }),
  ),
})).value;

const optional = { requiredKeys: [] };
const leaf = fc.record(
  {
    type: fc.constantFrom<NonNullable<Schema["type"]>>("string", "integer", "number", "boolean", "array", "object"),
    format: fc.constantFrom("int32", "int64", "date-time", "float64", "byte"),
    nullable: fc.boolean(),
    enum: fc.array(value, { maxLength: 3 }),
    pattern: fc.constantFrom("^a", "b$"),
    minLength: counts,
    maxLength: counts,
    minimum: small,
    maximum: small,
    exclusiveMinimum: fc.boolean(),
    exclusiveMaximum: fc.boolean(),
    multipleOf: small,
    minItems: counts,
    maxItems: counts,
    minProperties: counts,
    maxProperties: counts,
    required: fc.uniqueArray(names),
    "x-kubernetes-int-or-string": fc.boolean(),
  },
  optional,
);
const schema = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof(
    { depthSize: "small" },
    leaf,
    fc
      .tuple(
        leaf,
        fc.record(
          {
            properties: fc.dictionary(names, tie("schema"), { maxKeys: 2 }),
            additionalProperties: fc.oneof(fc.boolean(), tie("schema")),
            items: tie("schema"),
            anyOf: fc.array(tie("schema"), { maxLength: 2 }),
            oneOf: fc.array(tie("schema"), { maxLength: 2 }),
            allOf: fc.array(tie("schema"), { maxLength: 2 }),
          },
          optional,
        ),
      )
      .map(([own, below]) => ({ ...own, ...below })),
  ),
})).schema;

test("what is called right has no fault that would be told, and what is not has one (property)", () => {
  fc.assert(
    fc.property(schema, value, (each, json) => {
      // Where something is missing every other fault is told too.
      const whole = { properties: { value: each }, required: ["missing"] };
      const [, ...own] = validateValue(whole, { value: json }).toSorted((a) => (a.field === "missing" ? -1 : 1));

      expect(isRight(each, json)).toBe(own.length === 0);
    }),
    { numRuns: 3000 },
  );
});
