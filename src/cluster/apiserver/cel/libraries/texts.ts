import { compilePattern } from "../../../../kernel/schema/index.js";
import type { Engine } from "../engine.unsafe.js";
import { CelEvaluationError } from "../errors.js";

function expression(pattern: string): RegExp {
  try {
    return new RegExp(compilePattern(pattern).source, "gu");
  } catch {
    throw new CelEvaluationError(`error parsing regexp: \`${pattern}\``);
  }
}

function findAll(text: string, pattern: string, most: number): string[] {
  const found: string[] = [];
  if (most === 0) return found;
  for (const [match] of text.matchAll(expression(pattern))) {
    found.push(match);
    if (found.length === most) break;
  }
  return found;
}

function replace(text: string, from: string, to: string, most: number): string {
  if (most < 0) return text.replaceAll(from, () => to);
  let rest = text;
  let done = "";
  for (let count = 0; count < most; count++) {
    const at = rest.indexOf(from);
    if (at < 0) break;
    done += rest.slice(0, at) + to;
    rest = rest.slice(at + from.length);
  }
  return done + rest;
}

/** Texts beyond the language: find, findAll, replace, charAt, reverse, format, and quoting. */
export function defineTexts(engine: Engine): void {
  const { meter } = engine;
  const read = (text: string): void => meter.charge(Math.ceil(text.length / 10));
  engine.define("string.find(string): string", (text: string, pattern: string) => {
    read(text);
    return findAll(text, pattern, 1)[0] ?? "";
  });
  engine.define("string.findAll(string): list<string>", (text: string, pattern: string) => {
    read(text);
    return findAll(text, pattern, -1);
  });
  engine.define("string.findAll(string, int): list<string>", (text: string, pattern: string, most: bigint) => {
    read(text);
    return findAll(text, pattern, Number(most));
  });
  engine.define("string.replace(string, string): string", (text: string, from: string, to: string) => {
    meter.charge(Math.ceil((text.length * Math.max(to.length, 1)) / 10));
    return replace(text, from, to, -1);
  });
  engine.define(
    "string.replace(string, string, int): string",
    (text: string, from: string, to: string, most: bigint) => {
      meter.charge(Math.ceil((text.length * Math.max(to.length, 1)) / 10));
      return replace(text, from, to, Number(most));
    },
  );
  engine.define("string.charAt(int): string", (text: string, index: bigint) => {
    const characters = Array.from(text);
    if (index < 0n || index > BigInt(characters.length)) throw new CelEvaluationError(`index out of range: ${index}`);
    return characters[Number(index)] ?? "";
  });
  engine.define("string.reverse(): string", (text: string) => {
    read(text);
    return Array.from(text).reverse().join("");
  });
  engine.define("string(google.protobuf.Timestamp): string", (time: Date) => shownTime(time));
  engine.define("string(google.protobuf.Duration): string", (span: { seconds: bigint; nanos: number }) =>
    shownSpan(span),
  );
  engine.declareNamespace("strings", "CelStrings");
  engine.define("CelStrings.quote(string): string", (_: unknown, text: string) => JSON.stringify(text));
  engine.define("string.format(list<dyn>): string", (template: string, values: readonly unknown[]) => {
    read(template);
    return format(template, values);
  });
}

/** As RFC 3339, with as much of the second as there is. */
function shownTime(time: Date): string {
  return time.toISOString().replace(/\.?0*Z$/, "Z");
}

/** In seconds, with as much of the last one as there is. */
function shownSpan({ seconds, nanos }: { readonly seconds: bigint; readonly nanos: number }): string {
  const whole = seconds * 1_000_000_000n + BigInt(nanos);
  const [sign, size] = whole < 0n ? ["-", -whole] : ["", whole];
  const fraction = String(size % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${sign}${size / 1_000_000_000n}${fraction === "" ? "" : `.${fraction}`}s`;
}

/** cel-go's format: %s %d %f %e %x %X %o %b %%, with a precision for floats. */
function format(template: string, values: readonly unknown[]): string {
  let next = 0;
  return template.replaceAll(/%(?:\.(\d+))?(.)/gs, (_all, precision: string | undefined, verb: string) => {
    if (verb === "%") return "%";
    if (next >= values.length) throw new CelEvaluationError(`index ${next} out of range`);
    return formatOne(verb, values[next++], precision === undefined ? 6 : Number(precision));
  });
}

function formatOne(verb: string, value: unknown, precision: number): string {
  switch (verb) {
    case "s":
      return shown(value);
    case "d":
      if (typeof value === "bigint" || typeof value === "number") return String(value);
      break;
    case "f":
      if (typeof value === "number" || typeof value === "bigint") return Number(value).toFixed(precision);
      break;
    case "e":
      if (typeof value === "number" || typeof value === "bigint") return Number(value).toExponential(precision);
      break;
    default:
      return inBase(verb, value);
  }
  throw new CelEvaluationError(`error during formatting: could not convert argument for verb %${verb}`);
}

const bases: Readonly<Record<string, number>> = { x: 16, X: 16, o: 8, b: 2 };

function inBase(verb: string, value: unknown): string {
  const base = bases[verb];
  if (base === undefined)
    throw new CelEvaluationError(`could not parse formatting clause: unrecognized formatting clause "${verb}"`);
  if (verb === "b" && typeof value === "boolean") return value ? "1" : "0";
  let text: string | undefined;
  if (typeof value === "bigint") text = value.toString(base);
  else if (typeof value === "string" && base === 16) text = Buffer.from(value).toString("hex");
  else if (value instanceof Uint8Array && base === 16) text = Buffer.from(value).toString("hex");
  if (text === undefined)
    throw new CelEvaluationError(`error during formatting: could not convert argument for verb %${verb}`);
  return verb === "X" ? text.toUpperCase() : text;
}

function isSpan(value: unknown): value is { seconds: bigint; nanos: number } {
  return typeof value === "object" && value !== null && "seconds" in value && "nanos" in value;
}

function shown(value: unknown): string {
  if (value === null) return "null";
  if (value instanceof Date) return shownTime(value);
  if (isSpan(value)) return shownSpan(value);
  if (Array.isArray(value)) return `[${value.map(shown).join(", ")}]`;
  if (value instanceof Map)
    return `{${[...value]
      .map(([key, member]) => `${shown(key)}: ${shown(member)}`)
      .sort()
      .join(", ")}}`;
  if (typeof value === "string") return value;
  if (typeof value === "bigint" || typeof value === "number" || typeof value === "boolean") return `${value}`;
  throw new CelEvaluationError(
    "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
  );
}
