import { CelEvaluationError } from "../errors.js";
import { type Engine, patternOf, shownDouble, typeNameOf } from "../language/index.js";
import { format } from "./format.js";

function searchOf(pattern: string): RegExp {
  try {
    return new RegExp(patternOf(pattern).source, "gu");
  } catch (error) {
    throw new CelEvaluationError(`Illegal regex: ${error instanceof Error ? error.message : ""}`);
  }
}

function findAll(text: string, pattern: string, most: number): string[] {
  const found: string[] = [];
  const expression = searchOf(pattern);
  if (most === 0) return found;
  for (const [match] of text.matchAll(expression)) {
    found.push(match);
    if (found.length === most) break;
  }
  return found;
}

function replace(text: string, from: string, to: string, most: bigint): string {
  if (from === "") return replaceNothing(text, to, most);
  let rest = text;
  let done = "";
  for (let count = 0n; most < 0n || count < most; count += 1n) {
    const at = rest.indexOf(from);
    if (at < 0) break;
    done += rest.slice(0, at) + to;
    rest = rest.slice(at + from.length);
  }
  return done + rest;
}

/** Nothing stands before and after each character. */
function replaceNothing(text: string, to: string, most: bigint): string {
  const characters = Array.from(text);
  const count = most < 0n ? characters.length + 1 : Number(most);
  return (
    characters.map((sign, index) => (index < count ? to : "") + sign).join("") + (characters.length < count ? to : "")
  );
}

function split(text: string, by: string, most: bigint): string[] {
  if (most === 0n) return [];
  const parts = by === "" ? Array.from(text) : text.split(by);
  const limit = Number(most);
  if (most < 0n || parts.length <= limit) return parts;
  return [...parts.slice(0, limit - 1), parts.slice(limit - 1).join(by)];
}

const outside = (index: bigint): CelEvaluationError => new CelEvaluationError(`index out of range: ${index}`);

function charAt(text: string, index: bigint): string {
  const characters = Array.from(text);
  if (index < 0n || index > BigInt(characters.length)) throw outside(index);
  return characters[Number(index)] ?? "";
}

const startsAt = (characters: readonly string[], part: readonly string[], at: number): boolean =>
  part.every((sign, index) => characters[at + index] === sign);

function indexOf(text: string, part: string, from = 0n): bigint {
  if (part === "") return from;
  if (from < 0n) throw outside(from);
  const [characters, wanted] = [Array.from(text), Array.from(part)];
  for (let at = Number(from); at <= characters.length - wanted.length; at += 1)
    if (startsAt(characters, wanted, at)) return BigInt(at);
  return -1n;
}

function lastIndexOf(text: string, part: string, from?: bigint): bigint {
  const [characters, wanted] = [Array.from(text), Array.from(part)];
  if (part === "") return from ?? BigInt(characters.length);
  if (from === undefined && text.length < part.length) return -1n;
  const start = from ?? BigInt(characters.length - 1);
  if (start < 0n) throw outside(start);
  if (start >= BigInt(characters.length)) return -1n;
  for (let at = Math.min(Number(start), characters.length - wanted.length); at >= 0; at -= 1)
    if (startsAt(characters, wanted, at)) return BigInt(at);
  return -1n;
}

function substring(text: string, from: bigint, to?: bigint): string {
  const characters = Array.from(text);
  const length = BigInt(characters.length);
  if (to !== undefined && from > to)
    throw new CelEvaluationError(`invalid substring range. start: ${from}, end: ${to}`);
  if (from < 0n || from > length) throw outside(from);
  if (to !== undefined && to > length) throw outside(to);
  return characters.slice(Number(from), to === undefined ? undefined : Number(to)).join("");
}

function join(list: readonly unknown[], between = ""): string {
  for (const item of list)
    if (typeof item !== "string")
      throw new CelEvaluationError(
        `join: invalid input: ${typeof item === "number" ? shownDouble(item) : typeNameOf(item)}`,
      );
  return list.join(between);
}

const quoted: Readonly<Record<string, string>> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};

const quote = (text: string): string => `"${Array.from(text, (sign) => quoted[sign] ?? sign).join("")}"`;

const white = "[\\t\\n\\v\\f\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const edges = new RegExp(`^${white}|${white}$`, "g");

/** Functions of texts beyond the language: cel-go's extension, and Kubernetes' searches. */
export function defineTexts(engine: Engine): void {
  engine.define("string.find(string): string", (text: string, pattern: string) => findAll(text, pattern, 1)[0] ?? "");
  engine.define("string.findAll(string): list<string>", (text: string, pattern: string) => findAll(text, pattern, -1));
  engine.define("string.findAll(string, int): list<string>", (text: string, pattern: string, most: bigint) =>
    findAll(text, pattern, Number(most)),
  );
  engine.define("string.charAt(int): string", charAt);
  for (const [name, find] of Object.entries({ indexOf, lastIndexOf })) {
    engine.define(`string.${name}(string): int`, (text: string, part: string) => find(text, part));
    engine.define(`string.${name}(string, int): int`, find);
  }
  engine.define("string.lowerAscii(): string", (text: string) =>
    text.replaceAll(/[A-Z]/g, (sign) => sign.toLowerCase()),
  );
  engine.define("string.upperAscii(): string", (text: string) =>
    text.replaceAll(/[a-z]/g, (sign) => sign.toUpperCase()),
  );
  engine.define("string.replace(string, string): string", (text: string, from: string, to: string) =>
    replace(text, from, to, -1n),
  );
  engine.define("string.replace(string, string, int): string", replace);
  engine.define("string.split(string): list<string>", (text: string, by: string) => split(text, by, -1n));
  engine.define("string.split(string, int): list<string>", split);
  engine.define("string.substring(int): string", (text: string, from: bigint) => substring(text, from));
  engine.define("string.substring(int, int): string", substring);
  engine.define("string.trim(): string", (text: string) => text.replaceAll(edges, ""));
  engine.define("string.format(list<dyn>): string", format);
  engine.define("strings.quote(string): string", quote);
  engine.define("list<string>.join(): string", (list: readonly unknown[]) => join(list));
  engine.define("list<string>.join(string): string", join);
}
