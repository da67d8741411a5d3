import { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { compilePattern, equalJson, isObject } from "../../../kernel/schema/index.js";
import { asList, asObject, asObjects, asString, isEmpty } from "../registry/read.js";

/** Where a schema stands: rules differ at the root and for items of lists. */
type Level = "root" | "item" | "field";

const eitherType: readonly Json[] = [{ type: "integer" }, { type: "string" }];

/** Checks that a CRD's schema is structural (KEP-1693): what values are is said once, outside of allOf, anyOf, oneOf and not. */
export function validateStructural(schema: JsonObject, path: string): Faults {
  const faults = new Faults();
  checkInvariants(schema, path, "root", faults);
  checkCompleteness(schema, schema, { at: path, of: path }, faults);
  return faults;
}

function checkInvariants(schema: JsonObject, path: string, level: Level, faults: Faults): void {
  const { items, additionalProperties } = schema;
  const properties = asObject(schema["properties"]);
  if (schema["type"] === "array" && !isObject(items)) faults.required(`${path}.items`, "must be specified");
  if (isObject(items)) checkInvariants(items, `${path}.items`, "item", faults);
  for (const [name, child] of Object.entries(properties))
    if (isObject(child)) checkInvariants(child, `${path}.properties[${name}]`, "field", faults);
  if (additionalProperties !== undefined) {
    if (level === "root") faults.forbidden(`${path}.additionalProperties`, "must not be used at the root");
    if (isObject(additionalProperties))
      checkInvariants(additionalProperties, `${path}.additionalProperties`, "field", faults);
  }
  checkExtensions(schema, path, faults);
  checkValues(schema, path, faults, skippedParts(schema));
  checkType(schema, path, level, faults);
  checkMetadata(schema, path, level, faults);
}

function checkExtensions(schema: JsonObject, path: string, faults: Faults): void {
  if (schema["x-kubernetes-int-or-string"] !== true) return;
  for (const name of ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"])
    if (schema[name] === true)
      faults.invalid(`${path}.${name}`, true, "must be false if x-kubernetes-int-or-string is true");
}

const emptyType: Readonly<Record<Level, string>> = {
  root: "must not be empty at the root",
  item: "must not be empty for specified array items",
  field: "must not be empty for specified object fields",
};

function checkType(schema: JsonObject, path: string, level: Level, faults: Faults): void {
  const type = asString(schema["type"]);
  const isResource = schema["x-kubernetes-embedded-resource"] === true;
  const keeps = schema["x-kubernetes-preserve-unknown-fields"] === true;
  if (isResource && type !== "object") {
    const why = "must be object if x-kubernetes-embedded-resource is true";
    if (type === "") faults.required(`${path}.type`, why);
    else faults.invalid(`${path}.type`, type, why);
  } else if (type === "" && schema["x-kubernetes-int-or-string"] !== true && !keeps)
    faults.required(`${path}.type`, emptyType[level]);
  if (isResource && schema["additionalProperties"] !== undefined)
    faults.forbidden(`${path}.additionalProperties`, "must not be used if x-kubernetes-embedded-resource is set");
  if (level === "root" && type !== "" && type !== "object")
    faults.invalid(`${path}.type`, type, "must be object at the root");
}

function checkMetadata(schema: JsonObject, path: string, level: Level, faults: Faults): void {
  const isResource = schema["x-kubernetes-embedded-resource"] === true;
  const properties = asObject(schema["properties"]);
  const isWhole = level === "root" || isResource;
  for (const name of ["kind", "apiVersion"]) {
    const field = properties[name];
    if (isWhole && isObject(field) && field["type"] !== "string")
      faults.invalid(`${path}.properties[${name}].type`, asString(field["type"]), "must be string");
  }
  const { metadata } = properties;
  const place = `${path}.properties[metadata]`;
  if (isObject(metadata)) {
    if (isWhole && metadata["type"] !== "object")
      faults.invalid(`${place}.type`, asString(metadata["type"]), "must be object");
    if (level === "root" && saysMore(metadata))
      faults.forbidden(
        place,
        "must not specify anything other than name and generateName, but metadata is implicitly specified",
      );
  }
  const keeps = schema["x-kubernetes-preserve-unknown-fields"] === true;
  if (isResource && !keeps && Object.keys(properties).length === 0)
    faults.required(
      `${path}.properties`,
      "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
    );
}

/** Whether a schema of metadata says anything but rules for names. */
function saysMore(metadata: JsonObject): boolean {
  const { type: _, default: __, properties, ...rest } = metadata;
  const others = Object.keys(asObject(properties)).filter((name) => name !== "name" && name !== "generateName");
  const isKnown = others.length === 0;
  return !isKnown || Object.values(rest).some((value) => value !== false && !isEmpty(value));
}

interface Skipped {
  readonly anyOf: boolean;
  readonly firstAllOf: boolean;
}

const none: Skipped = { anyOf: false, firstAllOf: false };

/** The two ways in which "a number or a text" may be said once more. */
function skippedParts(schema: JsonObject): Skipped {
  const first = asObject(asList(schema["allOf"])[0])["anyOf"];
  return { anyOf: isEither(schema["anyOf"]), firstAllOf: isEither(first) };
}

const isEither = (parts: Json | undefined): boolean => Array.isArray(parts) && equalJson(parts, [...eitherType]);

function checkValues(schema: JsonObject, path: string, faults: Faults, skipped: Skipped): void {
  if (!skipped.anyOf)
    for (const [index, part] of partsIn(schema, "anyOf")) checkPart(part, `${path}.anyOf[${index}]`, faults);
  for (const [index, part] of partsIn(schema, "allOf"))
    checkPart(part, `${path}.allOf[${index}]`, faults, { anyOf: skipped.firstAllOf && index === 0, firstAllOf: false });
  for (const [index, part] of partsIn(schema, "oneOf")) checkPart(part, `${path}.oneOf[${index}]`, faults);
  if (isObject(schema["not"])) checkPart(schema["not"], `${path}.not`, faults);
  checkPattern(asString(schema["pattern"]), path, faults);
}

const partsIn = (schema: JsonObject, keyword: string): [number, JsonObject][] => [
  ...asObjects(schema[keyword]).entries(),
];

/** Keywords that say what a value is, and what "nothing" is called for them. */
const structuralOnly: readonly (readonly [string, string])[] = [
  ["type", "empty"],
  ["additionalProperties", "undefined"],
  ["default", "undefined"],
  ["title", "empty"],
  ["description", "empty"],
  ["nullable", "false"],
  ["x-kubernetes-preserve-unknown-fields", "false"],
  ["x-kubernetes-embedded-resource", "false"],
  ["x-kubernetes-int-or-string", "false"],
  ["x-kubernetes-list-map-keys", "empty"],
  ["x-kubernetes-list-type", "undefined"],
  ["x-kubernetes-map-type", "undefined"],
  ["x-kubernetes-validations", "empty"],
];

/** A part of allOf and so on narrows values; what they are is said outside. */
function checkPart(part: JsonObject, path: string, faults: Faults, skipped: Skipped = none): void {
  checkValues(part, path, faults, skipped);
  if (isObject(part["items"])) checkPart(part["items"], `${path}.items`, faults);
  const properties = asObject(part["properties"]);
  for (const [name, child] of Object.entries(properties))
    if (isObject(child)) checkPart(child, `${path}.properties[${name}]`, faults);
  for (const [keyword, nothing] of structuralOnly) {
    const value = part[keyword];
    if (value === undefined || value === null || value === "" || value === false) continue;
    if (Array.isArray(value) && value.length === 0 && keyword.startsWith("x-")) continue;
    faults.forbidden(`${path}.${keyword}`, `must be ${nothing} to be structural`);
  }
  if (properties["metadata"] !== undefined)
    faults.forbidden(`${path}.properties[metadata]`, "must not be specified in a nested context");
}

function checkPattern(pattern: string, path: string, faults: Faults): void {
  if (pattern === "" || isPattern(pattern)) return;
  faults.invalid(
    `${path}.pattern`,
    pattern,
    `must be a valid regular expression, but isn't: error parsing regexp: ${patternFault(pattern)}`,
  );
}

const lookAround = /\(\?(?:<?[=!]|[a-zA-Z]*[^a-zA-Z:)<P-])/;

function isPattern(pattern: string): boolean {
  if (lookAround.test(pattern.replaceAll(/\\./gs, ""))) return false;
  try {
    compilePattern(pattern);
    return true;
  } catch {
    return false;
  }
}

/** What Go's parser says of a pattern; its other faults are called a syntax. */
function patternFault(pattern: string): string {
  const plain = pattern.replaceAll(/\\./gs, "");
  const look = lookAround.exec(pattern);
  if (look !== null) return `invalid or unsupported Perl syntax: \`${look[0].slice(0, 3)}\``;
  const open = plain.replaceAll(/\[[^\]]+\]/g, "").lastIndexOf("[");
  if (open >= 0) return `missing closing ]: \`${pattern.slice(pattern.lastIndexOf("["))}\``;
  const groups = plain.replaceAll(/\[[^\]]*\]/g, "");
  if (groups.split("(").length > groups.split(")").length) return `missing closing ): \`${pattern}\``;
  if (groups.split("(").length < groups.split(")").length) return `unexpected ): \`${pattern}\``;
  const repeat = /^[*+?]/.exec(pattern);
  return repeat === null
    ? `invalid syntax: \`${pattern}\``
    : `missing argument to repetition operator: \`${repeat[0]}\``;
}

