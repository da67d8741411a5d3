import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asString, isObject } from "../../../kernel/schema/index.js";
import { durationOf, type Engine } from "./engine.unsafe.js";
import { dynamicValue, ObjectValue } from "./values.js";

/** What a schema says of a value, for expressions: its type, how JSON becomes it, and how big it can be. */
export interface Shape {
  /** In the words of the engine: `int`, `list<string>`, `self.spec`. */
  readonly type: string;
  convert(value: Json): unknown;
  /** Most elements of a list or map, most characters of a text; 0 for what has no size. */
  readonly max: number;
  /** Least bytes of its JSON. */
  readonly minBytes: number;
  readonly fields?: ReadonlyMap<string, Shape>;
  readonly items?: Shape;
  readonly values?: Shape;
}

const maxRequestBytes = 3 * 1024 * 1024;
const reserved = new Set(
  "true false null in as break const continue else for function if import let loop package namespace return var void while".split(
    " ",
  ),
);
/** Members that every JavaScript object has. */
const unsafe = new Set(["constructor", "__proto__", "toString", "valueOf"]);

/** The name by which expressions read a field; `undefined`: they cannot. */
export function escapeField(name: string): string | undefined {
  if (!/^[A-Za-z_][\w.\-/]*$/.test(name)) return undefined;
  if (reserved.has(name)) return `__${name}__`;
  return name
    .replaceAll("__", "__underscores__")
    .replaceAll(".", "__dot__")
    .replaceAll("-", "__dash__")
    .replaceAll("/", "__slash__");
}

/** Declares the types of a schema in an engine. `undefined`: expressions cannot read such a value. */
export function shapeOf(engine: Engine, schema: JsonObject, name: string, isResource: boolean): Shape | undefined {
  if (schema["x-kubernetes-int-or-string"] === true)
    return { type: "dyn", convert: dynamicValue, max: maxRequestBytes - 2, minBytes: 1 };
  switch (schema["type"]) {
    case "array":
      return listShape(engine, schema, name);
    case "object":
      return objectShape(engine, isResource ? withTypeAndName(schema) : schema, name);
    case "string":
      return textShape(schema);
    case "integer":
      return { type: "int", convert: wholeNumber, max: 0, minBytes: 1 };
    case "number":
      return { type: "double", convert: (value) => value, max: 0, minBytes: 1 };
    case "boolean":
      return { type: "bool", convert: (value) => value, max: 0, minBytes: 4 };
    default:
      return undefined;
  }
}

function wholeNumber(value: Json): unknown {
  return typeof value === "number" && Number.isInteger(value) ? BigInt(value) : value;
}

function withTypeAndName(schema: JsonObject): JsonObject {
  const text = { type: "string" };
  const metadata = { type: "object", properties: { name: text, generateName: text } };
  return { ...schema, properties: { ...asObject(schema["properties"]), apiVersion: text, kind: text, metadata } };
}

function listShape(engine: Engine, schema: JsonObject, name: string): Shape | undefined {
  const inner = asObject(schema["items"]);
  const items = shapeOf(engine, inner, `${name}.item`, inner["x-kubernetes-embedded-resource"] === true);
  if (items === undefined) return undefined;
  const max = asNumber(schema["maxItems"]) ?? Math.floor((maxRequestBytes - 2) / (items.minBytes + 1));
  return {
    type: `list<${items.type}>`,
    convert: (value) => (Array.isArray(value) ? value.map((item) => items.convert(item)) : value),
    max,
    minBytes: 2,
    items,
  };
}

function objectShape(engine: Engine, schema: JsonObject, name: string): Shape | undefined {
  const { additionalProperties } = schema;
  if (isObject(additionalProperties)) return mapShape(engine, schema, additionalProperties, name);
  const fields = new Map<string, Shape>();
  const getters: PropertyDescriptorMap = {};
  const required = asList(schema["required"]);
  let minBytes = 2;
  for (const [property, inner] of Object.entries(asObject(schema["properties"]))) {
    const escaped = escapeField(property);
    if (escaped === undefined || unsafe.has(escaped) || !isObject(inner)) continue;
    const shape = shapeOf(engine, inner, `${name}.${escaped}`, inner["x-kubernetes-embedded-resource"] === true);
    if (shape === undefined) continue;
    fields.set(escaped, shape);
    getters[escaped] = getter(property, shape);
    if (required.includes(property) && inner["default"] === undefined) minBytes += property.length + 4 + shape.minBytes;
  }
  const ctor = class extends ObjectValue {};
  Object.defineProperties(ctor.prototype, getters);
  engine.declareType(name, ctor, Object.fromEntries([...fields].map(([field, shape]) => [field, shape.type])));
  engine.defineEquality(name, (a: unknown, b: unknown) => sameObject(a, b));
  return { type: name, convert: (value) => (isObject(value) ? new ctor(value) : value), max: 0, minBytes, fields };
}

function sameObject(a: unknown, b: unknown): boolean {
  if (!(a instanceof ObjectValue) || !(b instanceof ObjectValue)) return false;
  return JSON.stringify(sorted(ObjectValue.rawOf(a))) === JSON.stringify(sorted(ObjectValue.rawOf(b)));
}

function sorted(value: Json | undefined): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value ?? null;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

/** A member is converted when it is read; null counts as absent. */
function getter(property: string, shape: Shape): PropertyDescriptor {
  return {
    get(this: ObjectValue) {
      const raw = ObjectValue.rawOf(this);
      const value = Object.hasOwn(raw, property) ? raw[property] : undefined;
      return value === undefined || value === null ? undefined : shape.convert(value);
    },
  };
}

function mapShape(engine: Engine, schema: JsonObject, inner: JsonObject, name: string): Shape | undefined {
  const values = shapeOf(engine, inner, `${name}.value`, inner["x-kubernetes-embedded-resource"] === true);
  if (values === undefined) return undefined;
  const max = asNumber(schema["maxProperties"]) ?? Math.floor((maxRequestBytes - 2) / (values.minBytes + 6));
  return {
    type: `map<string, ${values.type}>`,
    convert(value) {
      if (!isObject(value)) return value;
      const members = new Map<string, unknown>();
      for (const [key, member] of Object.entries(value))
        if (member !== undefined && member !== null) members.set(key, values.convert(member));
      return members;
    },
    max,
    minBytes: 2,
    values,
  };
}

const timestamp = (value: Json): unknown => (typeof value === "string" ? new Date(value) : value);

function textShape(schema: JsonObject): Shape {
  const longest = asList(schema["enum"]).reduce<number>((so, item) => Math.max(so, asString(item).length), 0);
  const bound = asNumber(schema["maxLength"]);
  const plain = longest > 0 ? longest : maxRequestBytes - 2;
  // Characters are up to four bytes long.
  const max = bound === undefined ? plain : Math.max(bound, 0) * 4;
  const bytes = bound === undefined ? maxRequestBytes - 2 : Math.max(bound, 0);
  switch (schema["format"]) {
    case "byte":
      return { type: "bytes", convert: (value) => Buffer.from(asString(value), "base64"), max: bytes, minBytes: 2 };
    case "date":
      return { type: "google.protobuf.Timestamp", convert: timestamp, max: 12, minBytes: 12 };
    case "date-time":
      return { type: "google.protobuf.Timestamp", convert: timestamp, max: 32, minBytes: 21 };
    case "duration":
      return {
        type: "google.protobuf.Duration",
        convert: (value) => durationOf(asString(value)),
        max: 32,
        minBytes: 3,
      };
    default:
      return { type: "string", convert: (value) => value, max, minBytes: 2 };
  }
}
