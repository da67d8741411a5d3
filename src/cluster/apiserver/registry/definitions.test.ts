import { expect, test } from "vitest";
import { defineKind, toCrd } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { s } from "../../../kernel/schema/index.js";
import { startTestCluster } from "../../../testing/index.js";

const Box = defineKind({
  group: "example.com",
  version: "v1",
  kind: "Box",
  description: "A box.",
  spec: s.object({
    size: s.integer({ min: 1 }).default(3),
    name: s.string().optional(),
    anything: s.preserveUnknown().optional(),
    tags: s.set(s.string()).optional(),
  }),
  status: s.object({ ready: s.boolean().optional() }),
  printerColumns: [{ name: "Size", type: "integer", jsonPath: ".spec.size" }],
});
const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const boxes = "/apis/example.com/v1/namespaces/default/boxes";
const box = (name: string, spec: JsonObject, more: JsonObject = {}): JsonObject => ({
  apiVersion: "example.com/v1",
  kind: "Box",
  metadata: { name },
  spec,
  ...more,
});
const at = (object: Json, ...path: string[]): Json | undefined => {
  let current: Json | undefined = object;
  for (const field of path) current = (current as JsonObject)[field];
  return current;
};

async function withBoxes(run: (cluster: Awaited<ReturnType<typeof startTestCluster>>) => Promise<void>): Promise<void> {
  const cluster = await startTestCluster({ kinds: [Box] });
  try {
    await run(cluster);
  } finally {
    await cluster.close();
  }
}

test("objects are defaulted, pruned and checked by the schema", () =>
  withBoxes(async ({ client }) => {
    const made = await client.json("POST", boxes, box("a", { bogus: 1, anything: { x: [1] } }));

    expect(at(made, "spec")).toEqual({ size: 3, anything: { x: [1] } });
    expect(at(made, "metadata", "generation")).toBe(1);
    await expect(client.json("POST", boxes, box("b", { size: 0 }))).rejects.toThrow(
      'Box.example.com "b" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1',
    );
    await expect(client.json("POST", boxes, box("b", { size: "big" }))).rejects.toThrow("must be of type integer");
  }));

test("spec and status are written apart", () =>
  withBoxes(async ({ client }) => {
    const made = await client.json("POST", boxes, box("a", { size: 1 }, { status: { ready: true } }));
    const seen = await client.json("PUT", `${boxes}/a/status`, {
      ...(made as JsonObject),
      spec: { size: 9 },
      status: { ready: true },
    });
    const changed = await client.json("PUT", `${boxes}/a`, { ...(seen as JsonObject), spec: { size: 2 }, status: {} });

    expect(at(made, "status")).toBeUndefined();
    expect([at(seen, "spec", "size"), at(seen, "status", "ready"), at(seen, "metadata", "generation")]).toEqual([
      1,
      true,
      1,
    ]);
    expect([
      at(changed, "spec", "size"),
      at(changed, "status", "ready"),
      at(changed, "metadata", "generation"),
    ]).toEqual([2, true, 2]);
  }));

test("a definition that is not structural is refused with the path of the fault", () =>
  withBoxes(async ({ client }) => {
    const crd = structuredClone(toCrd(Box));
    const version = (at(crd, "spec", "versions") as JsonObject[])[0] ?? {};
    version["schema"] = { openAPIV3Schema: { type: "object", properties: { spec: { properties: { a: {} } } } } };
    (crd["metadata"] as JsonObject)["name"] = "crates.example.com";
    (at(crd, "spec", "names") as JsonObject)["plural"] = "crates";

    await expect(client.json("POST", definitions, crd)).rejects.toThrow(
      "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
    );
  }));

test("deleting a definition takes its objects along", () =>
  withBoxes(async ({ client }) => {
    await client.json("POST", boxes, box("a", { size: 1 }));
    await client.json("DELETE", `${definitions}/boxes.example.com`);
    for (
      let turn = 0;
      turn < 200 && (await client.json("GET", definitions).then((list) => (at(list, "items") as Json[]).length)) > 0;
      turn += 1
    )
      await new Promise((resolve) => setImmediate(resolve));
    await client.json("POST", definitions, toCrd(Box));
    const list = await client.json("GET", boxes);

    expect(at(list, "items")).toEqual([]);
  }));

test("the columns of the definition are those of the table", () =>
  withBoxes(async ({ client }) => {
    await client.json("POST", boxes, box("a", { size: 7 }));
    const table = await client.json("GET", boxes, undefined, {
      headers: { accept: "application/json;as=Table;g=meta.k8s.io;v=v1" },
    });

    expect((at(table, "rows") as JsonObject[]).map((row) => row["cells"])).toEqual([["a", 7]]);
  }));
