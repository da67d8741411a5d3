import type { StatusCause } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson, isObject } from "../../../kernel/schema/index.js";

/** Leaves out faults of values that the update did not touch: a schema that became stricter must not keep old objects from being changed elsewhere (KEP-4008). */
export function ratchet(causes: readonly StatusCause[], object: JsonObject, old: JsonObject): StatusCause[] {
  return causes.filter((cause) => {
    const now = valueAt(object, cause.field);
    const before = valueAt(old, cause.field);
    if (cause.reason === "FieldValueRequired") {
      const parent = parentOf(cause.field);
      return !equalJson(valueAt(object, parent), valueAt(old, parent));
    }
    return now === undefined || !equalJson(now, before);
  });
}

function parentOf(path: string): string {
  const dot = path.lastIndexOf(".");
  return dot < 0 ? "" : path.slice(0, dot);
}

/** The value under a path such as `spec.list[0].name`. */
function valueAt(object: JsonObject, path: string): Json | undefined {
  let current: Json | undefined = object;
  for (const segment of path.replaceAll(/\[(\d+)\]/g, ".$1").split(".")) {
    if (segment === "") continue;
    if (Array.isArray(current)) current = current[Number(segment)];
    else if (isObject(current)) current = current[segment];
    else return undefined;
  }
  return current;
}
