import type { Arguments } from "./arguments.js";
import { findPattern, type Match } from "./pattern.js";
import type { Machine } from "./scope.js";
import { LuaError, LuaTable, type LuaValue, textOf } from "./values.js";

type Work = (args: Arguments, machine: Machine) => LuaValue[];

/** A place from 1, or from the end when negative, as one from 0. */
function placeOf(place: number, length: number): number {
  return place > 0 ? place - 1 : place === 0 ? 0 : Math.max(length + place, 0);
}

function sliced(text: string, from: number, to: number): string {
  const end = to < 0 ? text.length + to + 1 : Math.min(to, text.length);
  return text.slice(placeOf(from, text.length), Math.max(end, 0));
}

/** What a match gives: its brackets, or the whole of it. */
function givenBy(text: string, match: Match): readonly LuaValue[] {
  return match.captures.length === 0 ? [text.slice(match.start, match.end)] : match.captures;
}

const find: Work = (args, machine) => {
  const [text, pattern] = [args.text(0), args.text(1)];
  const start = placeOf(args.number(2, 1), text.length);
  if (args.values[3] === true || !/[\^$*+?.([%-]/.test(pattern)) {
    machine.budget.step(text.length);
    const at = text.indexOf(pattern, start);
    return at < 0 ? [undefined] : [at + 1, at + pattern.length];
  }
  const match = findPattern(text, pattern, start, machine.budget);
  return match === undefined ? [undefined] : [match.start + 1, match.end, ...match.captures];
};

const matched: Work = (args, machine) => {
  const text = args.text(0);
  const match = findPattern(text, args.text(1), placeOf(args.number(2, 1), text.length), machine.budget);
  return match === undefined ? [undefined] : [...givenBy(text, match)];
};

const eachMatch: Work = (args, machine) => {
  const [text, pattern] = [args.text(0), args.text(1)];
  let at = 0;
  return [
    () => {
      const match = at > text.length ? undefined : findPattern(text, pattern, at, machine.budget);
      if (match === undefined) return [undefined];
      at = match.end > match.start ? match.end : match.end + 1;
      return [...givenBy(text, match)];
    },
  ];
};

const replaced: Work = (args, machine) => {
  const [text, pattern] = [args.text(0), args.text(1)];
  const limit = args.number(3, Number.POSITIVE_INFINITY);
  let [result, at, count] = ["", 0, 0];
  while (count < limit && at <= text.length) {
    const match = findPattern(text, pattern, at, machine.budget);
    if (match === undefined) break;
    count += 1;
    const piece = text.slice(at, match.start) + replacement(args.values[2], text, match, machine);
    const isEmpty = match.end === match.start;
    result += piece + (isEmpty ? text.charAt(match.end) : "");
    machine.budget.take(piece.length + 1);
    at = isEmpty ? match.end + 1 : match.end;
    if (pattern.startsWith("^")) break;
  }
  return [result + text.slice(at), count];
};

function replacement(by: LuaValue, text: string, match: Match, machine: Machine): string {
  const whole = text.slice(match.start, match.end);
  const given = givenBy(text, match);
  if (typeof by === "string" || typeof by === "number")
    return textOf(by).replaceAll(/%(.)/g, (_all, mark: string) =>
      mark === "0" ? whole : /\d/.test(mark) ? textOf(given[Number(mark) - 1]) : mark,
    );
  const value = by instanceof LuaTable ? by.get(given[0]) : machine.call(by, given, 0)[0];
  return value === undefined || value === false ? whole : textOf(value);
}

const DIRECTIVE = /%([-+ #0]*)(\d*)(?:\.(\d*))?([a-zA-Z%])/g;

const formatted: Work = (args, machine) => {
  let place = 0;
  const text = args.text(0).replaceAll(DIRECTIVE, (_all, ...groups: (string | undefined)[]) => {
    const [flags = "", width = "", digits, kind = ""] = groups;
    if (kind === "%") return "%";
    place += 1;
    const piece = directive(args, place, { kind, flags, digits });
    const size = Math.min(Number(width), 99);
    machine.budget.take(piece.length + size);
    if (flags.includes("-")) return piece.padEnd(size);
    return flags.includes("0") && kind !== "s"
      ? piece.replace(/\d/, (first) => first.padStart(size - piece.length + 1, "0"))
      : piece.padStart(size);
  });
  return [text];
};

function directive(
  args: Arguments,
  place: number,
  { kind, flags, digits }: { readonly kind: string; readonly flags: string; readonly digits: string | undefined },
): string {
  const precision = Math.min(digits === undefined ? 6 : Number(digits), 60);
  const sign = (text: string, value: number): string => (flags.includes("+") && value >= 0 ? `+${text}` : text);
  if (kind === "s")
    return digits === undefined ? textOf(args.values[place]) : textOf(args.values[place]).slice(0, precision);
  if (kind === "q") return JSON.stringify(args.text(place));
  if (kind === "c") return String.fromCharCode(args.number(place));
  const value = args.number(place);
  if (kind === "d" || kind === "i" || kind === "u") return sign(String(Math.trunc(value)), value);
  if (kind === "x") return Math.trunc(value).toString(16);
  if (kind === "X") return Math.trunc(value).toString(16).toUpperCase();
  if (kind === "o") return Math.trunc(value).toString(8);
  if (kind === "f") return sign(value.toFixed(precision), value);
  if (kind === "e") return sign(value.toExponential(precision).replace(/e([+-])(\d)$/, "e$10$2"), value);
  if (kind === "g") return sign(String(Number(value.toPrecision(Math.max(precision, 1)))), value);
  throw new LuaError(`invalid option '%${kind}' to 'format'`);
}

/** `string`. */
export const STRING_LIBRARY: Readonly<Record<string, Work>> = {
  len: (args) => [args.text(0).length],
  sub: (args) => [sliced(args.text(0), args.number(1), args.number(2, -1))],
  upper: (args) => [args.text(0).toUpperCase()],
  lower: (args) => [args.text(0).toLowerCase()],
  reverse: (args) => [Array.from(args.text(0)).toReversed().join("")],
  rep: (args, machine) => {
    const [text, count] = [args.text(0), Math.max(Math.floor(args.number(1)), 0)];
    machine.budget.take(text.length * count);
    return [text.repeat(count)];
  },
  byte: (args) => {
    const text = sliced(args.text(0), args.number(1, 1), args.number(2, args.number(1, 1)));
    return Array.from(text, (character) => character.charCodeAt(0));
  },
  char: (args) => [String.fromCharCode(...args.values.map((_value, place) => args.number(place)))],
  format: formatted,
  find,
  match: matched,
  gmatch: eachMatch,
  gsub: replaced,
};
