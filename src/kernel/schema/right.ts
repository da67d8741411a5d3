import type { Json, JsonObject } from "../kinds/object.js";
import { matchesFormat } from "./formats.js";
import { equalJson, isObject } from "./json.js";
import { compilePattern } from "./pattern.js";
import type { Schema } from "./types.js";

/**
 * Whether a value has no fault by a schema, as `validateValue` would find them: most values have none, and to be told so needs no words, places or
 * lists.
 */
export function isRight(schema: Schema, value: Json): boolean {
  if (!isOfType(schema, value) || !isListed(schema, value)) return false;
  if (value === null) return true;
  if (!isCombined(schema, value)) return false;
  if (typeof value === "string") return isRightString(schema, value);
  if (typeof value === "number") return isRightNumber(schema, value);
  if (Array.isArray(value)) return isRightList(schema, value);
  return !isObject(value) || isRightObject(schema, value);
}

/** Name of a value's type in words. */
export function typeName(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

/** Formats of Go's numbers, by which upstream calls a number where the schema names a format. */
export const numberFormats: Readonly<Record<string, string>> = { integer: "int64", number: "float64" };

function isOfType(schema: Schema, value: Json): boolean {
  const isEither = schema["x-kubernetes-int-or-string"] === true;
  const { type = "", format = "" } = schema;
  const isTyped = isEither || type !== "";
  if (!isTyped && format === "") return true;
  if (value === null) return !isTyped || schema.nullable === true;
  const isFreeForm = (typeof value === "string" || Array.isArray(value)) && format !== "";
  const isNumeric = isEither || type === "number" || type === "integer";
  if (isFreeForm && !isNumeric) return true;
  const actual = typeName(value);
  if (isEither) return actual === "integer" || actual === "string";
  return actual === type || (actual === "integer" && type === "number");
}

/** Characters, of which some are two code units. */
export function characters(value: string): number {
  let count = 0;
  for (const _ of value) count += 1;
  return count;
}

function isRightString({ minLength, maxLength, pattern, format }: Schema, value: string): boolean {
  if (minLength !== undefined || maxLength !== undefined) {
    const length = characters(value);
    if (length > (maxLength ?? length) || length < (minLength ?? 0)) return false;
  }
  if (pattern !== undefined && !compilePattern(pattern).test(value)) return false;
  return format === undefined || matchesFormat(format, value);
}

/** Whether a number is a multiple of another, as far as numbers can tell. */
export function isMultiple(value: number, of: number): boolean {
  const quotient = value / of;
  return Math.abs(quotient - Math.round(quotient)) < 1e-9 * Math.max(1, Math.abs(quotient));
}

/** Whole numbers are compared with whole bounds. */
export function boundFor(value: number, bound: number | undefined): number | undefined {
  return bound === undefined || !Number.isInteger(value) ? bound : Math.trunc(bound);
}

function isRightNumber(schema: Schema, value: number): boolean {
  const isSmall = schema.format === "int32" && schema.type === "integer";
  if (isSmall && (value > 2_147_483_647 || value < -2_147_483_648)) return false;
  const [minimum, maximum] = [boundFor(value, schema.minimum), boundFor(value, schema.maximum)];
  const multipleOf = boundFor(value, schema.multipleOf);
  if (multipleOf !== undefined && (multipleOf <= 0 || !isMultiple(value, multipleOf))) return false;
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum)) return false;
  return maximum === undefined || (schema.exclusiveMaximum === true ? value < maximum : value <= maximum);
}

function isRightList({ items, minItems, maxItems }: Schema, value: readonly Json[]): boolean {
  if (value.length > (maxItems ?? value.length) || value.length < (minItems ?? 0)) return false;
  if (items === undefined) return true;
  for (const item of value) if (!isRight(items, item)) return false;
  return true;
}

function isRightObject(schema: Schema, value: JsonObject): boolean {
  const { required, minProperties, maxProperties } = schema;
  if (minProperties !== undefined || maxProperties !== undefined) {
    const size = Object.keys(value).length;
    if (size > (maxProperties ?? size) || size < (minProperties ?? 0)) return false;
  }
  for (const name in value) {
    const present = value[name];
    if (present !== undefined && !isRightMember(schema, name, present)) return false;
  }
  if (required !== undefined) for (const name of required) if (value[name] === undefined) return false;
  return true;
}

function isRightMember({ properties, additionalProperties }: Schema, name: string, value: Json): boolean {
  const isKnown = properties !== undefined && Object.hasOwn(properties, name);
  const child = isKnown ? properties[name] : additionalProperties;
  return typeof child === "object" ? isRight(child, value) : isKnown || child !== false;
}

/** Whether an enum's value is meant. */
export function isAllowed(allowed: Json, value: Json): boolean {
  if (typeof allowed === "number" && typeof value === "number")
    return Number.isInteger(allowed) ? Math.trunc(value) === allowed : value === allowed;
  return equalJson(allowed, value);
}

function isListed(schema: Schema, value: Json): boolean {
  if (schema.enum === undefined || schema.enum.length === 0) return true;
  for (const allowed of schema.enum) if (isAllowed(allowed, value)) return true;
  return false;
}

function isCombined({ anyOf, oneOf, allOf, not }: Schema, value: Json): boolean {
  if (anyOf !== undefined && anyOf.length > 0 && !anyOf.some((part) => isRight(part, value))) return false;
  if (oneOf !== undefined && oneOf.length > 0 && oneOf.filter((part) => isRight(part, value)).length !== 1)
    return false;
  if (allOf?.every((part) => isRight(part, value)) === false) return false;
  return not === undefined || !isRight(not, value);
}
