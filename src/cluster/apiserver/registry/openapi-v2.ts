import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { ResourceType } from "../types.js";
import { CustomType } from "./custom-type.js";
import { describedDefinition } from "./descriptions.js";
import { nativeAssets } from "./native-assets.js";
import { customDefinitionName, customListSchema, customSchema } from "./openapi-document.js";
import { pathsOf } from "./openapi-paths.js";

const referencePrefix = "#/components/schemas/";
const definitionPrefix = "#/definitions/";

/** The Swagger 2.0 document of everything that is served, for clients that know no OpenAPI v3. */
export function swaggerDocument(types: readonly ResourceType[], version: string): JsonObject {
  const definitions: Record<string, Json> = {};
  for (const name of Object.keys(nativeAssets().schemas))
    definitions[name] = toSwagger(describedDefinition(name) ?? {});
  for (const type of types) {
    if (!(type instanceof CustomType)) continue;
    definitions[customDefinitionName(type)] = toSwagger(customSchema(type, referencePrefix));
    definitions[customDefinitionName({ group: type.group, version: type.version, kind: type.listKind })] = toSwagger(
      customListSchema(type, referencePrefix),
    );
  }
  return { swagger: "2.0", info: { title: "Kubernetes", version }, paths: pathsOf(types, "v2"), definitions };
}

/** Swagger knows no anyOf, oneOf, not, nullable and no default beside a reference. */
function toSwagger(schema: JsonObject): JsonObject {
  const reference = referenceOf(schema);
  if (reference !== undefined) {
    const kept = Object.entries(schema).filter(([key]) => key === "description" || key.startsWith("x-"));
    return { $ref: reference.replace(referencePrefix, definitionPrefix), ...Object.fromEntries(kept) };
  }
  const result: JsonObject = {};
  if (schema["oneOf"] !== undefined && schema["type"] === undefined) result["type"] = "string";
  for (const [key, value] of Object.entries(schema))
    if (value !== undefined && !dropped.has(key)) result[key] = keywordToSwagger(key, value);
  return result;
}

function keywordToSwagger(key: string, value: Json): Json {
  if (!isObject(value)) return value;
  if (key === "properties") return mapValues(value);
  return key === "items" || key === "additionalProperties" ? toSwagger(value) : value;
}

const dropped = new Set(["anyOf", "oneOf", "not", "allOf", "nullable", "default"]);

function referenceOf(schema: JsonObject): string | undefined {
  if (typeof schema["$ref"] === "string") return schema["$ref"];
  const all = schema["allOf"];
  const only = Array.isArray(all) && all.length === 1 ? all[0] : undefined;
  return isObject(only) && typeof only["$ref"] === "string" ? only["$ref"] : undefined;
}

function mapValues(properties: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(properties).map(([name, value]) => [name, isObject(value) ? toSwagger(value) : value]),
  );
}
