import fc from "fast-check";
import fastJsonPatch from "fast-json-patch";
import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { applyJsonPatch, applyMergePatch } from "./json-patch.js";

const value = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;
const document = fc.dictionary(fc.string({ maxLength: 3 }), value) as fc.Arbitrary<JsonObject>;

test("carries out what another implementation wrote down as the difference", () => {
  fc.assert(
    fc.property(document, document, (before, after) => {
      const untouched = JSON.stringify(before);
      const patched = applyJsonPatch(before, fastJsonPatch.compare(before, after));
      // -0 is 0 in JSON.
      expect(JSON.parse(JSON.stringify(patched))).toEqual(JSON.parse(JSON.stringify(after)));
      expect(JSON.stringify(before)).toBe(untouched);
    }),
  );
});

test.each([
  [[{ op: "add", path: "/l/-", value: 3 }], { l: [1, 2, 3] }],
  [[{ op: "add", path: "/l/2", value: 3 }], { l: [1, 2, 3] }],
  [[{ op: "remove", path: "/l/-1" }], { l: [1] }],
  [[{ op: "move", from: "/l/0", path: "/l/1" }], { l: [2, 1] }],
  [[{ op: "copy", from: "/l", path: "/a~1b" }], { l: [1, 2], "a/b": [1, 2] }],
  [[{ op: "test", path: "/none", value: null }], { l: [1, 2] }],
])("%j", (patch, expected) => {
  expect(applyJsonPatch({ l: [1, 2] }, patch)).toEqual(expected);
});

test.each([
  [[{ op: "remove", path: "/none" }], 422],
  [[{ op: "add", path: "/l/9", value: 1 }], 422],
  [[{ op: "add", path: "/none/x", value: 1 }], 422],
  [[{ op: "test", path: "/l", value: [] }], 422],
  [[{ op: "swap", path: "/l" }], 422],
  [[{ op: "replace", path: "", value: 1 }], 422],
  [{ op: "add" }, 400],
  [["add"], 400],
])("refuses %j", (patch, code) => {
  expect(() => applyJsonPatch({ l: [1, 2] }, patch)).toThrow(expect.objectContaining({ httpCode: code }));
});

describe("merge patches", () => {
  // The table of RFC 7386, appendix A, as far as its documents are objects.
  test.each<[Json, Json, Json]>([
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])("%j with %j", (target, patch, expected) => {
    expect(applyMergePatch(target, patch)).toEqual(expected);
  });
});