/** A place, and the place of the part that speaks of it. */
interface Places {
  readonly at: string;
  readonly of: string;
}

/** Parts may only speak of what the structure has. */
function checkCompleteness(part: JsonObject, structure: JsonObject, places: Places, faults: Faults): void {
  if (isObject(part["not"])) checkPartOf(part["not"], structure, { ...places, of: `${places.of}.not` }, faults);
  for (const keyword of ["allOf", "anyOf", "oneOf"])
    for (const [index, one] of partsIn(part, keyword))
      checkPartOf(one, structure, { ...places, of: `${places.of}.${keyword}[${index}]` }, faults);
}

function checkPartOf(part: JsonObject, structure: JsonObject, { at, of }: Places, faults: Faults): void {
  checkCompleteness(part, structure, { at, of }, faults);
  if (isObject(part["items"])) {
    const places = { at: `${at}.items`, of: `${of}.items` };
    if (isObject(structure["items"])) checkPartOf(part["items"], structure["items"], places, faults);
    else faults.required(places.at, `because it is defined in ${places.of}`);
  }
  const known = asObject(structure["properties"]);
  for (const [name, child] of Object.entries(asObject(part["properties"]))) {
    const places = { at: `${at}.properties[${name}]`, of: `${of}.properties[${name}]` };
    const member = known[name];
    if (!isObject(child)) continue;
    if (isObject(member)) checkPartOf(child, member, places, faults);
    else faults.required(places.at, `because it is defined in ${places.of}`);
  }
}
