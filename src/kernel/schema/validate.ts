import type { StatusCause } from "../errors/index.js";
import type { Json, JsonObject } from "../kinds/object.js";
import { matchesFormat } from "./formats.js";
import { isObject } from "./json.js";
import { compilePattern } from "./pattern.js";
import { boundFor, characters, isAllowed, isMultiple, isRight, numberFormats, typeName } from "./right.js";
import type { Schema } from "./types.js";

/** A value as Kubernetes shows it in messages: text quoted, everything else as JSON. */
export function quoteValue(value: Json | undefined): string {
  return value === undefined ? "null" : JSON.stringify(value);
}

/** Checks a value against a structural schema (no $ref). Returns one cause per fault, worded as a Kubernetes API server words it; unknown fields are no fault. `path` prefixes the fields. */
export function validateSchema(schema: Schema, value: Json | undefined, path = ""): StatusCause[] {
  if (value === undefined) return [];
  const causes = validateValue(schema, value, path);
  checkStructure(schema, value, path, causes);
  return causes;
}

/** The same without what lists and whole resources have to be besides: each item once, an apiVersion and a kind. */
export function validateValue(schema: Schema, value: Json, path = ""): StatusCause[] {
  return isRight(schema, value) ? [] : check(schema, value, path).causes;
}

/** Whether a fault is one of anyOf, oneOf, allOf or not: upstream tells them of the value as a whole, and names the place in the words. */
export function isComposite({ message }: StatusCause): boolean {
  return /^Invalid value: "": ".*" must (not )?validate /.test(message);
}

/** Faults found, and how much was found right: of alternatives that all fail, that which nearly fits is told. */
class Result {
  readonly causes: StatusCause[] = [];
  matches = 0;

  get isValid(): boolean {
    return this.causes.length === 0;
  }

  add(cause: StatusCause): void {
    if (!this.causes.some(({ field, message }) => field === cause.field && message === cause.message))
      this.causes.push(cause);
  }

  merge(other: Result): void {
    for (const cause of other.causes) this.add(cause);
    this.matches += other.matches;
  }
}

/** A value of the wrong type is checked by all other rules that speak of values of its own type, as upstream. */
function check(schema: Schema, value: Json, path: string): Result {
  const result = new Result();
  result.matches = 2;
  checkType(schema, value, path, result);
  if (value === null) {
    checkEnum(schema, value, path, result);
    return result;
  }
  checkCombined(schema, value, path, result);
  if (typeof value === "string") checkString(schema, value, path, result);
  else if (typeof value === "number") checkNumber(schema, value, path, result);
  else if (Array.isArray(value)) checkList(schema, value, path, result);
  checkEnum(schema, value, path, result);
  if (isObject(value)) checkObject(schema, value, path, result);
  return result;
}

function invalid(path: string, value: Json, detail: string): StatusCause {
  return {
    reason: "FieldValueInvalid",
    message: `Invalid value: ${quoteValue(value)}: ${detail}`,
    field: fieldOf(path),
  };
}

/** Names of values that have none of their own begin with a dot in the words, and not in the field. */
function fieldOf(path: string): string {
  return path.startsWith(".") ? path.slice(1) : path;
}

function inBody(path: string): string {
  return `${path} in body`;
}

function checkType(schema: Schema, value: Json, path: string, result: Result): void {
  const wanted = schema["x-kubernetes-int-or-string"] === true ? ["integer", "string"] : [schema.type ?? ""];
  const format = schema.format ?? "";
  if (wanted[0] === "" && format === "") return;
  result.matches += 1;
  const actual = typeName(value);
  const refuse = (type: string, found: string): void => {
    result.matches -= 1;
    const message = `Invalid value: ${quoteValue(found)}: ${inBody(path)} must be of type ${type}: ${quoteValue(found)}`;
    result.add({ reason: "FieldValueTypeInvalid", message, field: fieldOf(path) });
  };
  if (value === null) {
    if (wanted[0] !== "" && schema.nullable !== true) refuse(wanted.join(","), "null");
    return;
  }
  const fits = wanted.includes(actual) || (actual === "integer" && wanted.includes("number"));
  const isPlain = typeof value === "string" || Array.isArray(value);
  const valueFormat = numberFormats[actual] ?? "";
  if (!isPlain && format !== "" && !fits && format !== valueFormat) refuse(format, valueFormat);
  else if (isPlain && format !== "" && !wanted.includes("number") && !wanted.includes("integer")) return;
  else if (!fits) refuse(wanted.join(","), actual);
}

