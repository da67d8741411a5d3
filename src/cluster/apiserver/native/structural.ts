import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, compilePattern, isObject, prune, validateSchema } from "../../../kernel/schema/index.js";
import { checkRules } from "../cel/index.js";
import type { Faults } from "../registry/faults.js";
import { asList, asObject, asObjects, asString, isEmpty } from "../registry/read.js";
import { schemaOf } from "../registry/schema-json.unsafe.js";

const types = ["array", "boolean", "integer", "number", "object", "string"];
const never = [
  "$ref",
  "additionalItems",
  "definitions",
  "dependencies",
  "deprecated",
  "discriminator",
  "id",
  "patternProperties",
  "readOnly",
  "writeOnly",
  "xml",
];
/** Keywords that say what a value is; they belong outside of allOf, anyOf, oneOf and not. */
const structuralOnly = ["type", "default", "additionalProperties", "nullable", "title", "description"];

/** What "nothing" is called for a keyword. */
const emptiness: Readonly<Record<string, string>> = {
  default: "undefined",
  additionalProperties: "undefined",
  nullable: "false",
};

/** Checks that a CRD's schema is structural (KEP-1693) and that its Kubernetes keywords fit together. */
export function validateStructure(schema: JsonObject, path: string, faults: Faults): void {
  if (asString(schema["type"]) === "") faults.required(`${path}.type`, "must not be empty at the root");
  else if (schema["type"] !== "object") {
    faults.invalid(`${path}.type`, schema["type"], "must be object at the root");
    return;
  }
  const metadata = asObject(asObject(schema["properties"])["metadata"]);
  const beyond = Object.keys(asObject(metadata["properties"])).filter(
    (name) => name !== "name" && name !== "generateName",
  );
  if (beyond.length > 0)
    faults.forbidden(
      `${path}.properties[metadata]`,
      "must not specify anything other than name and generateName, but metadata is implicitly specified",
    );
  const before = faults.causes.length;
  validateNode(schema, path, { faults, root: true });
  if (faults.causes.length === before) faults.causes.push(...checkRules(schema, path));
}

interface Context {
  readonly faults: Faults;
  readonly root?: boolean;
}

function validateNode(schema: JsonObject, path: string, context: Context): void {
  const { faults } = context;
  for (const keyword of never)
    if (schema[keyword] !== undefined) faults.forbidden(`${path}.${keyword}`, `${keyword} is not supported`);
  if (schema["uniqueItems"] === true)
    faults.forbidden(
      `${path}.uniqueItems`,
      "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
    );
  if (schema["$ref"] === undefined) validateType(schema, path, context);
  warnOf(schema, faults);
  validatePattern(schema, path, faults);
  validateListType(schema, path, faults);
  const mapType = schema["x-kubernetes-map-type"];
  if (mapType !== undefined && mapType !== "atomic" && mapType !== "granular")
    faults.unsupported(`${path}.x-kubernetes-map-type`, mapType, ["atomic", "granular"]);
  const { properties, additionalProperties, items } = schema;
  if (!isEmpty(properties) && additionalProperties !== undefined)
    faults.forbidden(`${path}.additionalProperties`, "additionalProperties and properties are mutual exclusive");
  for (const [name, child] of Object.entries(asObject(properties)))
    if (isObject(child)) validateNode(child, `${path}.properties[${name}]`, { faults });
  if (isObject(additionalProperties)) validateNode(additionalProperties, `${path}.additionalProperties`, { faults });
  if (Array.isArray(items)) faults.forbidden(`${path}.items`, "items must be a schema object and not an array");
  else if (isObject(items)) validateNode(items, `${path}.items`, { faults });
  else if (schema["type"] === "array") faults.required(`${path}.items`, "must be specified");
  validateLogic(schema, path, faults);
  validateDefault(schema, path, faults);
}

