import { readFileSync } from "node:fs";
import { assetPath } from "../../../kernel/assets/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, parseJson } from "../../../kernel/schema/index.js";
import { nativeAssets } from "./native-assets.js";
import { jsonOf } from "./schema-json.unsafe.js";

/** Texts by definition and field; `""` is the definition itself, definition `*` the fields that all kinds have. */
type Texts = JsonObject;

let read: Texts | undefined;

/** Read when a document is made first: who never asks for one does not pay for it. */
function texts(): Texts {
  if (read === undefined) {
    const content = parseJson(readFileSync(assetPath("descriptions.json"), "utf8"));
    read = isObject(content) ? content : {};
  }
  return read;
}

function textsOf(name: string): JsonObject {
  const own = texts()[name];
  return isObject(own) ? own : {};
}

/** A native definition with what its fields mean, where that is written down; `undefined` when there is none of that name. The shared one stays as it is. */
export function describedDefinition(name: string): JsonObject | undefined {
  const schema = nativeAssets().schemas[name];
  if (schema === undefined) return undefined;
  const json = jsonOf(schema);
  const own = textsOf(name);
  const fields = json["x-kubernetes-group-version-kind"] === undefined ? own : { ...textsOf("*"), ...own };
  const { "": meaning } = own;
  const { properties } = json;
  return {
    ...(meaning === undefined ? {} : { description: meaning }),
    ...json,
    ...(isObject(properties) ? { properties: describedFields(properties, fields) } : {}),
  };
}

function describedFields(properties: JsonObject, meanings: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(properties).map(([field, schema]) => {
      const description = meanings[field];
      return [field, isObject(schema) && description !== undefined ? { description, ...schema } : schema];
    }),
  );
}
