import type { ApiClient } from "../../kernel/client/types.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { apiVersionOf, type Kind } from "../../kernel/kinds/object.js";
import { didYouMean } from "../../kernel/schema/index.js";
import { parseJsonObject } from "../manifest/json.js";

/** `; did you mean "replicas"?` for an unknown field (`spec.replcas`) of a kind, by the schema that the cluster publishes; empty if nothing is near. */
export async function suggestField(
  client: ApiClient,
  kind: Pick<Kind, "group" | "version" | "kind">,
  path: string,
): Promise<string> {
  const root = kind.group === "" ? `/openapi/v3/api/${kind.version}` : `/openapi/v3/apis/${apiVersionOf(kind)}`;
  const document = parseJsonObject(await client.json("GET", root).catch(() => undefined));
  const schemas = parseJsonObject(parseJsonObject(document?.["components"])?.["schemas"]) ?? {};
  const [schema] = Object.values(schemas)
    .map((candidate) => parseJsonObject(candidate) ?? {})
    .filter((candidate) => describes(candidate, kind));
  if (schema === undefined) {
    return "";
  }
  const steps = path.replaceAll(/\[[^\]]*\]/g, "[]").split(/\.|(?=\[\])/);
  const wrong = steps.pop() ?? "";
  const parent = steps.reduce<JsonObject>((current, step) => descend(current, step, schemas), schema);
  const near = didYouMean(wrong, Object.keys(parseJsonObject(resolve(parent, schemas)["properties"]) ?? {}));
  return near === undefined ? "" : `; did you mean ${JSON.stringify(near)}?`;
}

function describes(schema: JsonObject, kind: Pick<Kind, "group" | "version" | "kind">): boolean {
  const names = schema["x-kubernetes-group-version-kind"];
  return (
    Array.isArray(names) &&
    names.some((name) => {
      const { group, version, kind: word } = parseJsonObject(name) ?? {};
      return group === kind.group && version === kind.version && word === kind.kind;
    })
  );
}

function descend(schema: JsonObject, step: string, schemas: JsonObject): JsonObject {
  const resolved = resolve(schema, schemas);
  const next =
    step === "[]"
      ? resolved["items"]
      : (parseJsonObject(resolved["properties"])?.[step] ?? resolved["additionalProperties"]);
  return parseJsonObject(next) ?? {};
}

/** Follows `$ref`, alone or in an `allOf` of one. */
function resolve(schema: JsonObject, schemas: JsonObject): JsonObject {
  const all = schema["allOf"];
  const reference = schema["$ref"] ?? (Array.isArray(all) ? parseJsonObject(all[0])?.["$ref"] : undefined);
  return typeof reference === "string" ? (parseJsonObject(schemas[reference.split("/").at(-1) ?? ""]) ?? {}) : schema;
}
