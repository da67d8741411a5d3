import type { Faults } from "../../../kernel/kinds/index.js";
import {
  formatQuantity,
  portNameFaults,
  type Quantity,
  qualifiedNameFaults,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asNumber, asString } from "../registry/read.js";

/** What is wrong with a text, in upstream's words; nothing for a good one. */
export type Grammar = (value: string) => readonly string[];

/** Reports what a grammar finds. */
export function follows(grammar: Grammar, value: string, path: string, faults: Faults): void {
  for (const fault of grammar(value)) faults.invalid(path, value, fault);
}

/** The text of a field that must have one; its absence is reported. */
export function needed(object: JsonObject, field: string, path: string, faults: Faults): string {
  const value = asString(object[field]);
  if (value === "") faults.required(`${path}.${field}`);
  return value;
}

/** A text that may be absent or empty, else follows a grammar. */
export function optional(grammar: Grammar, value: Json | undefined, path: string, faults: Faults): void {
  const text = asString(value);
  if (text !== "") follows(grammar, text, path, faults);
}

/** One of the values that there are, `allowed` in the order in which upstream shows them. */
export function oneOf(value: Json | undefined, allowed: readonly string[], path: string, faults: Faults): void {
  if (!allowed.includes(asString(value))) faults.unsupported(path, value ?? "", allowed);
}

/** Like `oneOf`, but an empty one is reported as missing. */
export function neededOneOf(value: Json | undefined, allowed: readonly string[], path: string, faults: Faults): void {
  if (asString(value) === "") faults.required(path);
  else oneOf(value, allowed, path, faults);
}

/** Like `oneOf`, where a value is there at all. */
export function oneOfIfSet(value: Json | undefined, allowed: readonly string[], path: string, faults: Faults): void {
  if (value !== undefined) oneOf(value, allowed, path, faults);
}

/** A number that may not be negative. */
export function nonNegative(object: JsonObject, field: string, path: string, faults: Faults): void {
  const value = asNumber(object[field]);
  if (value !== undefined && value < 0)
    faults.invalid(path === "" ? field : `${path}.${field}`, value, "must be greater than or equal to 0");
}

/** A number between two bounds, if it is there. */
export function within(
  value: Json | undefined,
  [low, high]: readonly [number, number],
  path: string,
  faults: Faults,
): void {
  if (typeof value === "number" && (value < low || value > high))
    faults.invalid(path, value, `must be between ${low} and ${high}, inclusive`);
}

/** The number of a port. */
export function portNumber(value: Json | undefined, path: string, faults: Faults): void {
  within(value ?? 0, [1, 65_535], path, faults);
}

/** The number or the name of a port. */
export function portNumberOrName(value: Json | undefined, path: string, faults: Faults): void {
  if (typeof value === "string") follows(portNameFaults, value, path, faults);
  else portNumber(value, path, faults);
}

/** The bits of a file's mode, if they are there. */
export function fileMode(value: Json | undefined, path: string, faults: Faults): void {
  if (typeof value === "number" && (value < 0 || value > 0o777))
    faults.invalid(path, value, "must be a number between 0 and 0777 (octal), both inclusive");
}

/** Keys of labels, finalizers and the like. */
export function qualifiedName(value: Json | undefined, path: string, faults: Faults): void {
  follows(qualifiedNameFaults, asString(value), path, faults);
}

/** A path without `..`. */
export function noBackSteps(value: string, path: string, faults: Faults): void {
  if (value.split("/").includes("..")) faults.invalid(path, value, "must not contain '..'");
}

/** A path below another. */
export function descendingPath(value: string, path: string, faults: Faults): void {
  if (value.startsWith("/")) faults.invalid(path, value, "must be a relative path");
  noBackSteps(value, path, faults);
}

/** A path below another in which volumes may put a file. */
export function localPath(value: string, path: string, faults: Faults): void {
  descendingPath(value, path, faults);
  if (value.startsWith("..") && !value.startsWith("../")) faults.invalid(path, value, "must not start with '..'");
}

/** A quantity out of JSON. */
export function quantityOf(value: Json | undefined): Quantity | undefined {
  return typeof value === "string" || typeof value === "number" ? tryParseQuantity(value) : undefined;
}

/** As upstream shows a quantity. */
export function shownQuantity(quantity: Quantity): string {
  return formatQuantity(quantity);
}

const billion = 1_000_000_000n;

/** Whether a quantity has no fraction, looked at in thousandths as upstream does. */
export function isWhole({ nanos }: Quantity): boolean {
  const thousandth = 1_000_000n;
  const most = 2n ** 63n - 1n;
  const all = nanos / thousandth + (nanos % thousandth > 0n ? 1n : 0n);
  // What is too much for upstream's number counts as the most that it holds.
  const millis = all > most ? most : all;
  return millis % 1000n === 0n;
}

/** A quantity as whole units, rounded up. */
export function wholeUnits({ nanos }: Quantity): bigint {
  return nanos / billion + (nanos % billion > 0n ? 1n : 0n);
}
