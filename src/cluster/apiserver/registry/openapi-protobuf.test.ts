import { expect, test } from "vitest";
import { readFields } from "../protobuf/wire.js";
import { swaggerProtobuf } from "./openapi-protobuf.js";

/** The fields below a path of field numbers, as text; a path that branches gives several. */
function at(bytes: Uint8Array, ...path: number[]): string[] {
  const [first, ...rest] = path;
  if (first === undefined) return [Buffer.from(bytes).toString("utf8")];
  return [...readFields(bytes)]
    .filter(({ number }) => number === first)
    .flatMap(({ value }) => (typeof value === "bigint" ? [String(value)] : at(value, ...rest)));
}

test("a document of Swagger stands in the messages of openapi.v2", () => {
  const bytes = swaggerProtobuf({
    swagger: "2.0",
    info: { title: "Kubernetes", version: "v1" },
    paths: {
      "/x/{name}": {
        get: {
          operationId: "readX",
          tags: ["x"],
          parameters: [{ name: "pretty", in: "query", type: "string", uniqueItems: true }],
          responses: { "200": { description: "OK", schema: { $ref: "#/definitions/X" } } },
          "x-kubernetes-action": "get",
        },
        parameters: [
          { name: "name", in: "path", required: true, type: "string" },
          { name: "body", in: "body", schema: { $ref: "#/definitions/X" } },
        ],
      },
    },
    definitions: {
      X: {
        type: "object",
        required: ["a", "b"],
        properties: {
          a: { type: "array", items: { type: "string" } },
          b: { type: "object", additionalProperties: { type: "integer" } },
        },
        "x-kubernetes-group-version-kind": [{ group: "", kind: "X", version: "v1" }],
      },
    },
  });

  expect(at(bytes, 1)).toEqual(["2.0"]);
  expect(at(bytes, 2, 1)).toEqual(["Kubernetes"]);
  expect(at(bytes, 8, 2, 1)).toEqual(["/x/{name}"]);
  const get = [8, 2, 2, 2];
  expect(at(bytes, ...get, 5)).toEqual(["readX"]);
  expect(at(bytes, ...get, 8, 1, 2, 3, 4)).toEqual(["pretty"]);
  expect(at(bytes, ...get, 8, 1, 2, 3, 20)).toEqual(["1"]);
  expect(at(bytes, ...get, 9, 1, 2, 1, 2, 1, 1)).toEqual(["#/definitions/X"]);
  expect(at(bytes, ...get, 13, 2, 2)).toEqual(['"get"']);
  expect(at(bytes, 8, 2, 2, 9, 1, 2, 4, 4)).toEqual(["name"]);
  expect(at(bytes, 8, 2, 2, 9, 1, 1, 5, 1)).toEqual(["#/definitions/X"]);
  const definition = [9, 1, 2];
  expect(at(bytes, 9, 1, 1)).toEqual(["X"]);
  expect(at(bytes, ...definition, 19)).toEqual(["a", "b"]);
  expect(at(bytes, ...definition, 25, 1, 1)).toEqual(["a", "b"]);
  expect(at(bytes, ...definition, 25, 1, 2, 23, 1, 22, 1)).toEqual(["string"]);
  expect(at(bytes, ...definition, 25, 1, 2, 21, 1, 22, 1)).toEqual(["integer"]);
  expect(at(bytes, ...definition, 31, 2, 2)).toEqual(['[{"group":"","kind":"X","version":"v1"}]']);
});
