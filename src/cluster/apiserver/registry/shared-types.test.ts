import { expect, test } from "vitest";
import { defineKind, toCrd } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { cloneObject, s } from "../../../kernel/schema/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { createRegistry } from "./registry.js";

const crate = (description: string): JsonObject =>
  cloneObject(
    toCrd(
      defineKind({
        group: "example.com",
        version: "v1",
        kind: "Crate",
        description,
        spec: s.object({ n: s.integer() }),
      }),
    ),
  );

test("servers of one process share the types of equal definitions, and only of those", () => {
  const typeIn = (definition: JsonObject) => {
    const registry = createRegistry();
    registry.setDefinition("crates.example.com", definition);
    return registry.find("example.com", "v1", "crates");
  };
  const [one, again, other] = [typeIn(crate("A crate.")), typeIn(crate("A crate.")), typeIn(crate("Another."))];

  expect(one).toBeDefined();
  expect(again).toBe(one);
  expect(other).not.toBe(one);
});

test("what is said of a schema is said each time", async () => {
  const odd = crate("A crate.");
  const schema = (odd["spec"] as { versions: { schema: { openAPIV3Schema: JsonObject } }[] }).versions[0]?.schema
    .openAPIV3Schema as { properties: { spec: { properties: { n: JsonObject } } } };
  schema.properties.spec.properties.n["format"] = "odd";
  const warnings: string[][] = [];
  for (const name of ["a", "b"]) {
    const cluster = await startTestCluster({ name });
    const { headers } = await cluster.client.transport.request({
      method: "POST",
      path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
      headers: { "content-type": "application/json" },
      body: Buffer.from(JSON.stringify(odd)),
    });
    warnings.push([String(headers["warning"])]);
    await cluster.close();
  }

  expect(warnings[0]?.[0]).toContain("unrecognized format");
  expect(warnings[1]).toEqual(warnings[0]);
});
