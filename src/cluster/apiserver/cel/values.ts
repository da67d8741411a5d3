import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";

/** An object with declared fields; its members are converted when they are read. */
export class ObjectValue {
  readonly #raw: JsonObject;

  constructor(raw: JsonObject = {}) {
    this.#raw = raw;
  }

  static rawOf(value: ObjectValue): JsonObject {
    return value.#raw;
  }
}

/** A value whose type is not declared: whole numbers are integers. */
export function dynamicValue(json: Json | undefined): unknown {
  if (typeof json === "number") return Number.isInteger(json) ? BigInt(json) : json;
  if (Array.isArray(json)) return json.map(dynamicValue);
  if (typeof json !== "object" || json === null) return json ?? null;
  const members = new Map<string, unknown>();
  for (const key of Object.keys(json)) members.set(key, dynamicValue(json[key]));
  return members;
}

/** Equality of the language. */
export function celEquals(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (isNumeric(a) && isNumeric(b)) return Number(a) === Number(b) && (typeof a !== typeof b || a === b);
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, index) => celEquals(item, b[index]));
  if (a instanceof Map && b instanceof Map)
    return a.size === b.size && [...a].every(([key, value]) => b.has(key) && celEquals(value, b.get(key)));
  if (a instanceof ObjectValue && b instanceof ObjectValue)
    return equalJson(ObjectValue.rawOf(a), ObjectValue.rawOf(b));
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return false;
}

function isNumeric(value: unknown): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}
