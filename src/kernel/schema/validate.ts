import type { StatusCause } from "../errors/index.js";
import type { Json, JsonObject } from "../kinds/object.js";
import { matchesFormat } from "./formats.js";
import { equalJson, isObject } from "./json.js";
import { compilePattern } from "./pattern.js";
import type { Schema } from "./types.js";

/** A value as Kubernetes shows it in messages: text quoted, everything else as JSON. */
export function quoteValue(value: Json | undefined): string {
  return value === undefined ? "null" : JSON.stringify(value);
}

/** Checks a value against a structural schema (no $ref). Returns one cause per fault, worded as a Kubernetes API server words it; unknown fields are no fault. `path` prefixes the fields. */
export function validateSchema(schema: Schema, value: Json | undefined, path = ""): StatusCause[] {
  const causes: StatusCause[] = [];
  if (value !== undefined) check(schema, value, path, causes);
  return causes;
}

function check(schema: Schema, value: Json, path: string, causes: StatusCause[]): void {
  if (!checkType(schema, value, path, causes)) return;
  if (value === null) return;
  if (typeof value === "string") checkString(schema, value, path, causes);
  else if (typeof value === "number") checkNumber(schema, value, path, causes);
  else if (Array.isArray(value)) checkList(schema, value, path, causes);
  else if (isObject(value)) checkObject(schema, value, path, causes);
  checkEnum(schema, value, path, causes);
  checkCombined(schema, value, path, causes);
}

function invalid(path: string, value: Json, detail: string): StatusCause {
  return { reason: "FieldValueInvalid", message: `Invalid value: ${quoteValue(value)}: ${detail}`, field: path };
}

function inBody(path: string): string {
  return `${path} in body`;
}

function typeName(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function checkType(schema: Schema, value: Json, path: string, causes: StatusCause[]): boolean {
  if (value === null && (schema.nullable === true || acceptsAnything(schema))) return true;
  const actual = typeName(value);
  const wanted = schema["x-kubernetes-int-or-string"] === true ? "integer,string" : schema.type;
  if (wanted === undefined) return true;
  if (wanted === actual || (wanted === "number" && actual === "integer") || wanted.split(",").includes(actual))
    return true;
  const message = `Invalid value: ${quoteValue(actual)}: ${inBody(path)} must be of type ${wanted}: ${quoteValue(actual)}`;
  causes.push({ reason: "FieldValueTypeInvalid", message, field: path });
  return false;
}

function acceptsAnything(schema: Schema): boolean {
  return schema.type === undefined && schema["x-kubernetes-int-or-string"] !== true;
}

/** Only the first of length and pattern is told, as upstream. */
function checkString(schema: Schema, value: string, path: string, causes: StatusCause[]): void {
  const { minLength, maxLength, pattern, format } = schema;
  const length = minLength === undefined && maxLength === undefined ? 0 : characters(value);
  if (maxLength !== undefined && length > maxLength)
    causes.push({
      reason: "FieldValueTooLong",
      message: `Too long: may not be more than ${maxLength} bytes`,
      field: path,
    });
  else if (minLength !== undefined && length < minLength)
    causes.push(invalid(path, value, `${inBody(path)} should be at least ${minLength} chars long`));
  else if (pattern !== undefined && !compilePattern(pattern).test(value))
    causes.push(invalid(path, value, `${inBody(path)} should match '${pattern}'`));
  if (format !== undefined && !matchesFormat(format, value)) {
    const detail = `${inBody(path)} must be of type ${format}: ${quoteValue(value)}`;
    causes.push({
      reason: "FieldValueTypeInvalid",
      message: `Invalid value: ${quoteValue(value)}: ${detail}`,
      field: path,
    });
  }
}

function characters(value: string): number {
  let count = 0;
  for (const _ of value) count += 1;
  return count;
}

function checkNumber(schema: Schema, value: number, path: string, causes: StatusCause[]): void {
  const { minimum, maximum, multipleOf, format } = schema;
  if (multipleOf !== undefined && !isMultiple(value, multipleOf))
    causes.push(invalid(path, value, `${inBody(path)} should be a multiple of ${multipleOf}`));
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum))
    causes.push(
      invalid(
        path,
        value,
        `${inBody(path)} should be less than ${schema.exclusiveMaximum === true ? "" : "or equal to "}${maximum}`,
      ),
    );
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum))
    causes.push(
      invalid(
        path,
        value,
        `${inBody(path)} should be greater than ${schema.exclusiveMinimum === true ? "" : "or equal to "}${minimum}`,
      ),
    );
  if (format === "int32" && schema.type === "integer" && (value > 2_147_483_647 || value < -2_147_483_648))
    causes.push(invalid(path, value, "Checked value must be of type integer with format int32"));
}

function isMultiple(value: number, of: number): boolean {
  const quotient = value / of;
  return Math.abs(quotient - Math.round(quotient)) < 1e-9 * Math.max(1, Math.abs(quotient));
}

