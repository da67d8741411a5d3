import { expect, test } from "vitest";
import { qualifiedNameFaults, subdomainFaults } from "../../../kernel/kinds/index.js";
import { JsonPath } from "../../../kernel/schema/index.js";
import { humanDuration } from "./ages.js";
import { compareVersions, customVersions } from "./custom-definition.js";
import { CustomType } from "./custom-type.js";
import { ratchet } from "./ratchet.js";
import { normaliseTime } from "./times.js";

const object = {
  spec: { list: [{ n: 1 }, { n: 2 }], "a.b": "dotted" },
  status: {
    conditions: [
      { type: "Ready", status: "True" },
      { type: "Other", status: "False" },
    ],
  },
};

test.each([
  [".spec.list[1].n", [2]],
  [".spec.list[*].n", [1, 2]],
  [".spec['a.b']", ["dotted"]],
  ['.status.conditions[?(@.type=="Ready")].status', ["True"]],
  ['.status.conditions[?(@.type!="Ready")].type', ["Other"]],
  ["{.spec.list[-1].n}", [2]],
  [".spec.missing.deep", []],
])("path %s is followed", (path, expected) => {
  expect(JsonPath.parse(path)?.read(object)).toEqual(expected);
});

test("text that is no path is none", () => {
  expect(JsonPath.parse(".spec[")).toBeUndefined();
  expect(JsonPath.parse("spec..[?(")).toBeUndefined();
});

test.each([
  [59_000, "59s"],
  [119_000, "119s"],
  [125_000, "2m5s"],
  [600_000, "10m"],
  [3_600_000 * 3, "3h"],
  [3_600_000 * 7 + 60_000, "7h1m"],
  [3_600_000 * 50, "2d2h"],
  [86_400_000 * 400, "400d"],
  [86_400_000 * 800, "2y70d"],
])("%d ms are shown as %s", (milliseconds, words) => {
  expect(humanDuration(milliseconds)).toBe(words);
});

test("versions are ordered as Kubernetes orders them", () => {
  const sorted = ["v1alpha1", "foo", "v10", "v2beta1", "v2", "v1beta2", "v11alpha2", "v1"].sort(compareVersions);

  expect(sorted).toEqual(["v10", "v2", "v1", "v2beta1", "v1beta2", "v11alpha2", "v1alpha1", "foo"]);
});

test("times become UTC", () => {
  expect(normaliseTime("2026-01-01T02:00:00.5+02:00", false)).toBe("2026-01-01T00:00:00Z");
  expect(normaliseTime("2026-01-01T02:00:00.500000Z", true)).toBe("2026-01-01T02:00:00.500000Z");
  // As upstream: six digits, no more and no fewer.
  expect(normaliseTime("2026-01-01T02:00:00.5Z", true)).toBeUndefined();
  expect(normaliseTime("yesterday", false)).toBeUndefined();
});

test("names are judged by their grammar", () => {
  expect(subdomainFaults("a.b-c")).toEqual([]);
  expect(subdomainFaults("A")).toHaveLength(1);
  expect(qualifiedNameFaults("example.com/name")).toEqual([]);
  expect(qualifiedNameFaults("/name")).toEqual(["prefix part must be non-empty"]);
});

test("an old fault may stay, a new one may not come", () => {
  const old = { spec: { a: "bad", list: [{}] } };
  const now = { spec: { a: "bad", b: "bad", list: [{}] } };
  const cause = (field: string, reason = "FieldValueInvalid") => ({ field, reason, message: "" });

  expect(ratchet([cause("spec.a"), cause("spec.b"), cause("spec.list[0].k", "FieldValueRequired")], now, old)).toEqual([
    cause("spec.b"),
  ]);
});

test("finalizers without a domain are warned of on objects of definitions", () => {
  const schema = { type: "object" } as const;
  const [version] = customVersions({
    spec: {
      group: "example.com",
      names: { plural: "boxes", kind: "Box" },
      scope: "Namespaced",
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  });
  if (version === undefined) throw new Error("the definition has a version");
  const warnings: string[] = [];
  const context = {
    now: "2026-01-01T00:00:00Z",
    user: { username: "u", groups: [] },
    subresource: "",
    warn: (text: string) => void warnings.push(text),
  };
  const finalizers = ["b", "example.com/x", "a.b", "orphan"];

  new CustomType(version).validateCreate({ metadata: { name: "a", namespace: "n", finalizers } }, context);

  expect(warnings).toEqual([
    'metadata.finalizers: "a.b": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers',
    'metadata.finalizers: "b": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers',
  ]);
});
