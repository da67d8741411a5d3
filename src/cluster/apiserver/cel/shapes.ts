import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asString, isObject } from "../../../kernel/schema/index.js";
import {
  dynamicValue,
  type Engine,
  type FieldReader,
  keyedList,
  listOf,
  mapOf,
  ObjectValue,
  readDuration,
  readTime,
  structOf,
  type Type,
  types,
} from "./language/index.js";

/** What a schema says of a value, for expressions: its type, how JSON becomes it, and how big it can be. */
export interface Shape {
  readonly type: Type;
  convert(value: Json): unknown;
  /** Most elements of a list or map, most characters of a text; 0 for what has no size. */
  readonly max: number;
  /** Least bytes of its JSON. */
  readonly minBytes: number;
  readonly fields?: ReadonlyMap<string, Shape>;
  readonly items?: Shape;
  readonly values?: Shape;
}

/** The biggest request, in bytes. */
export const maxRequestBytes = 3 * 1024 * 1024;
const reserved = new Set(
  "true false null in as break const continue else for function if import let loop package namespace return var void while".split(
    " ",
  ),
);
/** Keys of maps may be as long as a request. */
export const keySize = 0;

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

/** Where a schema stands. */
interface Place {
  /** Objects there have a name and a type at least. */
  readonly isResource: boolean;
  /** What the type of an object is called; default: as its place. */
  readonly named?: (path: string) => string;
}

