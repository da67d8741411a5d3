import type { Json, JsonObject } from "../kinds/object.js";
import { isObject } from "./json.js";
import type { Schema } from "./types.js";

const PREFIX = "#/components/schemas/";

/**
 * The definitions of an OpenAPI v3 document of an API server as schemas that `validateSchema` and `prune` take: references are put in (a
 * definition that contains itself becomes a cycle), fields that the server fills in are not required, objects of which nothing is said
 * are open. JSON objects are schemas in the sense of the type: every member is optional, and readers look at the types of what they use.
 */
export function readDefinitions(document: Json): ReadonlyMap<string, Schema> {
  const components = isObject(document) ? document["components"] : undefined;
  const sources = isObject(components) ? components["schemas"] : undefined;
  const definitions = new Map<string, JsonObject>();
  if (!isObject(sources)) return new Map();
  const named = (name: string): JsonObject => {
    const known = definitions.get(name);
    if (known !== undefined) return known;
    const made: JsonObject = {};
    definitions.set(name, made);
    const source = sources[name];
    if (isObject(source)) Object.assign(made, expandObject(source, named));
    return made;
  };
  for (const name of Object.keys(sources)) named(name);
  return new Map([...definitions].map(([name, definition]) => [name, definition as Schema]));
}

type Named = (name: string) => JsonObject;

function expand(value: Json | undefined, named: Named): Json | undefined {
  if (Array.isArray(value)) return value.map((item) => expand(item, named) ?? null);
  return isObject(value) ? expandObject(value, named) : value;
}

function expandObject(source: JsonObject, named: Named): JsonObject {
  const reference = referenceIn(source);
  if (reference !== undefined) return named(reference);
  if (isOneOf(source, ["integer", "string"])) return { "x-kubernetes-int-or-string": true };
  const { properties, required, default: _default, ...rest } = source;
  const expanded: JsonObject = {};
  for (const [name, value] of Object.entries(rest)) {
    const isSchema = ["items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"].includes(name);
    expanded[name] = isSchema ? expand(value, named) : value;
  }
  if (isObject(properties)) {
    expanded["properties"] = Object.fromEntries(
      Object.entries(properties).map(([name, value]) => [name, expand(value, named)]),
    );
    if (Array.isArray(required)) expanded["required"] = required.filter((name) => !isFilledIn(properties, name));
  } else if (isSilent(source)) expanded["x-kubernetes-preserve-unknown-fields"] = true;
  return expanded;
}

/** Whether nothing is said of an object's fields. */
function isSilent(source: JsonObject): boolean {
  const { type, additionalProperties, allOf, anyOf, oneOf } = source;
  if (type !== "object" && type !== undefined) return false;
  return [additionalProperties, allOf, anyOf, oneOf].every((part) => part === undefined);
}

/** What `{"$ref": …}`, or `{"allOf": [{"$ref": …}]}` with words and defaults beside it, refers to. */
function referenceIn(source: JsonObject): string | undefined {
  const { $ref, allOf } = source;
  if (typeof $ref === "string" && $ref.startsWith(PREFIX)) return $ref.slice(PREFIX.length);
  const [only, ...others] = Array.isArray(allOf) ? allOf : [];
  return isObject(only) && others.length === 0 && source["properties"] === undefined ? referenceIn(only) : undefined;
}

function isOneOf({ oneOf }: JsonObject, types: readonly string[]): boolean {
  if (!Array.isArray(oneOf) || oneOf.length !== types.length) return false;
  return oneOf.every((part) => isObject(part) && types.some((type) => type === part["type"]));
}

/** A default beside a reference is only what the server shows of an empty object. */
function isFilledIn(properties: JsonObject, name: Json): boolean {
  const property = typeof name === "string" ? properties[name] : undefined;
  return isObject(property) && property["default"] !== undefined && referenceIn(property) === undefined;
}
