import { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, isComposite, isObject, prune, validateValue } from "../../../kernel/schema/index.js";
import { asObject, asString } from "../registry/read.js";
import { schemaOf } from "../registry/schema-json.unsafe.js";

/** Checks that the defaults of a structural schema are values that it allows. */
export function validateDefaults(schema: JsonObject, path: string): Faults {
  const faults = new Faults();
  checkNode(schema, path, { faults, isResource: true, isInMeta: false });
  return faults;
}

interface Context {
  readonly faults: Faults;
  /** It is a whole resource, whether it says so or is the root. */
  readonly isResource: boolean;
  readonly isInMeta: boolean;
}

const metaFields = new Set(["metadata", "apiVersion", "kind"]);

/** Below additionalProperties no value can be made, so that defaults there are not looked at. */
function checkNode(schema: JsonObject, path: string, context: Context): void {
  const { faults } = context;
  const isInMeta = context.isInMeta && !context.isResource;
  const value = schema["default"];
  if (value !== undefined && value !== null) checkDefault(schema, value, `${path}.default`, { ...context, isInMeta });
  if (isObject(schema["items"])) checkNode(schema["items"], `${path}.items`, below(schema["items"], faults, isInMeta));
  for (const [name, child] of Object.entries(asObject(schema["properties"]))) {
    if (!isObject(child)) continue;
    const isMeta = isInMeta || (context.isResource && metaFields.has(name));
    checkNode(child, `${path}.properties[${name}]`, below(child, faults, isMeta));
  }
}

function below(schema: JsonObject, faults: Faults, isInMeta: boolean): Context {
  return { faults, isResource: schema["x-kubernetes-embedded-resource"] === true, isInMeta };
}

function checkDefault(schema: JsonObject, value: Json, path: string, { faults, isResource, isInMeta }: Context): void {
  if (!isInMeta) {
    // A whole resource has what every resource has, whatever the schema says of it.
    const { apiVersion: _, kind: __, metadata: ___, ...body } = asObject(value);
    const kept: Json = isResource ? body : value;
    if (prune(schemaOf(schema), cloneJson(kept)).length > 0)
      faults.invalid(path, value, "must not have unknown fields");
    if (isResource && isObject(value) && checkResource(value, path, faults)) return;
  }
  for (const cause of validateValue(schemaOf(withoutEither(schema)), value))
    faults.causes.push({
      ...cause,
      field: `${path}${isComposite(cause) || cause.field === "" ? "" : `.${cause.field}`}`,
    });
}

/** That a value is a number or a text is not looked at in defaults, as upstream. */
function withoutEither(schema: JsonObject): JsonObject {
  const { "x-kubernetes-int-or-string": _, ...rest } = schema;
  const { items, additionalProperties } = rest;
  if (isObject(items)) rest["items"] = withoutEither(items);
  if (isObject(additionalProperties)) rest["additionalProperties"] = withoutEither(additionalProperties);
  if (rest["properties"] !== undefined)
    rest["properties"] = Object.fromEntries(
      Object.entries(asObject(rest["properties"])).map(([name, child]) => [
        name,
        isObject(child) ? withoutEither(child) : child,
      ]),
    );
  return rest;
}

/** Returns whether anything is wrong. */
function checkResource(value: JsonObject, path: string, faults: Faults): boolean {
  const before = faults.causes.length;
  for (const field of ["apiVersion", "kind"])
    if (value[field] === undefined) faults.required(`${path}.${field}`);
    else if (typeof value[field] !== "string") faults.invalid(`${path}.${field}`, value[field], "must be a string");
    else if (asString(value[field]) === "") faults.invalid(`${path}.${field}`, "", "must not be empty");
  return faults.causes.length > before;
}
