import { expect, expectTypeOf, test } from "vitest";
import { s } from "../schema/index.js";
import { toCrd } from "./crd.js";
import { defineKind } from "./define-kind.js";
import type { JsonObject } from "./object.js";

const Gadget = defineKind({
  group: "example.com",
  version: "v1alpha1",
  kind: "Gateway",
  description: "A gate.",
  shortNames: ["gw"],
  spec: s.object({
    size: s.integer({ min: 1 }).describe("How big."),
    ports: s.listMap(s.object({ name: s.string(), port: s.intOrString() }), ["name"]).optional(),
    raw: s.embeddedResource().optional(),
  }),
  status: s.object({ ready: s.boolean().optional(), conditions: s.conditions().optional() }),
  printerColumns: [{ name: "Size", type: "integer", jsonPath: ".spec.size" }],
});

test("the type of objects follows from the definition", () => {
  type Object = NonNullable<typeof Gadget.type>;

  expectTypeOf<Object["spec"]["size"]>().toEqualTypeOf<number>();
  expectTypeOf<NonNullable<Object["status"]>["ready"]>().toEqualTypeOf<boolean | undefined>();
  expect(Gadget.plural).toBe("gateways");
});

test("a definition becomes a CRD with one version and a status subresource", () => {
  const crd = toCrd(Gadget);
  const spec = crd["spec"] as JsonObject;
  const [version] = spec["versions"] as JsonObject[];

  expect((crd["metadata"] as JsonObject)["name"]).toBe("gateways.example.com");
  expect(spec["names"]).toMatchObject({ kind: "Gateway", singular: "gateway", shortNames: ["gw"] });
  expect(version).toMatchObject({ name: "v1alpha1", served: true, storage: true, subresources: { status: {} } });
});

test("names that no server takes are refused", () => {
  const base = { group: "example.com", version: "v1", kind: "A", description: "", spec: s.object({}) };

  expect(() => defineKind({ ...base, kind: "lower" })).toThrow("CamelCase");
  expect(() => defineKind({ ...base, version: "1.0" })).toThrow("version");
});
