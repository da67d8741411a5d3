import type { StatusCause } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { ScalePaths } from "../types.js";

const most = 2_147_483_647;

/** What keeps an object of a definition from being scaled: its numbers are none, or none that a scale can say. A write of the status is asked for the status alone. */
export function scaleFaults(scale: ScalePaths | undefined, object: JsonObject, subresource: string): StatusCause[] {
  if (scale === undefined) return [];
  return [
    ...(subresource === "status" ? [] : countFaults(object, scale.specReplicasPath)),
    ...countFaults(object, scale.statusReplicasPath),
    ...textFaults(object, scale.labelSelectorPath),
  ];
}

function countFaults(object: JsonObject, path: string): StatusCause[] {
  const found = valueAt(object, path, "int64", (value) => typeof value === "number" && Number.isInteger(value));
  if (typeof found === "string") return [cause(path, "0", found)];
  const count = typeof found === "object" && typeof found.value === "number" ? found.value : 0;
  if (count < 0) return [cause(path, String(count), "should be a non-negative integer")];
  return count > most ? [cause(path, String(count), `should be less than or equal to ${most}`)] : [];
}

function textFaults(object: JsonObject, path: string): StatusCause[] {
  if (path === "") return [];
  const found = valueAt(object, path, "string", (value) => typeof value === "string");
  return typeof found === "string" ? [cause(path, '""', found)] : [];
}

function cause(field: string, shown: string, why: string): StatusCause {
  return { reason: "FieldValueInvalid", field, message: `Invalid value: ${shown}: ${why}` };
}

/** The value, if it is there; what is wrong with it or on the way to it, in Go's words. */
function valueAt(
  object: JsonObject,
  path: string,
  type: string,
  fits: (value: Json) => boolean,
): { readonly value: Json } | string | undefined {
  let current: Json = object;
  const names = path.split(".").slice(1);
  for (const [index, name] of names.entries()) {
    if (!isObject(current)) {
      const where = names.slice(0, index + 1).map((one) => `.${one}`);
      return misfit(where.join(""), current, "map[string]interface{}");
    }
    const next: Json | undefined = current[name];
    if (next === undefined) return undefined;
    current = next;
  }
  return fits(current) ? { value: current } : misfit(path, current, type);
}

function misfit(path: string, value: Json, expected: string): string {
  return `${path} accessor error: ${goValue(value)} is of the type ${goType(value)}, expected ${expected}`;
}

function goType(value: Json): string {
  if (value === null) return "<nil>";
  if (Array.isArray(value)) return "[]interface {}";
  if (typeof value === "number") return Number.isInteger(value) ? "int64" : "float64";
  if (typeof value === "boolean") return "bool";
  return typeof value === "string" ? "string" : "map[string]interface {}";
}

/** As Go prints a value. */
function goValue(value: Json | undefined): string {
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(goValue).join(" ")}]`;
  if (!isObject(value)) return String(value);
  const members = Object.keys(value).sort();
  return `map[${members.map((name) => `${name}:${goValue(value[name])}`).join(" ")}]`;
}
