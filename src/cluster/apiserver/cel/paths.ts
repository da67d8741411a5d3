import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObject, isObject } from "../../../kernel/schema/index.js";

/** Where a rule's `fieldPath` (`.max`, `.labels['a.b']`) points, seen from the rule: `max`, `labels[a.b]`. `undefined`: nowhere in the schema. */
export function resolveFieldPath(schema: JsonObject, path: string): string | undefined {
  let rest = path;
  let at = schema;
  let resolved = "";
  while (rest !== "") {
    const match = /^(?:\.([A-Za-z_][\w-]*)|\['((?:[^'\\]|\\.)+)'\])/.exec(rest);
    if (match === null) return undefined;
    const name = match[1] ?? (match[2] ?? "").replaceAll(/\\(.)/g, "$1");
    const property = asObject(at["properties"])[name];
    const { additionalProperties } = at;
    if (isObject(property)) {
      resolved = resolved === "" ? name : `${resolved}.${name}`;
      at = property;
    } else if (isObject(additionalProperties)) {
      resolved = `${resolved}[${name}]`;
      at = additionalProperties;
    } else return undefined;
    rest = rest.slice(match[0].length);
  }
  return resolved === "" ? undefined : resolved;
}

/** A path and what stands below it. */
export function joinPath(path: string, below: string): string {
  if (path === "" || below.startsWith("[")) return path + below;
  return `${path}.${below}`;
}