/** Only the first of length and pattern is told, as upstream. */
function checkString(schema: Schema, value: string, path: string, result: Result): void {
  const { minLength, maxLength, pattern, format } = schema;
  const length = minLength === undefined && maxLength === undefined ? 0 : characters(value);
  if (maxLength !== undefined && length > maxLength)
    result.add({
      reason: "FieldValueTooLong",
      message: `Too long: may not be more than ${maxLength} ${maxLength === 1 ? "byte" : "bytes"}`,
      field: fieldOf(path),
    });
  else if (minLength !== undefined && length < minLength)
    result.add(invalid(path, value, `${inBody(path)} should be at least ${minLength} chars long`));
  else if (pattern !== undefined && !compilePattern(pattern).test(value))
    result.add(invalid(path, value, `${inBody(path)} should match '${pattern}'`));
  if (format !== undefined && !matchesFormat(format, value)) {
    const detail = `${inBody(path)} must be of type ${format}: ${quoteValue(value)}`;
    result.add({
      reason: "FieldValueTypeInvalid",
      message: `Invalid value: ${quoteValue(value)}: ${detail}`,
      field: fieldOf(path),
    });
  }
}

function checkNumber(schema: Schema, value: number, path: string, result: Result): void {
  const { format } = schema;
  const [minimum, maximum] = [boundFor(value, schema.minimum), boundFor(value, schema.maximum)];
  const multipleOf = boundFor(value, schema.multipleOf);
  if (format === "int32" && schema.type === "integer" && (value > 2_147_483_647 || value < -2_147_483_648))
    result.add(invalid(path, value, "Checked value must be of type integer with format int32"));
  if (multipleOf !== undefined && multipleOf <= 0)
    result.add(invalid(path, multipleOf, `factor MultipleOf declared for ${path} must be positive: ${multipleOf}`));
  else if (multipleOf !== undefined && !isMultiple(value, multipleOf))
    result.add(invalid(path, value, `${inBody(path)} should be a multiple of ${multipleOf}`));
  const isOverMinimum = schema.exclusiveMinimum === true ? value > (minimum ?? 0) : value >= (minimum ?? 0);
  if (minimum !== undefined && !isOverMinimum)
    result.add(invalid(path, value, boundWords(path, "greater", minimum, schema.exclusiveMinimum === true)));
  const isUnderMaximum = schema.exclusiveMaximum === true ? value < (maximum ?? 0) : value <= (maximum ?? 0);
  if (maximum !== undefined && !isUnderMaximum)
    result.add(invalid(path, value, boundWords(path, "less", maximum, schema.exclusiveMaximum === true)));
}

function boundWords(path: string, how: string, bound: number, isExclusive: boolean): string {
  return `${inBody(path)} should be ${how} than ${isExclusive ? "" : "or equal to "}${bound}`;
}

function checkList(schema: Schema, value: readonly Json[], path: string, result: Result): void {
  const { minItems, maxItems, items } = schema;
  // What is too long is not looked at further: it may be very long.
  if (maxItems === undefined || value.length <= maxItems)
    for (const [index, item] of items === undefined ? [] : value.entries())
      result.merge(check(items ?? {}, item, `${path}[${index}]`));
  if (minItems !== undefined && value.length < minItems)
    result.add(invalid(path, value.length, `${inBody(path)} should have at least ${minItems} items`));
  if (maxItems !== undefined && value.length > maxItems)
    result.add({
      reason: "FieldValueTooMany",
      message: `Too many: ${value.length}: must have at most ${maxItems} ${maxItems === 1 ? "item" : "items"}`,
      field: fieldOf(path),
    });
}

function checkObject(schema: Schema, value: JsonObject, path: string, result: Result): void {
  const { properties, additionalProperties, required, minProperties, maxProperties } = schema;
  if (minProperties !== undefined || maxProperties !== undefined) checkSize(schema, value, path, result);
  for (const name in value) {
    const present = value[name];
    if (present === undefined) continue;
    if (properties !== undefined && Object.hasOwn(properties, name)) {
      const child = properties[name];
      if (child !== undefined) result.merge(check(child, present, join(path, name)));
    } else if (typeof additionalProperties === "object")
      result.merge(check(additionalProperties, present, `${path}.${name}`));
    else if (additionalProperties === false)
      result.add({
        reason: "FieldValueInvalid",
        message: `Invalid value: ${quoteValue(name)}: ${path}.${name} in body is a forbidden property`,
        field: fieldOf(`${path}.${name}`),
      });
  }
  for (const name of required ?? [])
    if (value[name] === undefined)
      result.add({ reason: "FieldValueRequired", message: "Required value", field: join(path, name) });
}

