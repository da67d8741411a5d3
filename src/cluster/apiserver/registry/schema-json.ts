import type { Json } from "../../../kernel/kinds/object.js";
import type { Schema } from "../../../kernel/schema/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import { schemaOf } from "./schema-json.unsafe.js";

/** Definitions by name out of a JSON object. */
export function readSchemas(value: Json | undefined): Readonly<Record<string, Schema>> {
  const schemas: Record<string, Schema> = {};
  if (isObject(value))
    for (const [name, schema] of Object.entries(value)) if (isObject(schema)) schemas[name] = schemaOf(schema);
  return schemas;
}
