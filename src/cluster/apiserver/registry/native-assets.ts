import { readFileSync } from "node:fs";
import { assetPath } from "../../../kernel/assets/index.js";
import { InputError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Schema } from "../../../kernel/schema/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import { readSchemas } from "./schema-json.js";

/** The reference documents of the Kubernetes version that is served. */
export interface NativeAssets {
  readonly discovery: JsonObject;
  /** OpenAPI v3 definitions by name. */
  readonly schemas: Readonly<Record<string, Schema>>;
  /** How Go writes the fields of each struct. */
  readonly structs: JsonObject;
}

let loaded: NativeAssets | undefined;

function readJson(...segments: string[]): JsonObject {
  const file = assetPath("kubernetes-1.34", ...segments);
  const content: Json = JSON.parse(readFileSync(file, "utf8"));
  if (!isObject(content)) throw new InputError(`${file} holds no JSON object; reinstall the program`);
  return content;
}

/** Reads the documents once; they are constant and shared by all API servers of the process. */
export function nativeAssets(): NativeAssets {
  loaded ??= {
    discovery: readJson("discovery.json"),
    schemas: readSchemas(readJson("schemas.json")["schemas"]),
    structs: readJson("structs.json"),
  };
  return loaded;
}
