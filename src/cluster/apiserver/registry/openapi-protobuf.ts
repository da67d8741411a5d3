import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";

/*
 * A Swagger 2.0 document as the messages of gnostic's openapi.v2 schema, which Go clients ask for and cannot do without:
 * they read nothing else at /openapi/v2. Only what `swaggerDocument` writes is in these tables.
 */

/** Writes one member of an object as a field. */
type Field = (value: Json) => Uint8Array[];
type Message = Readonly<Record<string, Field>>;

const text = new TextEncoder();

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

function bytesField(number: number, content: Uint8Array): Uint8Array[] {
  return [varint(number * 8 + 2), varint(content.byteLength), content];
}

const stringField =
  (number: number): Field =>
  (value) =>
    typeof value === "string" ? bytesField(number, text.encode(value)) : [];

const boolField =
  (number: number): Field =>
  (value) =>
    value === true ? [varint(number * 8), varint(1)] : [];

const wholeField =
  (number: number): Field =>
  (value) =>
    typeof value === "number" && value > 0 ? [varint(number * 8), varint(value)] : [];

const doubleField =
  (number: number): Field =>
  (value) => {
    if (typeof value !== "number") return [];
    const content = new Uint8Array(8);
    new DataView(content.buffer).setFloat64(0, value, true);
    return [varint(number * 8 + 1), content];
  };

/** Any value, as the YAML that JSON is. */
const anyField =
  (number: number): Field =>
  (value) =>
    bytesField(number, concat(bytesField(2, text.encode(JSON.stringify(value)))));

const each =
  (field: Field): Field =>
  (value) =>
    (Array.isArray(value) ? value : [value]).flatMap(field);

/** A field that holds a message; `message` is asked late, for messages that hold themselves. */
const messageField =
  (number: number, message: (value: JsonObject) => Message): Field =>
  (value) =>
    isObject(value) ? bytesField(number, encodeMessage(message(value), value)) : [];

/** A message with one field, for the many that stand around a value. */
const within =
  (number: number, inner: Field): Field =>
  (value) =>
    bytesField(number, concat(inner(value)));

/** An object whose members are all of one kind: a list of messages with name (1) and value (2). */
const namedField =
  (number: number, value: Field): Field =>
  (members) =>
    isObject(members)
      ? Object.entries(members).flatMap(([name, member]) =>
          member === undefined
            ? []
            : bytesField(number, concat([...bytesField(1, text.encode(name)), ...value(member)])),
        )
      : [];

const schema: Message = {
  $ref: stringField(1),
  format: stringField(2),
  title: stringField(3),
  description: stringField(4),
  default: anyField(5),
  multipleOf: doubleField(6),
  maximum: doubleField(7),
  exclusiveMaximum: boolField(8),
  minimum: doubleField(9),
  exclusiveMinimum: boolField(10),
  maxLength: wholeField(11),
  minLength: wholeField(12),
  pattern: stringField(13),
  maxItems: wholeField(14),
  minItems: wholeField(15),
  uniqueItems: boolField(16),
  maxProperties: wholeField(17),
  minProperties: wholeField(18),
  required: each(stringField(19)),
  enum: each(anyField(20)),
  additionalProperties: (value) => within(21, typeof value === "boolean" ? boolField(2) : schemaField(1))(value),
  type: within(22, each(stringField(1))),
  items: within(
    23,
    each((value) => schemaField(1)(value)),
  ),
  properties: within(25, (value) => namedField(1, schemaField(2))(value)),
  example: anyField(30),
  "x-": namedField(31, anyField(2)),
};

function schemaField(number: number): Field {
  return messageField(number, () => schema);
}

const bodyParameter: Message = {
  description: stringField(1),
  name: stringField(2),
  in: stringField(3),
  required: boolField(4),
  schema: schemaField(5),
};
const pathParameter: Message = {
  required: boolField(1),
  in: stringField(2),
  description: stringField(3),
  name: stringField(4),
  type: stringField(5),
  format: stringField(6),
  uniqueItems: boolField(18),
};
const queryParameter: Message = {
  ...pathParameter,
  type: stringField(6),
  format: stringField(7),
  uniqueItems: boolField(20),
};

/** The message for a parameter depends on where the parameter stands. */
const parametersField = (number: number): Field =>
  each((value) => {
    const place = isObject(value) ? value["in"] : undefined;
    if (place === "body")
      return within(
        number,
        within(
          1,
          messageField(1, () => bodyParameter),
        ),
      )(value);
    const inner = place === "path" ? messageField(4, () => pathParameter) : messageField(3, () => queryParameter);
    return within(number, within(1, within(2, inner)))(value);
  });

const response: Message = { description: stringField(1), schema: within(2, schemaField(1)) };

const operation: Message = {
  tags: each(stringField(1)),
  summary: stringField(2),
  description: stringField(3),
  operationId: stringField(5),
  produces: each(stringField(6)),
  consumes: each(stringField(7)),
  parameters: parametersField(8),
  responses: within(
    9,
    namedField(
      1,
      within(
        2,
        messageField(1, () => response),
      ),
    ),
  ),
  schemes: each(stringField(10)),
  deprecated: boolField(11),
  "x-": namedField(13, anyField(2)),
};
const operationField = (number: number): Field => messageField(number, () => operation);

const pathItem: Message = {
  get: operationField(2),
  put: operationField(3),
  post: operationField(4),
  delete: operationField(5),
  options: operationField(6),
  head: operationField(7),
  patch: operationField(8),
  parameters: parametersField(9),
};

const document: Message = {
  swagger: stringField(1),
  info: messageField(2, () => ({ title: stringField(1), version: stringField(2) })),
  paths: within(
    8,
    namedField(
      2,
      messageField(2, () => pathItem),
    ),
  ),
  definitions: within(9, namedField(1, schemaField(2))),
};

/** A Swagger 2.0 document in protobuf. */
export function swaggerProtobuf(value: JsonObject): Uint8Array {
  return encodeMessage(document, value);
}

/** Members that a message does not have are extensions when their name begins with `x-`; others are left out. */
function encodeMessage(message: Message, value: JsonObject): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [key, member] of Object.entries(value)) {
    if (member === undefined) continue;
    const field = message[key];
    if (field !== undefined) parts.push(...field(member));
    else if (key.startsWith("x-")) parts.push(...(message["x-"]?.({ [key]: member }) ?? []));
  }
  return concat(parts);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}
