import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { encodeObject, keepText } from "./object-text.js";

const textOf = (object: JsonObject): string => Buffer.from(encodeObject(object)).toString("utf8");

const fieldsV1: JsonObject = { "f:data": { "f:a": {} } };
keepText(fieldsV1);
const entry = { manager: 'a "b"', operation: "Update", apiVersion: "v1", time: "t", fieldsType: "FieldsV1", fieldsV1 };
const other = { ...entry, manager: "c", fieldsV1: { "f:x": {} }, subresource: "status" };

test.each<{ what: string; object: JsonObject }>([
  {
    what: "a whole object",
    object: {
      kind: "ConfigMap",
      apiVersion: "v1",
      metadata: { name: "ä", managedFields: [entry, other, { ...entry, subresource: "status" }] },
      data: { a: "\u2028" },
    },
  },
  { what: "nothing but owners", object: { kind: "A", apiVersion: "v1", metadata: { managedFields: [entry] } } },
  { what: "no owners", object: { kind: "A", apiVersion: "v1", metadata: { name: "a" }, spec: {} } },
  { what: "other owners", object: { kind: "A", apiVersion: "v1", metadata: { managedFields: [other] }, spec: {} } },
  { what: "no metadata", object: { kind: "A", apiVersion: "v1" } },
  {
    what: "undefined members",
    object: { kind: "A", apiVersion: "v1", metadata: { managedFields: [entry], uid: undefined } },
  },
  { what: "no object of the API", object: { metadata: { managedFields: [entry] }, a: 1 } },
])("the text of $what says what it is", ({ object }) => {
  expect(JSON.parse(textOf(object))).toEqual(JSON.parse(JSON.stringify(object)));
});

test("kind, apiVersion and metadata are first", () => {
  const text = textOf({ spec: {}, metadata: { managedFields: [entry] }, kind: "A", apiVersion: "v1" });

  expect(text.startsWith('{"kind":"A","apiVersion":"v1","metadata":{')).toBe(true);
});
