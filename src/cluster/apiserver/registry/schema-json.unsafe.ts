import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Schema } from "../../../kernel/schema/index.js";

/**
 * JSON objects are schemas in the sense of the type: every member is optional, and readers of schemas look at the types of
 * what they use. Copying a thousand definitions only to prove it would cost start-up time and memory.
 */
export function schemaOf(json: JsonObject): Schema {
  return json as Schema;
}

/** The way back. */
export function jsonOf(schema: Schema): JsonObject {
  return schema as JsonObject;
}
