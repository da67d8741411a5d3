import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Chance } from "./chance.js";

const formats = [
  "byte",
  "date",
  "date-time",
  "duration",
  "email",
  "hostname",
  "ipv4",
  "ipv6",
  "cidr",
  "mac",
  "uri",
  "uuid",
  "uuid4",
  "password",
  "hexcolor",
  "bogus",
];
const patterns = ["^[a-z]+$", "a", "^.{2,3}$", "[", "(?i)abc", "\\d+", "^a|b$", "(?=a)"];
const names = ["a", "b", "list", "map", "name", "value", "spec", "x-y", "for", "a.b", "__x"];
const texts: readonly Json[] = [
  "",
  "a",
  "abc",
  "ABC",
  "10.0.0.1",
  "2020-01-01T00:00:00Z",
  "1h",
  "YQ==",
  "a@b.c",
  "x y",
];
const numbers: readonly Json[] = [0, 1, 2, 5, 10, -1, 1.5, 100];

/** Share of schemas that something is wrong with. */
interface Style {
  readonly wrong: number;
}

/** A schema of a definition's version: mostly structural, with some of the keywords. */
export function rootSchema(chance: Chance, style: Style): JsonObject {
  const root: JsonObject = {
    type: "object",
    properties: {
      spec: objectSchema(chance, style, 0),
      status: { type: "object", properties: { n: { type: "integer" } } },
    },
  };
  if (chance.maybe(style.wrong)) spoil(chance, root);
  if (chance.maybe(style.wrong / 3)) root["x-kubernetes-preserve-unknown-fields"] = chance.pick([true, false]);
  if (chance.maybe(style.wrong / 3))
    (root["properties"] as JsonObject)["metadata"] = chance.pick<Json>([
      { type: "object" },
      { type: "object", properties: { name: { type: "string", maxLength: 5 } } },
      { type: "object", properties: { labels: { type: "object" } } },
      { type: "string" },
    ]);
  return root;
}

function anySchema(chance: Chance, style: Style, depth: number): JsonObject {
  const make = chance.weighted<() => JsonObject>([
    [5, () => textSchema(chance)],
    [3, () => numberSchema(chance, "integer")],
    [1, () => numberSchema(chance, "number")],
    [1, () => ({ type: "boolean" })],
    [1, () => intOrString(chance)],
    [depth > 2 ? 0 : 3, () => listSchema(chance, style, depth)],
    [depth > 2 ? 0 : 3, () => objectSchema(chance, style, depth)],
    [1, () => ({ "x-kubernetes-preserve-unknown-fields": true })],
  ]);
  const schema = make();
  if (chance.maybe(0.15)) schema["nullable"] = true;
  if (chance.maybe(0.2)) schema["default"] = defaultFor(chance, schema);
  if (chance.maybe(0.1)) logic(chance, schema);
  if (chance.maybe(0.05)) schema["description"] = "Some words.";
  if (chance.maybe(style.wrong / 2)) spoil(chance, schema);
  return schema;
}

function textSchema(chance: Chance): JsonObject {
  const schema: JsonObject = { type: "string" };
  if (chance.maybe(0.25)) schema["format"] = chance.pick(formats);
  if (chance.maybe(0.2)) schema["minLength"] = chance.pick([0, 1, 2, -1]);
  if (chance.maybe(0.2)) schema["maxLength"] = chance.pick([0, 1, 3, 10]);
  if (chance.maybe(0.15)) schema["pattern"] = chance.pick(patterns);
  if (chance.maybe(0.15)) schema["enum"] = chance.pick<Json>([["a", "b"], ["a", "abc", ""], [], ["a", "a"], [1]]);
  return schema;
}

