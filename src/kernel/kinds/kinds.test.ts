import fc from "fast-check";
import { expect, test } from "vitest";
import {
  addQuantities,
  type Condition,
  canonicalQuantity,
  compareQuantities,
  controllerOf,
  DeploymentKind,
  findCondition,
  formatQuantity,
  labelSelectorMatches,
  ownerReferenceTo,
  parseFieldSelector,
  parseQuantity,
  parseSelector,
  quantityToMillis,
  quantityToNumber,
  ReplicaSetKind,
  refersTo,
  selectorFrom,
  tryParseQuantity,
  withCondition,
} from "./index.js";

test.each([
  ["0", "0"],
  ["1.5", "1500m"],
  ["1.5Gi", "1536Mi"],
  ["1000m", "1"],
  ["0.5", "500m"],
  ["100m", "100m"],
  ["1024Ki", "1Mi"],
  ["1Ki", "1Ki"],
  ["12e6", "12e6"],
  ["1E", "1E"],
  ["1000k", "1M"],
  ["0.1Mi", "104857600m"],
  ["-1.5", "-1500m"],
  ["+3", "3"],
  [".5", "500m"],
  ["5.", "5"],
  ["1500", "1500"],
  ["1n", "1n"],
  ["0.1n", "1n"],
  ["1e3", "1e3"],
  ["1Mi", "1Mi"],
  ["512", "512"],
  ["512Ki", "512Ki"],
  ["16Ei", "9223372036854775807"],
  ["1u", "1u"],
])("quantity %s is written %s", (text, canonical) => {
  expect(canonicalQuantity(text)).toBe(canonical);
});

test.each(["", "abc", "1.2.3", "1kk", "1 Gi", "--1", "1e999", ".", "1ki", "0x10", "1".repeat(100)])(
  "%s is no quantity",
  (text) => {
    expect(tryParseQuantity(text)).toBeUndefined();
    expect(() => parseQuantity(text)).toThrow("is no quantity");
  },
);

test("canonical quantities keep their value and are their own canonical form", () => {
  const suffix = fc.constantFrom("", "m", "u", "n", "k", "M", "G", "Ki", "Mi", "Gi", "Ti", "e2", "e-3", "E5");
  fc.assert(
    fc.property(fc.bigInt(-(10n ** 12n), 10n ** 12n), fc.nat(999), suffix, (whole, fraction, tail) => {
      const quantity = parseQuantity(`${whole}.${fraction}${tail}`);
      const text = formatQuantity(quantity);
      expect(parseQuantity(text).nanos).toBe(quantity.nanos);
      expect(canonicalQuantity(text)).toBe(text);
    }),
  );
});

test("quantities add, compare and convert", () => {
  expect(formatQuantity(addQuantities(parseQuantity("100m"), parseQuantity("1.9")))).toBe("2");
  expect(compareQuantities(parseQuantity("1Gi"), parseQuantity("1G"))).toBe(1);
  expect(quantityToMillis(parseQuantity("0.0001"))).toBe(1);
  expect(quantityToNumber(parseQuantity("1536Mi"))).toBe(1.5 * 2 ** 30);
});

test.each([
  ["", { a: "1" }, true],
  ["a=1", { a: "1" }, true],
  ["a==1", { a: "2" }, false],
  ["a!=1", {}, true],
  ["a!=1", { a: "1" }, false],
  ["a in (1, 2)", { a: "2" }, true],
  ["a notin (1,2)", { a: "2" }, false],
  ["a notin (1,2)", {}, true],
  ["a", {}, false],
  ["!a", {}, true],
  ["x.io/a in (1),b", { "x.io/a": "1", b: "" }, true],
  ["a>3", { a: "4" }, true],
  ["a<3", { a: "x" }, false],
  ["a=", { a: "" }, true],
  ["constructor", {}, false],
])("selector %j on %j", (text, labels, expected) => {
  expect(parseSelector(text).matches(labels)).toBe(expected);
  expect(parseSelector(parseSelector(text).toString()).matches(labels)).toBe(expected);
});

test.each(["a=b=c", "a in 1", "-a=1", "a=-", "a,,b", "a>x", "(", "a in (", "a b"])("selector %j is refused", (text) => {
  expect(() => parseSelector(text)).toThrow("label selector");
});

test("label selector objects: empty matches all, absent none, expressions are checked", () => {
  expect(labelSelectorMatches({}, undefined)).toBe(true);
  expect(labelSelectorMatches(undefined, { a: "1" })).toBe(false);
  const selector = selectorFrom({
    matchLabels: { b: "2" },
    matchExpressions: [{ key: "a", operator: "In", values: ["1", "3"] }],
  });
  expect(selector.toString()).toBe("a in (1,3),b=2");
  expect(selector.matches({ a: "3", b: "2" })).toBe(true);
  expect(() => selectorFrom({ matchExpressions: [{ key: "a", operator: "In" }] })).toThrow("In needs values");
  expect(() => selectorFrom({ matchExpressions: [{ key: "a", operator: "Near" }] })).toThrow("Near");
});

test("field selectors unescape and treat missing as empty", () => {
  const selector = parseFieldSelector("metadata.name=a\\,b\\=c,status.phase!=Running,spec.nodeName==");
  expect(selector.requirements[0]).toEqual({ field: "metadata.name", equal: true, value: "a,b=c" });
  expect(selector.matches({ "metadata.name": "a,b=c", "status.phase": "Pending" })).toBe(true);
  expect(selector.matches({ "metadata.name": "a,b=c", "status.phase": "Running" })).toBe(false);
  expect(() => parseFieldSelector("nonsense")).toThrow("cannot read");
});

test("a condition keeps its transition time until its status changes", () => {
  const first = withCondition<Condition>([], { type: "Ready", status: "False", reason: "Starting", message: "" }, 0);
  const second = withCondition(first, { type: "Ready", status: "False", reason: "StillStarting", message: "" }, 5_000);
  const third = withCondition(second, { type: "Ready", status: "True", reason: "Up", message: "" }, 9_000);

  expect(findCondition(second, "Ready")).toMatchObject({
    reason: "StillStarting",
    lastTransitionTime: "1970-01-01T00:00:00Z",
  });
  expect(findCondition(third, "Ready")?.lastTransitionTime).toBe("1970-01-01T00:00:09Z");
});

test("owner references point back to their owner's kind in any version", () => {
  const owner = {
    apiVersion: "apps/v1beta1",
    kind: "Deployment",
    metadata: { name: "web", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  };
  const reference = ownerReferenceTo(owner);

  expect(controllerOf({ metadata: { ...owner.metadata, ownerReferences: [reference] } })).toBe(reference);
  expect(
    controllerOf({ metadata: { ...owner.metadata, ownerReferences: [ownerReferenceTo(owner, false)] } }),
  ).toBeUndefined();
  expect(refersTo(reference, DeploymentKind)).toBe(true);
  expect(refersTo(reference, ReplicaSetKind)).toBe(false);
});
