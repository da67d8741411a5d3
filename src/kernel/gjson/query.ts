import { InputError } from "../errors/index.js";
import type { Json } from "../kinds/object.js";
import { endOfText } from "./parts.js";
import type { Lookup } from "./path.js";
import { matchesWildcard } from "./wildcard.js";

/** What must hold of an item. */
export interface Query {
  holds(item: Json): boolean;
}

type Operator = "" | "=" | "!=" | "<" | "<=" | ">" | ">=" | "%" | "!%";

/** Where the bracket closes that a path's `#(` opens; `undefined` where it does not. */
export function endOfQuery(path: string): number | undefined {
  let depth = 1;
  for (let index = 2; index < path.length; index++) {
    const character = path[index];
    if (character === "\\") index++;
    else if (character === '"') index = endOfText(path, index);
    else if (character === "(" || character === "[") depth++;
    else if (character === ")" || character === "]") {
      depth--;
      if (depth === 0) return index;
    }
  }
  return undefined;
}

/** Reads what is between the brackets; `compile` reads the path of it. Throws `InputError`. */
export function parseQuery(text: string, compile: (path: string) => Lookup): Query {
  const start = startOfComparison(text);
  const path = text.slice(0, start).trim();
  const [operator, written] = splitComparison(start < 0 ? "" : text.slice(start).trim());
  const lookup = path === "" || start < 0 ? undefined : compile(path);
  const find = start < 0 && text.trim() !== "" ? compile(text.trim()) : lookup;
  const wanted = unquoted(written);
  return {
    holds(item) {
      const isInner = typeof item === "object" && item !== null;
      if (!isInner && find !== undefined) return false;
      const value = find === undefined ? (isInner ? unnamed(item) : item) : find(item);
      return matches(value, operator, wanted);
    },
  };
}

/** Without a path, an object is asked for its member without a name. */
const unnamed = (item: Json): Json | undefined =>
  typeof item === "object" && item !== null && !Array.isArray(item) ? item[""] : undefined;

function startOfComparison(text: string): number {
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const character = text[index] ?? "";
    if (depth === 0 && "!=<>%".includes(character)) return index;
    if (character === "\\") index++;
    else if (character === "(" || character === "[") depth++;
    else if (character === ")" || character === "]") depth--;
    else if (character === '"') index = endOfText(text, index);
  }
  return -1;
}

function splitComparison(text: string): [Operator, string] {
  if (text === "") return ["", ""];
  const match = /^(==|!=|!%|<=|>=|=|<|>|%)([\s\S]*)$/.exec(text);
  if (match === null) throw new InputError(`\`${text.slice(0, 60)}\` is no comparison; there are == != < <= > >= % !%`);
  const [, operator = "=", value = ""] = match;
  return [operator === "==" ? "=" : (OPERATORS.get(operator) ?? "="), value.trim()];
}

const OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ...(["=", "!=", "<", "<=", ">", ">=", "%", "!%"] as const).map((each) => [each, each] as const),
]);

function unquoted(text: string): string {
  if (text.length < 2 || !text.startsWith('"') || !text.endsWith('"')) return text;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : text.slice(1, -1);
  } catch {
    return text.slice(1, -1);
  }
}

function matches(found: Json | undefined, operator: Operator, written: string): boolean {
  const [value, wanted] = written.startsWith("~") ? [asTruth(found, written.slice(1)), "true"] : [found, written];
  if (value === undefined) return false;
  if (operator === "") return true;
  if (typeof value === "string") return compareTexts(value, operator, wanted);
  if (typeof value === "number") return compareOrder(value - numberIn(wanted), operator);
  if (typeof value === "boolean") return compareTruths(value, operator, wanted);
  return false;
}

/** `~true`, `~false`, `~null`, `~*`: whether the value is about as much. */
function asTruth(value: Json | undefined, kind: string): boolean | undefined {
  if (kind === "*") return value !== undefined;
  if (kind === "null") return value === undefined || value === null;
  if (kind === "true")
    return typeof value === "string"
      ? truthIn(value) === true
      : value === true || (typeof value === "number" && value !== 0);
  if (kind === "false")
    return typeof value === "string"
      ? truthIn(value) === false
      : value === undefined || value === null || value === false || value === 0;
  return undefined;
}

function truthIn(text: string): boolean | undefined {
  const lower = text.toLowerCase();
  if (["1", "t", "true"].includes(lower)) return true;
  return ["0", "f", "false"].includes(lower) ? false : undefined;
}

function compareTexts(value: string, operator: Operator, wanted: string): boolean {
  if (operator === "%") return matchesWildcard(value, wanted);
  if (operator === "!%") return !matchesWildcard(value, wanted);
  // By bytes, as UTF-8 orders them.
  return compareOrder(Buffer.compare(Buffer.from(value), Buffer.from(wanted)), operator);
}

function compareOrder(difference: number, operator: Operator): boolean {
  switch (operator) {
    case "=":
      return difference === 0;
    case "!=":
      return difference !== 0;
    case "<":
      return difference < 0;
    case "<=":
      return difference <= 0;
    case ">":
      return difference > 0;
    case ">=":
      return difference >= 0;
    default:
      return false;
  }
}

function compareTruths(value: boolean, operator: Operator, wanted: string): boolean {
  switch (operator) {
    case "=":
      return wanted === String(value);
    case "!=":
      return wanted !== String(value);
    case ">":
      return value && wanted === "false";
    case ">=":
      return value;
    case "<":
      return !value && wanted === "true";
    case "<=":
      return !value;
    default:
      return false;
  }
}

/** What is no number counts as 0. */
const numberIn = (text: string): number =>
  /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : 0;
