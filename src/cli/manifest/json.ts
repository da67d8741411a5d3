import type { JsonObject } from "../../kernel/kinds/object.js";
import { isObject } from "../../kernel/schema/index.js";

/** A value that came from JSON or YAML, if it is an object. */
export function parseJsonObject(value: unknown): JsonObject | undefined {
  return isObject(value) ? value : undefined;
}
