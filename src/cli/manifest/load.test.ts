import { expect, test } from "vitest";
import { parseManifest } from "./load.js";

test("takes lists apart and knows the line of a field in each item", () => {
  const { objects } = parseManifest(
    "a.yaml",
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata:\n    name: a\n- apiVersion: v1\n  kind: Secret\n  metadata:\n    name: b\n    namespace: c\n",
  );

  expect(objects.map(({ kind, name, namespace }) => ({ kind, name, namespace }))).toEqual([
    { kind: "ConfigMap", name: "a", namespace: undefined },
    { kind: "Secret", name: "b", namespace: "c" },
  ]);
  expect(objects[1]?.locate("metadata.namespace")).toBe("a.yaml:12");
});

test.each([
  ["kind: Pod\nmetadata: {name: a}\n", "a.yaml:1: apiVersion is missing"],
  ["apiVersion: v1\nkind: Pod\nmetadata:\n  name: 5\n", "a.yaml:4: metadata.name must be a text, not 5"],
  ["- a\n- b\n", "a.yaml:1: an object with apiVersion, kind and metadata is wanted here"],
  ["a: [1,\n", "not valid YAML"],
])("refuses %j with the place", (source, message) => {
  expect(() => parseManifest("a.yaml", source)).toThrow(message);
});

test("warns about words that kubectl reads as booleans or octal numbers, unless quoted", () => {
  const { warnings } = parseManifest(
    "a.yaml",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: yes\n  b: 'no'\n  c: 010\n",
  );

  expect(warnings).toHaveLength(2);
  expect(warnings[0]).toContain("a.yaml:5: `yes` is read as text");
  expect(warnings[1]).toContain("a.yaml:7: `010`");
});