function checkList(schema: Schema, value: readonly Json[], path: string, causes: StatusCause[]): void {
  const { minItems, maxItems, items } = schema;
  if (minItems !== undefined && value.length < minItems)
    causes.push(invalid(path, value.length, `${inBody(path)} should have at least ${minItems} items`));
  if (maxItems !== undefined && value.length > maxItems) {
    causes.push({
      reason: "FieldValueTooMany",
      message: `Too many: ${value.length}: must have at most ${maxItems} items`,
      field: path,
    });
    return;
  }
  if (items !== undefined) for (const [index, item] of value.entries()) check(items, item, `${path}[${index}]`, causes);
  checkUnique(schema, value, path, causes);
}

function checkUnique(schema: Schema, value: readonly Json[], path: string, causes: StatusCause[]): void {
  const listType = schema["x-kubernetes-list-type"];
  if (listType !== "set" && listType !== "map") return;
  const seen = new Set<string>();
  for (const [index, item] of value.entries()) {
    const shown = listType === "set" ? item : keysOf(schema, item);
    const identity = JSON.stringify(sorted(shown));
    if (seen.has(identity))
      causes.push({
        reason: "FieldValueDuplicate",
        message: `Duplicate value: ${quoteValue(shown)}`,
        field: `${path}[${index}]`,
      });
    seen.add(identity);
  }
}

function keysOf(schema: Schema, item: Json): Json {
  if (!isObject(item)) return item;
  const keys: JsonObject = {};
  for (const name of schema["x-kubernetes-list-map-keys"] ?? []) {
    const value = item[name] ?? schema.items?.properties?.[name]?.default;
    if (value !== undefined) keys[name] = value;
  }
  return keys;
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    entries.map(([name, member]): [string, Json | undefined] => [name, member === undefined ? member : sorted(member)]),
  );
}

function checkObject(schema: Schema, value: JsonObject, path: string, causes: StatusCause[]): void {
  const { properties, additionalProperties, required, minProperties, maxProperties } = schema;
  if (minProperties !== undefined || maxProperties !== undefined) checkSize(schema, value, path, causes);
  if (schema["x-kubernetes-embedded-resource"] === true) checkEmbedded(value, path, causes);
  for (const name of required ?? [])
    if (value[name] === undefined)
      causes.push({ reason: "FieldValueRequired", message: "Required value", field: join(path, name) });
  for (const name in value) {
    const present = value[name];
    if (present === undefined) continue;
    const child = properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    if (typeof child === "object") check(child, present, join(path, name), causes);
  }
}

function checkSize(schema: Schema, value: JsonObject, path: string, causes: StatusCause[]): void {
  const size = Object.keys(value).length;
  const { minProperties, maxProperties } = schema;
  if (minProperties !== undefined && size < minProperties)
    causes.push(invalid(path, size, `${inBody(path)} should have at least ${minProperties} properties`));
  if (maxProperties !== undefined && size > maxProperties)
    causes.push({
      reason: "FieldValueTooMany",
      message: `Too many: ${size}: must have at most ${maxProperties} items`,
      field: path,
    });
}

function checkEmbedded(value: JsonObject, path: string, causes: StatusCause[]): void {
  for (const name of ["apiVersion", "kind"])
    if (value[name] === undefined || value[name] === "")
      causes.push({ reason: "FieldValueRequired", message: "Required value", field: join(path, name) });
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

function checkEnum(schema: Schema, value: Json, path: string, causes: StatusCause[]): void {
  if (schema.enum === undefined || schema.enum.some((allowed) => equalJson(allowed, value))) return;
  const supported = schema.enum.map((allowed) =>
    typeof allowed === "string" ? JSON.stringify(allowed) : `"${quoteValue(allowed)}"`,
  );
  const message = `Unsupported value: ${quoteValue(value)}: supported values: ${supported.join(", ")}`;
  causes.push({ reason: "FieldValueNotSupported", message, field: path });
}

function checkCombined(schema: Schema, value: Json, path: string, causes: StatusCause[]): void {
  if (schema["x-kubernetes-int-or-string"] === true) return;
  const where = path === "" ? "<nil>" : path;
  const passes = (part: Schema): boolean => validateSchema(part, value, path).length === 0;
  for (const part of schema.allOf ?? []) {
    const faults = validateSchema(part, value, path);
    causes.push(...faults);
  }
  if (schema.anyOf !== undefined && !schema.anyOf.some(passes))
    causes.push(invalid(path, "", `"${where}" must validate at least one schema (anyOf)`));
  if (schema.oneOf !== undefined) {
    const matching = schema.oneOf.filter(passes).length;
    const found = matching === 0 ? "Found none valid" : `Found ${matching} valid alternatives`;
    if (matching !== 1)
      causes.push(invalid(path, "", `"${where}" must validate one and only one schema (oneOf). ${found}`));
  }
  if (schema.not !== undefined && passes(schema.not))
    causes.push(invalid(path, "", `"${where}" must not validate the schema (not)`));
}
