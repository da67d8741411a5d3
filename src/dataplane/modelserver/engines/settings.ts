import type { JsonObject } from "../../../kernel/kinds/object.js";
import { ModelError } from "../failures.js";

/** A parameter that is a text; `undefined` when it is not there. Throws `ModelError` for anything else. */
export function readText(settings: JsonObject, name: string): string | undefined {
  const value = settings[name];
  if (value === undefined || typeof value === "string") return value;
  throw new ModelError("ModelLoadFailed", `parameter ${name} must be a text`);
}

/** A parameter that is a whole number in a range, as a number or as digits. Throws `ModelError` for anything else. */
export function readNumber(
  settings: JsonObject,
  name: string,
  [low, high]: readonly [number, number],
): number | undefined {
  const value = settings[name];
  if (value === undefined) return undefined;
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= low && number <= high) return number;
  throw new ModelError("ModelLoadFailed", `parameter ${name} must be a whole number from ${low} to ${high}`);
}
