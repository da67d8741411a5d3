import { expect, test } from "vitest";
import { asList, asNumber, asObject, asObjects, asString, parseJson } from "./index.js";

test("unknown values are read as what is wanted, or as nothing", () => {
  expect(parseJson('{"a": [1]}')).toEqual({ a: [1] });
  expect(parseJson("{")).toBeUndefined();
  expect(asObject({ a: 1 })).toEqual({ a: 1 });
  expect([asObject(null), asObject([1]), asObject("a"), asObject(undefined)]).toEqual([{}, {}, {}, {}]);
  expect([asList([1]), asList({}), asList(undefined)]).toEqual([[1], [], []]);
  expect(asObjects([{ a: 1 }, null, [2], "b"])).toEqual([{ a: 1 }]);
  expect([asString("a"), asString(1)]).toEqual(["a", ""]);
  expect([asNumber(1), asNumber("1")]).toEqual([1, undefined]);
});

test("an object for nothing is a new one each time", () => {
  expect(asObject(null)).not.toBe(asObject(null));
});