function numberSchema(chance: Chance, type: string): JsonObject {
  const schema: JsonObject = { type };
  if (chance.maybe(0.2)) schema["format"] = chance.pick(["int32", "int64", "float", "double"]);
  if (chance.maybe(0.2)) schema["minimum"] = chance.pick(numbers);
  if (chance.maybe(0.2)) schema["maximum"] = chance.pick(numbers);
  if (chance.maybe(0.1)) schema["exclusiveMinimum"] = chance.maybe(0.7);
  if (chance.maybe(0.1)) schema["exclusiveMaximum"] = chance.maybe(0.7);
  if (chance.maybe(0.1)) schema["multipleOf"] = chance.pick([2, 3, 0, 0.5, -1]);
  if (chance.maybe(0.1)) schema["enum"] = chance.pick<Json>([[1, 2], [0], ["1"], [1.5]]);
  return schema;
}

function intOrString(chance: Chance): JsonObject {
  return {
    "x-kubernetes-int-or-string": true,
    ...(chance.maybe(0.4) ? { anyOf: [{ type: "integer" }, { type: "string" }] } : {}),
    ...(chance.maybe(0.2) ? { pattern: "^[0-9]+%?$" } : {}),
    ...(chance.maybe(0.1) ? { type: "string" } : {}),
  };
}

function listSchema(chance: Chance, style: Style, depth: number): JsonObject {
  const kind = chance.weighted([
    [5, "plain"],
    [2, "set"],
    [3, "map"],
    [1, "atomic"],
  ] as const);
  const schema: JsonObject = { type: "array" };
  if (kind === "map") {
    const keys = chance.pick<readonly string[]>([["name"], ["name", "value"], ["name"]]);
    const items = objectSchema(chance, style, depth + 1);
    items["properties"] = {
      ...(items["properties"] as JsonObject | undefined),
      name: textSchema(chance),
      value: { type: "integer" },
    };
    delete items["additionalProperties"];
    if (chance.maybe(0.85)) items["required"] = [...keys];
    else if (chance.maybe(0.5)) (items["properties"] as JsonObject)["name"] = { type: "string", default: "d" };
    if (chance.maybe(style.wrong)) items["nullable"] = true;
    Object.assign(schema, { items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [...keys] });
    if (chance.maybe(style.wrong / 2))
      schema["x-kubernetes-list-map-keys"] = chance.pick<Json>([[], ["nope"], ["name", "name"]]);
  } else {
    schema["items"] = kind === "set" ? textSchema(chance) : anySchema(chance, style, depth + 1);
    if (kind === "set" && chance.maybe(style.wrong / 2)) schema["items"] = objectSchema(chance, style, depth + 1);
    if (kind !== "plain") schema["x-kubernetes-list-type"] = kind;
  }
  if (chance.maybe(0.2)) schema["minItems"] = chance.pick([0, 1, 2]);
  if (chance.maybe(0.3)) schema["maxItems"] = chance.pick([1, 2, 5]);
  if (chance.maybe(0.1)) schema["uniqueItems"] = chance.maybe(style.wrong);
  return schema;
}

/** An object with names of the writer's choice. */
function freeSchema(chance: Chance, style: Style, depth: number): JsonObject {
  const schema: JsonObject = { type: "object" };
  schema["additionalProperties"] = chance.maybe(0.1) ? chance.pick([true, false]) : anySchema(chance, style, depth + 1);
  if (chance.maybe(0.2)) schema["maxProperties"] = chance.pick([0, 1, 2]);
  if (chance.maybe(0.1)) schema["minProperties"] = 1;
  return schema;
}