const formats = new Set(
  (
    "bsonobjectid uri email hostname ipv4 ipv6 cidr mac uuid uuid3 uuid4 uuid5 isbn isbn10 isbn13 creditcard ssn hexcolor rgbcolor " +
    "byte password date duration date-time datetime int32 int64 float double k8s-short-name k8s-long-name"
  ).split(" "),
);

/** Keywords that are kept and have no effect here. */
function warnOf(schema: JsonObject, faults: Faults): void {
  const format = asString(schema["format"]);
  if (format !== "" && !formats.has(format)) faults.warn(`unrecognized format ${JSON.stringify(format)}`);
}

function validateType(schema: JsonObject, path: string, { faults, root }: Context): void {
  const type = asString(schema["type"]);
  const either = schema["x-kubernetes-int-or-string"] === true;
  const keeps = schema["x-kubernetes-preserve-unknown-fields"] === true;
  if (schema["x-kubernetes-preserve-unknown-fields"] === false)
    faults.invalid(`${path}.x-kubernetes-preserve-unknown-fields`, false, "must be true or undefined");
  if (type === "") {
    if (!either && !keeps && root !== true)
      faults.required(
        `${path}.type`,
        `must not be empty for specified ${path.endsWith(".items") ? "array items" : "object fields"}`,
      );
  } else if (!types.includes(type)) faults.unsupported(`${path}.type`, type, types);
  if (schema["x-kubernetes-embedded-resource"] === true) {
    if (type !== "object")
      faults.invalid(`${path}.type`, type, "must be object if x-kubernetes-embedded-resource is true");
    if (isEmpty(schema["properties"]) && !keeps)
      faults.required(
        `${path}.properties`,
        "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
      );
  }
}

function validatePattern(schema: JsonObject, path: string, faults: Faults): void {
  const pattern = asString(schema["pattern"]);
  if (pattern === "") return;
  try {
    compilePattern(pattern);
  } catch {
    const why = isUnclosed(pattern) ? `missing closing ): \`${pattern}\`` : `invalid syntax: \`${pattern}\``;
    faults.invalid(
      `${path}.pattern`,
      pattern,
      `must be a valid regular expression, but isn't: error parsing regexp: ${why}`,
    );
  }
}

function isUnclosed(pattern: string): boolean {
  const plain = pattern.replaceAll(/\\.|\[[^\]]*\]/g, "");
  return plain.split("(").length > plain.split(")").length;
}

function validateListType(schema: JsonObject, path: string, faults: Faults): void {
  const listType = schema["x-kubernetes-list-type"];
  const keys = asList(schema["x-kubernetes-list-map-keys"]).map(asString);
  const items = asObject(schema["items"]);
  if (listType !== undefined) {
    if (schema["type"] !== "array")
      faults.invalid(`${path}.type`, schema["type"] ?? "", "must be array if x-kubernetes-list-type is specified");
    if (!["atomic", "set", "map"].includes(asString(listType)))
      faults.unsupported(`${path}.x-kubernetes-list-type`, listType, ["atomic", "set", "map"]);
  }
  if (listType === "set" && items["type"] === "object" && items["x-kubernetes-map-type"] !== "atomic")
    faults.invalid(
      `${path}.items.x-kubernetes-map-type`,
      items["x-kubernetes-map-type"] ?? null,
      "must be atomic as item of a list with x-kubernetes-list-type=set",
    );
  if (listType === "set" && items["type"] === "array" && items["x-kubernetes-list-type"] !== "atomic")
    faults.invalid(
      `${path}.items.x-kubernetes-list-type`,
      items["x-kubernetes-list-type"] ?? null,
      "must be atomic as item of a list with x-kubernetes-list-type=set",
    );
  if (listType === "map") validateMapKeys(items, keys, path, faults);
  else if (keys.length > 0)
    faults.forbidden(`${path}.x-kubernetes-list-map-keys`, "must not be set if x-kubernetes-list-type is not map");
}

