/** The shapes of Kubernetes' own types (PodSpec, Container, …) as parts of our kinds: what the API server of the same version takes. */
import { readFileSync } from "node:fs";
import { assetPath } from "../../../kernel/assets/index.js";
import { InputError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { isObject, type Schema } from "../../../kernel/schema/index.js";

const PREFIX = "#/components/schemas/";
const KEPT = new Set([
  "type",
  "format",
  "x-kubernetes-list-type",
  "x-kubernetes-list-map-keys",
  "x-kubernetes-map-type",
]);

let sources: JsonObject | undefined;
const made = new Map<string, Schema>();

/**
 * The schema of a type of Kubernetes (`core.v1.PodSpec`), structural as in a CustomResourceDefinition, with its name as title. `open` names fields of whose
 * content nothing is said, wherever they are. Throws `InputError` for a type that there is not.
 */
export function nativeShape(name: string, open: readonly string[] = []): Schema {
  const key = JSON.stringify([name, open]);
  const known = made.get(key);
  if (known !== undefined) return known;
  const shape = { title: name.split(".").at(-1) ?? name, ...expand(definition(`io.k8s.api.${name}`), open, []) };
  made.set(key, shape);
  return shape;
}

function definition(name: string): JsonObject {
  sources ??= readSources();
  const source = sources[name];
  if (!isObject(source)) throw new InputError(`Kubernetes has no type ${name}`);
  return source;
}

function readSources(): JsonObject {
  const content = JSON.parse(readFileSync(assetPath("kubernetes-1.34", "schemas.json"), "utf8")) as JsonObject;
  return content["schemas"] as JsonObject;
}

function expand(source: JsonObject, open: readonly string[], keys: readonly string[]): Schema {
  const reference = referenceIn(source);
  if (reference !== undefined) {
    if (reference.endsWith(".Quantity") || reference.endsWith(".IntOrString"))
      return { anyOf: [{ type: "integer" }, { type: "string" }], "x-kubernetes-int-or-string": true };
    return expand(definition(reference), open, keys);
  }
  if (Array.isArray(source["oneOf"]))
    return { anyOf: [{ type: "integer" }, { type: "string" }], "x-kubernetes-int-or-string": true };
  const shape: JsonObject = {};
  for (const [member, value] of Object.entries(source))
    if (KEPT.has(member) && value !== undefined) shape[member] = value;
  const { properties, items, additionalProperties, required } = source;
  const isRequired = (name: string): boolean => Array.isArray(required) && required.includes(name);
  const itemKeys = Array.isArray(source["x-kubernetes-list-map-keys"]) ? source["x-kubernetes-list-map-keys"] : [];
  if (isObject(items)) shape["items"] = expand(items, open, itemKeys as string[]) as Json;
  if (isObject(additionalProperties)) shape["additionalProperties"] = expand(additionalProperties, open, []) as Json;
  if (isObject(properties)) {
    shape["properties"] = Object.fromEntries(
      Object.entries(properties).map(([name, value]) => [
        name,
        property(isObject(value) ? value : {}, open.includes(name), {
          open,
          isKey: keys.includes(name) && !isRequired(name),
        }),
      ]),
    );
    if (Array.isArray(required)) shape["required"] = required;
  } else if (source["type"] === "object" && additionalProperties === undefined)
    shape["x-kubernetes-preserve-unknown-fields"] = true;
  return shape as Schema;
}

function property(
  source: JsonObject,
  isOpen: boolean,
  { open, isKey }: { readonly open: readonly string[]; readonly isKey: boolean },
): Json {
  if (isOpen) {
    const content = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
    return source["type"] === "array" ? { type: "array", items: content } : content;
  }
  const shape = expand(source, open, []) as JsonObject;
  // What tells the items of a list apart must be there: where the writer may leave it out, the server fills it in.
  return isKey && source["default"] !== undefined ? { ...shape, default: source["default"] } : shape;
}

function referenceIn(source: JsonObject): string | undefined {
  const { $ref, allOf } = source;
  if (typeof $ref === "string" && $ref.startsWith(PREFIX)) return $ref.slice(PREFIX.length);
  const [only, ...others] = Array.isArray(allOf) ? allOf : [];
  return isObject(only) && others.length === 0 && source["properties"] === undefined ? referenceIn(only) : undefined;
}
