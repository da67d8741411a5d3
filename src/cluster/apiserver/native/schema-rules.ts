import { createHash } from "node:crypto";
import type { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import { checkRules, ruleWordFaults } from "../cel/index.js";
import { asList, asObject, asObjects, asString, isEmpty } from "../registry/read.js";
import { validateDefaults } from "./schema-defaults.js";
import { validateStructural } from "./structural.js";

const types = ["array", "boolean", "integer", "number", "object", "string"];
/** Keywords of JSON Schema that are none here; the second word: an empty one is as good as none. */
const never: readonly (readonly [string, boolean])[] = [
  ["id", true],
  ["additionalItems", false],
  ["patternProperties", true],
  ["definitions", true],
  ["dependencies", false],
  ["$ref", false],
];
const unstructured = ["id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"];
const rootKeywords = new Set(
  "description type format title maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems multipleOf required items properties externalDocs example x-kubernetes-preserve-unknown-fields x-kubernetes-validations".split(
    " ",
  ),
);
const rootWords =
  "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations";

interface About {
  readonly faults: Faults;
  readonly hasStatus: boolean;
}

/** Schemas of which nothing is said, by their content: the servers of a process get the same ones again and again. */
const flawless = new Set<string>();
const mostFlawless = 4096;

/** Everything that may be wrong with the schema of a definition's version. `path` is the schema's. */
export function validateDefinitionSchema(schema: JsonObject, path: string, about: About): void {
  const content = `${about.hasStatus} ${JSON.stringify(schema)}`;
  const key = createHash("sha256").update(content).digest("base64");
  if (flawless.has(key)) return;
  const count = ({ causes, warnings }: Faults): number => causes.length + warnings.length;
  const before = count(about.faults);
  findFaults(schema, path, about);
  // A warning that was there already would not be counted: only of one that starts empty can be told.
  if (before > 0 || count(about.faults) > 0) return;
  if (flawless.size >= mostFlawless) flawless.clear();
  flawless.add(key);
}

function findFaults(schema: JsonObject, path: string, about: About): void {
  const { faults } = about;
  const before = faults.causes.length;
  if (about.hasStatus) checkRoot(schema, path, faults);
  if (schema["nullable"] === true) faults.forbidden(`${path}.nullable`, "nullable cannot be true at the root");
  const unstructuredFault = whyUnstructured(schema);
  let isSound = false;
  if (unstructuredFault === undefined) {
    const structural = validateStructural(schema, path);
    const found = structural.causes.length > 0 ? structural : validateDefaults(schema, path);
    isSound = found.causes.length === 0;
    faults.causes.push(...found.causes);
  }
  const count = faults.causes.length;
  checkNode(schema, path, { faults, isRoot: true, isInMeta: false, noDefault: undefined });
  const isClean = isSound && faults.causes.length === count;
  if (isClean) faults.causes.push(...checkRules(schema, path));
  if (faults.causes.length === before && unstructuredFault !== undefined) faults.invalid(path, "", unstructuredFault);
}

/** Keywords for which false and nothing are two things. */
const pointers = new Set(["additionalProperties", "additionalItems", "default"]);

/** A version with a status of its own keeps the root simple. */
function checkRoot(schema: JsonObject, path: string, faults: Faults): void {
  for (const [keyword, value] of Object.entries(schema)) {
    if (value === undefined || value === null || rootKeywords.has(keyword)) continue;
    if (!pointers.has(keyword) && (value === false || isEmpty(value))) continue;
    faults.invalid(
      path,
      {},
      `only [${rootWords}] fields are allowed at the root of the schema if the status subresource is enabled`,
    );
    break;
  }
  if (asString(schema["type"]) !== "object" && asString(schema["type"]) !== "")
    faults.invalid(
      `${path}.type`,
      asString(schema["type"]),
      'only "object" is allowed as the type at the root of the schema if the status subresource is enabled',
    );
}

/** What no structure can be made of, in the words for it. */
export function whyUnstructured(schema: JsonObject): string | undefined {
  for (const keyword of unstructured)
    if (!isEmpty(schema[keyword]) || (keyword === "additionalItems" && schema[keyword] !== undefined))
      return `OpenAPIV3Schema '${keyword.replace("$schema", "schema")}' is not supported`;
  const parts = ["allOf", "anyOf", "oneOf"].flatMap((keyword) => asObjects(schema[keyword]));
  if (schema["x-kubernetes-preserve-unknown-fields"] === false)
    return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
  if (Array.isArray(schema["items"])) return "OpenAPIV3Schema 'items' must be a schema, but is an array";
  const below = [
    schema["not"],
    ...parts,
    schema["items"],
    ...Object.values(asObject(schema["properties"])),
    schema["additionalProperties"],
  ];
  for (const one of below) {
    const fault = isObject(one) ? whyUnstructured(one) : undefined;
    if (fault !== undefined) return fault;
  }
  return undefined;
}

interface Context {
  readonly faults: Faults;
  readonly isRoot: boolean;
  readonly isInMeta: boolean;
  /** Why defaults are forbidden here; absent: they are not. */
  readonly noDefault: string | undefined;
}

const metaFields = new Set(["metadata", "kind", "apiVersion"]);

function checkNode(schema: JsonObject, path: string, context: Context): void {
  const { faults } = context;
  checkKeywords(schema, path, context);
  const plain: Context = { ...context, isRoot: false };
  checkProperties(schema, path, context);
  const { items } = schema;
  if (isObject(schema["not"])) checkNode(schema["not"], `${path}.not`, plain);
  for (const keyword of ["allOf", "oneOf", "anyOf"])
    for (const [index, part] of asObjects(schema[keyword]).entries())
      checkNode(part, `${path}.${keyword}[${index}]`, plain);
  for (const keyword of ["definitions", "dependencies"])
    for (const [name, child] of Object.entries(asObject(schema[keyword])))
      if (isObject(child)) checkNode(child, `${path}.${keyword}[${name}]`, plain);
  if (isObject(items)) checkNode(items, `${path}.items`, plain);
  else for (const [index, item] of asObjects(items).entries()) checkNode(item, `${path}.items[${index}]`, plain);
  checkMapsAndLists(schema, path, faults);
  faults.causes.push(...ruleWordFaults(schema, path));
}

function checkProperties(schema: JsonObject, path: string, context: Context): void {
  const { faults } = context;
  const plain: Context = { ...context, isRoot: false };
  const { additionalProperties: values } = schema;
  const properties = Object.entries(asObject(schema["properties"]));
  if (properties.length > 0 && (isObject(values) || values === false))
    faults.forbidden(`${path}.additionalProperties`, "additionalProperties and properties are mutual exclusive");
  if (isObject(values)) {
    const noDefault = context.isInMeta ? "inside additionalProperties applying to object metadata" : context.noDefault;
    checkNode(values, `${path}.additionalProperties`, { ...plain, noDefault });
  }
  const isWhole = context.isRoot || schema["x-kubernetes-embedded-resource"] === true;
  for (const [name, child] of properties) {
    const isMeta = isWhole && metaFields.has(name);
    const noDefault = isMeta && context.isRoot ? `in top-level ${name}` : context.noDefault;
    if (isObject(child))
      checkNode(child, `${path}.properties[${name}]`, { ...plain, isInMeta: context.isInMeta || isMeta, noDefault });
  }
}

function checkKeywords(schema: JsonObject, path: string, context: Context): void {
  const { faults } = context;
  const type = asString(schema["type"]);
  if (type !== "" && !types.includes(type)) faults.unsupported(`${path}.type`, type, types);
  if (schema["default"] !== undefined && schema["default"] !== null && context.noDefault !== undefined)
    faults.forbidden(`${path}.default`, `must not be set ${context.noDefault}`);
  for (const [keyword, mayBeEmpty] of never) {
    const value = schema[keyword];
    if (value !== undefined && !(mayBeEmpty && isEmpty(value)))
      faults.forbidden(`${path}.${keyword}`, `${keyword} is not supported`);
  }
  if (type === "null") faults.forbidden(`${path}.type`, "type cannot be set to null, use nullable as an alternative");
  if (Array.isArray(schema["items"]) && schema["items"].length > 0)
    faults.forbidden(`${path}.items`, "items must be a schema object and not an array");
  if (context.isInMeta && schema["x-kubernetes-embedded-resource"] === true)
    faults.forbidden(`${path}.x-kubernetes-embedded-resource`, "must not be used inside of resource meta");
  if (schema["uniqueItems"] === true)
    faults.forbidden(
      `${path}.uniqueItems`,
      "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
    );
  warnOfFormat(schema, faults);
}

const formats = new Set(
  (
    "bsonobjectid uri email hostname ipv4 ipv6 cidr mac uuid uuid3 uuid4 uuid5 isbn isbn10 isbn13 creditcard ssn hexcolor rgbcolor " +
    "byte password date duration date-time datetime int32 int64 float double k8s-short-name k8s-long-name"
  ).split(" "),
);

/** Keywords that are kept and have no effect here. */
function warnOfFormat(schema: JsonObject, faults: Faults): void {
  const format = asString(schema["format"]);
  if (format !== "" && !formats.has(format)) faults.warn(`unrecognized format ${JSON.stringify(format)}`);
}

function checkMapsAndLists(schema: JsonObject, path: string, faults: Faults): void {
  const mapType = schema["x-kubernetes-map-type"];
  const listType = schema["x-kubernetes-list-type"];
  if (schema["x-kubernetes-preserve-unknown-fields"] === false)
    faults.invalid(`${path}.x-kubernetes-preserve-unknown-fields`, false, "must be true or undefined");
  const wantsType = (wanted: string, keyword: string): void => {
    const type = asString(schema["type"]);
    const why = `must be ${wanted} if ${keyword} is specified`;
    if (type === "") faults.required(`${path}.type`, why);
    else faults.invalid(`${path}.type`, type, why);
  };
  if (isGiven(mapType)) {
    if (schema["type"] !== "object") wantsType("object", "x-kubernetes-map-type");
    if (mapType !== "atomic" && mapType !== "granular")
      faults.unsupported(`${path}.x-kubernetes-map-type`, mapType, ["atomic", "granular"]);
  }
  if (isGiven(listType)) {
    if (schema["type"] !== "array") wantsType("array", "x-kubernetes-list-type");
    else if (listType === "set") checkSetItems(asObject(schema["items"]), path, faults);
    if (!["atomic", "set", "map"].includes(asString(listType)))
      faults.unsupported(`${path}.x-kubernetes-list-type`, listType, ["atomic", "set", "map"]);
  }
  checkKeys(schema, path, faults);
}

function checkKeys(schema: JsonObject, path: string, faults: Faults): void {
  const listType = schema["x-kubernetes-list-type"];
  const keys = asList(schema["x-kubernetes-list-map-keys"]).map(asString);
  const isMap = "must be map if x-kubernetes-list-map-keys is non-empty";
  if (keys.length > 0 && !isGiven(listType)) faults.required(`${path}.x-kubernetes-list-type`, isMap);
  else if (keys.length > 0 && listType !== "map") faults.invalid(`${path}.x-kubernetes-list-type`, listType, isMap);
  if (listType === "map") checkMapList(schema, keys, path, faults);
  if (listType === "map" || listType === "set") checkItemsOf(schema, asString(listType), keys, { path, faults });
}

const isGiven = (value: Json | undefined): boolean => value !== undefined && value !== null;

function checkSetItems(items: JsonObject, path: string, faults: Faults): void {
  const why = "must be atomic as item of a list with x-kubernetes-list-type=set";
  const listType = items["x-kubernetes-list-type"];
  if (items["type"] === "array" && isGiven(listType) && listType !== "atomic")
    faults.invalid(`${path}.items.x-kubernetes-list-type`, listType, why);
  if (items["type"] === "object" && items["x-kubernetes-map-type"] !== "atomic")
    faults.invalid(`${path}.items.x-kubernetes-map-type`, listType ?? null, why);
}

function checkMapList(schema: JsonObject, keys: readonly string[], path: string, faults: Faults): void {
  const { items } = schema;
  const place = `${path}.x-kubernetes-list-map-keys`;
  if (keys.length === 0) faults.required(place, "must not be empty if x-kubernetes-list-type is map");
  if (!isGiven(items)) faults.required(`${path}.items`, "must have a schema if x-kubernetes-list-type is map");
  if (Array.isArray(items))
    faults.invalid(`${path}.items`, items, "must only have a single schema if x-kubernetes-list-type is map");
  if (!isObject(items)) return;
  if (items["type"] !== "object") {
    faults.invalid(
      `${path}.items.type`,
      asString(items["type"]),
      "must be object if parent array's x-kubernetes-list-type is map",
    );
    return;
  }
  const properties = asObject(items["properties"]);
  for (const [index, key] of keys.entries()) {
    const property = properties[key];
    if (!isObject(property)) faults.invalid(place, [...keys], "entries must all be names of item properties");
    else if (["array", "object"].includes(asString(property["type"])))
      faults.invalid(
        `${path}.items.properties[${key}].type`,
        asString(items["type"]),
        "must be a scalar type if parent array's x-kubernetes-list-type is map",
      );
    if (keys.indexOf(key) < index) faults.invalid(place, [...keys], "must not contain duplicate entries");
  }
}

function checkItemsOf(
  schema: JsonObject,
  listType: string,
  keys: readonly string[],
  { path, faults }: { readonly path: string; readonly faults: Faults },
): void {
  const { items } = schema;
  if (!isObject(items)) return;
  if (items["nullable"] === true)
    faults.forbidden(`${path}.items.nullable`, `cannot be nullable when x-kubernetes-list-type is ${listType}`);
  if (listType !== "map") return;
  const required = asList(items["required"]);
  for (const key of keys) {
    const property = asObject(items["properties"])[key];
    if (!isObject(property)) continue;
    const place = `${path}.items.properties[${key}]`;
    const about = "this property is in x-kubernetes-list-map-keys, so it";
    if (!required.includes(key) && !isGiven(property["default"]))
      faults.required(`${place}.default`, `${about} must have a default or be a required property`);
    if (property["nullable"] === true) faults.forbidden(`${place}.nullable`, `${about} cannot be nullable`);
  }
}