function objectSchema(chance: Chance, style: Style, depth: number): JsonObject {
  if (depth > 0 && chance.maybe(0.25)) return freeSchema(chance, style, depth);
  const schema: JsonObject = { type: "object" };
  const properties: JsonObject = {};
  for (let count = 1 + chance.int(depth === 0 ? 6 : 4); count > 0; count -= 1)
    properties[chance.pick(names)] = anySchema(chance, style, depth + 1);
  schema["properties"] = properties;
  if (chance.maybe(0.3))
    schema["required"] = [chance.pick([...Object.keys(properties), ...(chance.maybe(0.1) ? ["nope"] : [])])];
  if (chance.maybe(0.1)) schema["x-kubernetes-preserve-unknown-fields"] = true;
  if (chance.maybe(0.1))
    schema["x-kubernetes-map-type"] = chance.pick(["atomic", "granular", ...(chance.maybe(style.wrong) ? ["x"] : [])]);
  if (chance.maybe(0.07)) {
    schema["x-kubernetes-embedded-resource"] = true;
    if (chance.maybe(0.8)) schema["x-kubernetes-preserve-unknown-fields"] = true;
  }
  return schema;
}

/** allOf, anyOf, oneOf, not: what they hold is values, not structure. */
function logic(chance: Chance, schema: JsonObject): void {
  const some = (): Json =>
    chance.pick<Json>([
      { required: ["a"] },
      { minLength: 2 },
      { maxLength: 4 },
      { minimum: 3 },
      { enum: ["a", "b"] },
      { pattern: "^a" },
      { properties: { a: { minLength: 1 } } },
      { maxItems: 1 },
      { not: { required: ["b"] } },
      {},
      { format: "ipv4" },
    ]);
  const keyword = chance.pick(["allOf", "anyOf", "oneOf", "not"]);
  schema[keyword] = keyword === "not" ? some() : [some(), some()];
}

function defaultFor(chance: Chance, schema: JsonObject): Json {
  if (chance.maybe(0.12)) return chance.pick<Json>([null, 1, "x", {}, [], true, 1.5]);
  switch (schema["type"]) {
    case "string":
      return chance.pick(texts);
    case "integer":
    case "number":
      return chance.pick(numbers);
    case "boolean":
      return true;
    case "array":
      return chance.pick<Json>([[], ["a"], [{ name: "a" }], [{ name: "a", value: 1 }], [1]]);
    case "object":
      return chance.pick<Json>([{}, { a: "x" }, { a: 1 }, { b: {} }, { nope: 1 }]);
    default:
      return chance.pick<Json>(["10%", 5, true]);
  }
}

/** Makes a schema wrong in one way. */
function spoil(chance: Chance, schema: JsonObject): void {
  const ways: readonly JsonObject[] = [
    { type: chance.pick(["null", "bogus", "array", "object", "string"]) },
    { $ref: "#/x" },
    { [chance.pick(["dependencies", "definitions", "patternProperties"])]: { a: { type: "string" } } },
    { id: "x" },
    { additionalItems: true },
    { "x-kubernetes-embedded-resource": true },
    { "x-kubernetes-int-or-string": true },
    { "x-kubernetes-preserve-unknown-fields": false },
    { "x-kubernetes-list-type": chance.pick(["map", "set", "atomic", "x"]) },
    { "x-kubernetes-list-map-keys": ["a"] },
    { "x-kubernetes-map-type": chance.pick(["atomic", "x"]) },
    { additionalProperties: chance.pick<Json>([true, false, { type: "string" }]) },
    { properties: { a: { type: "string" } } },
    { items: chance.pick<Json>([{ type: "string" }, [{ type: "string" }]]) },
    { uniqueItems: true },
    { nullable: true },
    { bogus: 1 },
    { allOf: [{ type: "string" }, { properties: { nope: { type: "string" } } }] },
    { anyOf: [{ default: "x" }, { description: "x" }, { nullable: true }] },
    { not: { additionalProperties: { type: "string" } } },
    { default: chance.pick<Json>([1, "x", {}, null, []]) },
    {
      "x-kubernetes-validations": chance.pick<Json>([
        [{ rule: "" }],
        [{ rule: "true", reason: "x" }],
        [{ rule: "1" }],
        [{}],
      ]),
    },
    { exclusiveMinimum: true },
  ];
  if (chance.maybe(0.06)) delete schema["type"];
  else Object.assign(schema, chance.pick(ways));
}