function validateMapKeys(items: JsonObject, keys: readonly string[], path: string, faults: Faults): void {
  if (keys.length === 0)
    faults.required(`${path}.x-kubernetes-list-map-keys`, "must not be empty if x-kubernetes-list-type is map");
  if (items["type"] !== "object")
    faults.invalid(
      `${path}.items.type`,
      items["type"] ?? "",
      "must be object if parent array's x-kubernetes-list-type is map",
    );
  const properties = asObject(items["properties"]);
  for (const key of keys) {
    const property = properties[key];
    if (!isObject(property)) {
      faults.invalid(`${path}.x-kubernetes-list-map-keys`, [...keys], "entries must all be names of item properties");
      continue;
    }
    if (["array", "object"].includes(asString(property["type"])))
      faults.invalid(
        `${path}.items.properties[${key}].type`,
        property["type"],
        "must be a scalar type if parent array's x-kubernetes-list-type is map",
      );
    if (!asList(items["required"]).includes(key) && property["default"] === undefined)
      faults.required(
        `${path}.items.properties[${key}].default`,
        "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
      );
  }
}

function validateLogic(schema: JsonObject, path: string, faults: Faults): void {
  const parts: [string, Json][] = ["allOf", "anyOf", "oneOf"].flatMap((keyword) =>
    asObjects(schema[keyword]).map((part, index): [string, Json] => [`${path}.${keyword}[${index}]`, part]),
  );
  if (isObject(schema["not"])) parts.push([`${path}.not`, schema["not"]]);
  const either = schema["x-kubernetes-int-or-string"] === true;
  for (const [place, part] of parts) if (isObject(part)) validatePart(part, place, { faults, either });
}

/** A part of allOf and so on narrows values; what they are is said outside. */
function validatePart(
  part: JsonObject,
  path: string,
  context: { readonly faults: Faults; readonly either: boolean },
): void {
  const { faults, either } = context;
  for (const keyword of structuralOnly) {
    const value = part[keyword];
    if (value === undefined || value === "" || value === false) continue;
    if (keyword === "type" && either) continue;
    faults.forbidden(`${path}.${keyword}`, `must be ${emptiness[keyword] ?? "empty"} to be structural`);
  }
  for (const keyword of Object.keys(part))
    if (keyword.startsWith("x-kubernetes-") && keyword !== "x-kubernetes-validations")
      faults.forbidden(`${path}.${keyword}`, "must be empty to be structural");
  validatePattern(part, path, faults);
  for (const [name, child] of Object.entries(asObject(part["properties"])))
    if (isObject(child)) validatePart(child, `${path}.properties[${name}]`, { faults, either: false });
  if (isObject(part["items"])) validatePart(part["items"], `${path}.items`, { faults, either: false });
  for (const keyword of ["allOf", "anyOf", "oneOf"])
    for (const [index, child] of asObjects(part[keyword]).entries())
      validatePart(child, `${path}.${keyword}[${index}]`, { faults, either });
}

function validateDefault(schema: JsonObject, path: string, faults: Faults): void {
  const value = schema["default"];
  if (value === undefined) return;
  // A whole resource has what every resource has, whatever the schema says of it.
  const isResource = schema["x-kubernetes-embedded-resource"] === true || path.endsWith(".openAPIV3Schema");
  if (isResource)
    for (const field of ["apiVersion", "kind"])
      if (asString(asObject(value)[field]) === "") faults.required(`${path}.default.${field}`);
  const { apiVersion: _, kind: __, metadata: ___, ...body } = asObject(value);
  const kept: Json = isResource ? body : value;
  if (prune(schemaOf(schema), cloneJson(kept)).length > 0)
    faults.invalid(`${path}.default`, value, "must not have unknown fields");
  for (const cause of validateSchema(schemaOf(schema), value, ""))
    faults.causes.push({ ...cause, field: `${path}.default${cause.field === "" ? "" : `.${cause.field}`}` });
}
