import { expect, test } from "vitest";
import { s } from "../schema/index.js";
import { defineKind } from "./define-kind.js";
import { renderKindReference, undescribedFields } from "./document.js";

test("lists every field with type, bounds, default and meaning", () => {
  const kind = defineKind({
    group: "example.org",
    version: "v1",
    kind: "Thing",
    shortNames: ["th"],
    description: "A thing.",
    spec: s.object({
      size: s.integer({ min: 1, max: 5 }).default(2).describe("How big."),
      parts: s.array(s.object({ name: s.string() })).optional(),
    }),
  });

  const text = renderKindReference(kind);

  expect(text).toContain(
    "## Thing\n\nA thing.\n\n`apiVersion: example.org/v1`; in a namespace; `kubectl get` `things`, `th`",
  );
  expect(text).toContain("| `spec.size` | integer? | How big. (default `2`; at least `1`; at most `5`) |");
  expect(text).toContain("| `spec.parts[].name` | string | ");
  expect(undescribedFields(kind)).toEqual(["spec.parts", "spec.parts[].name"]);
});