/** Declares the types of a schema in an engine. `undefined`: expressions cannot read such a value. */
export function shapeOf(engine: Engine, schema: JsonObject, name: string, place: Place): Shape | undefined {
  if (schema["x-kubernetes-int-or-string"] === true) {
    const bound = asNumber(schema["maxLength"]);
    return {
      type: types.dyn,
      convert: dynamicValue,
      max: bound === undefined ? maxRequestBytes - 2 : bound * 4,
      minBytes: 1,
    };
  }
  switch (schema["type"]) {
    case "array":
      return listShape(engine, schema, name, place);
    case "object":
      return objectShape(engine, place.isResource ? withTypeAndName(schema) : schema, name, place);
    case "string":
      return textShape(schema);
    case "integer":
      return { type: types.int, convert: wholeNumber, max: 0, minBytes: 1 };
    case "number":
      return { type: types.double, convert: (value) => value, max: 0, minBytes: 1 };
    case "boolean":
      return { type: types.bool, convert: (value) => value, max: 0, minBytes: 4 };
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

const isEmbedded = (schema: JsonObject): boolean => schema["x-kubernetes-embedded-resource"] === true;

function listShape(engine: Engine, schema: JsonObject, name: string, place: Place): Shape | undefined {
  const inner = asObject(schema["items"]);
  const items = shapeOf(engine, inner, `${name}.@idx`, { ...place, isResource: isEmbedded(inner) });
  if (items === undefined) return undefined;
  const max = asNumber(schema["maxItems"]) ?? Math.floor((maxRequestBytes - 2) / (items.minBytes + 1));
  const keyOf = keyReader(schema);
  return {
    type: listOf(items.type),
    convert(value) {
      if (!Array.isArray(value)) return value;
      const made = value.map((item) => items.convert(item));
      return keyOf === undefined ? made : keyedList(made, keyOf);
    },
    max: Math.max(max, 0),
    minBytes: 2,
    items,
  };
}

/** How items of a list are told apart whose order means nothing. */
function keyReader(schema: JsonObject): ((item: unknown) => string) | undefined {
  const kind = schema["x-kubernetes-list-type"];
  if (kind === "set") return (item) => `${typeof item} ${String(item)}`;
  if (kind !== "map") return undefined;
  const keys = asList(schema["x-kubernetes-list-map-keys"]).map(asString);
  return (item) => JSON.stringify(item instanceof ObjectValue ? keys.map((key) => item.raw[key] ?? null) : null);
}

function objectShape(engine: Engine, schema: JsonObject, name: string, place: Place): Shape | undefined {
  const { additionalProperties } = schema;
  if (isObject(additionalProperties)) return mapShape(engine, schema, name, place);
  const fields = new Map<string, Shape>();
  const readers = new Map<string, FieldReader>();
  const required = asList(schema["required"]);
  let minBytes = 2;
  for (const [property, inner] of Object.entries(asObject(schema["properties"]))) {
    if (!isObject(inner)) continue;
    const escaped = escapeField(property);
    const shape = shapeOf(engine, inner, `${name}.${escaped ?? property}`, { ...place, isResource: isEmbedded(inner) });
    if (shape === undefined) continue;
    if (required.includes(property) && inner["default"] === undefined) minBytes += property.length + 4 + shape.minBytes;
    if (escaped === undefined) continue;
    fields.set(escaped, shape);
    readers.set(escaped, { property, convert: (value) => shape.convert(value) });
  }
  const typeName = place.named?.(name) ?? name;
  const fieldTypes = new Map([...fields].map(([field, shape]) => [field, shape.type]));
  // A word of the language may be written as it is where a field is wanted.
  for (const word of reserved) {
    const [type, reader] = [fieldTypes.get(`__${word}__`), readers.get(`__${word}__`)];
    if (type === undefined || reader === undefined || fieldTypes.has(word)) continue;
    fieldTypes.set(word, type);
    readers.set(word, reader);
  }
  engine.declareFields(typeName, fieldTypes);
  return {
    type: structOf(typeName),
    convert: (value) => (isObject(value) ? new ObjectValue(typeName, value, readers) : value),
    max: 0,
    minBytes,
    fields,
  };
}

function mapShape(engine: Engine, schema: JsonObject, name: string, place: Place): Shape | undefined {
  const inner = asObject(schema["additionalProperties"]);
  const values = shapeOf(engine, inner, `${name}.@elem`, { ...place, isResource: isEmbedded(inner) });
  if (values === undefined) return undefined;
  const max = asNumber(schema["maxProperties"]) ?? Math.floor((maxRequestBytes - 2) / (values.minBytes + 6));
  return {
    type: mapOf(types.string, values.type),
    convert(value) {
      if (!isObject(value)) return value;
      const members = new Map<string, unknown>();
      for (const [key, member] of Object.entries(value))
        if (member !== undefined && member !== null) members.set(key, values.convert(member));
      return members;
    },
    max: Math.max(max, 0),
    minBytes: 2,
    values,
  };
}

const timestamp = (value: Json): unknown => {
  const text = asString(value).replace("t", "T").replace(/z$/, "Z").replace(" ", "T");
  return readTime(text.length === 10 ? `${text}T00:00:00Z` : text) ?? value;
};

function textShape(schema: JsonObject): Shape {
  const longest = asList(schema["enum"]).reduce<number>((so, item) => Math.max(so, asString(item).length), 0);
  const bound = asNumber(schema["maxLength"]);
  const plain = longest > 0 ? longest : maxRequestBytes - 2;
  // Characters are up to four bytes long.
  const max = bound === undefined ? plain : Math.max(bound, 0) * 4;
  const bytes = bound === undefined ? maxRequestBytes - 2 : Math.max(bound, 0);
  switch (schema["format"]) {
    case "byte":
      return { type: types.bytes, convert: (value) => Buffer.from(asString(value), "base64"), max: bytes, minBytes: 2 };
    case "date":
      return { type: types.timestamp, convert: timestamp, max: 12, minBytes: 12 };
    case "date-time":
      return { type: types.timestamp, convert: timestamp, max: 32, minBytes: 21 };
    case "duration":
      return {
        type: types.duration,
        convert: (value) => readDuration(asString(value)) ?? value,
        max: 32,
        minBytes: 3,
      };
    default:
      return { type: types.string, convert: (value) => value, max, minBytes: 2 };
  }
}