function checkSize(schema: Schema, value: JsonObject, path: string, result: Result): void {
  const size = Object.keys(value).length;
  const { minProperties, maxProperties } = schema;
  if (minProperties !== undefined && size < minProperties)
    result.add(invalid(path, size, `${inBody(path)} should have at least ${minProperties} properties`));
  if (maxProperties !== undefined && size > maxProperties)
    result.add({
      reason: "FieldValueTooMany",
      message: `Too many: ${size}: must have at most ${maxProperties} ${maxProperties === 1 ? "item" : "items"}`,
      field: fieldOf(path),
    });
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

function checkEnum(schema: Schema, value: Json, path: string, result: Result): void {
  if (schema.enum === undefined || schema.enum.length === 0) return;
  if (schema.enum.some((allowed) => isAllowed(allowed, value))) return;
  const supported = schema.enum.map((allowed) =>
    typeof allowed === "string" ? JSON.stringify(allowed) : `"${quoteValue(allowed)}"`,
  );
  const message = `Unsupported value: ${quoteValue(value)}: supported values: ${supported.join(", ")}`;
  result.add({ reason: "FieldValueNotSupported", message, field: fieldOf(path) });
}

function checkCombined(schema: Schema, value: Json, path: string, result: Result): void {
  const { anyOf } = schema;
  if (anyOf !== undefined && anyOf.length > 0) {
    const found = anyOf.map((part) => check(part, value, path));
    if (!found.some(({ isValid }) => isValid)) {
      result.add(invalid(path, "", `"${path}" must validate at least one schema (anyOf)`));
      mergeBest(found, result);
    }
  }
  if (schema.oneOf !== undefined && schema.oneOf.length > 0) {
    const found = schema.oneOf.map((part) => check(part, value, path));
    const count = found.filter(({ isValid }) => isValid).length;
    const words = count === 0 ? "Found none valid" : `Found ${count} valid alternatives`;
    if (count !== 1) result.add(invalid(path, "", `"${path}" must validate one and only one schema (oneOf). ${words}`));
    if (count === 0) mergeBest(found, result);
  }
  checkAllOf(schema, value, path, result);
  if (schema.not !== undefined && check(schema.not, value, path).isValid)
    result.add(invalid(path, "", `"${path}" must not validate the schema (not)`));
}

function checkAllOf(schema: Schema, value: Json, path: string, result: Result): void {
  if (schema.allOf === undefined || schema.allOf.length === 0) return;
  const found = schema.allOf.map((part) => check(part, value, path));
  for (const one of found) result.merge(one);
  const count = found.filter(({ isValid }) => isValid).length;
  if (count === found.length) return;
  const words = count === 0 ? ". None validated" : "";
  result.add(invalid(path, "", `"${path}" must validate all the schemas (allOf)${words}`));
}

/** Tells the faults of the alternative that fits best. */
function mergeBest(found: readonly Result[], result: Result): void {
  const [first, ...rest] = found;
  if (first === undefined) return;
  result.merge(rest.reduce((best, one) => (one.matches > best.matches ? one : best), first));
}

function checkStructure(schema: Schema, value: Json, path: string, causes: StatusCause[]): void {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined)
      for (const [index, item] of value.entries()) checkStructure(items, item, `${path}[${index}]`, causes);
    checkUnique(schema, value, path, causes);
  } else if (isObject(value)) {
    if (schema["x-kubernetes-embedded-resource"] === true) checkEmbedded(value, path, causes);
    checkMembers(schema, value, path, causes);
  }
}

function checkMembers(schema: Schema, value: JsonObject, path: string, causes: StatusCause[]): void {
  const { properties, additionalProperties } = schema;
  for (const name in value) {
    const isKnown = properties !== undefined && Object.hasOwn(properties, name);
    const child = isKnown ? properties[name] : additionalProperties;
    const present = value[name];
    if (typeof child === "object" && present !== undefined)
      checkStructure(child, present, isKnown ? join(path, name) : `${path}[${name}]`, causes);
  }
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

/** What a whole resource inside another has to be. */
function checkEmbedded(value: JsonObject, path: string, causes: StatusCause[]): void {
  for (const name of ["apiVersion", "kind"]) {
    const member = value[name];
    const field = join(path, name);
    if (member === undefined) causes.push({ reason: "FieldValueRequired", message: "Required value", field });
    else if (typeof member !== "string") causes.push({ ...invalid(field, member, "must be a string"), field });
    else if (member === "") causes.push(invalid(field, "", "must not be empty"));
  }
}
