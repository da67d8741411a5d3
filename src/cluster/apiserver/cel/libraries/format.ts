import { CelEvaluationError } from "../errors.js";
import { Duration, lengthOf, plainDouble, Timestamp, TypeValue, typeNameOf, Unsigned } from "../language/index.js";

/** What a template wants in one place. */
export interface Clause {
  readonly verb: string;
  readonly precision: number;
}

/** Reads a template: texts and clauses. Throws where a clause makes no sense; `next` gives what a clause is about, first. */
export function fill(template: string, next: () => (clause: Clause) => string): string {
  let made = "";
  let at = 0;
  while (at < template.length) {
    const sign = template[at] ?? "";
    at += 1;
    if (sign !== "%") made += sign;
    else if (template[at] === "%") {
      made += "%";
      at += 1;
    } else {
      const show = next();
      if (at >= template.length) throw new CelEvaluationError("unexpected end of string");
      const { clause, end } = clauseAt(template, at);
      made += show(clause);
      at = end;
    }
  }
  return made;
}

const unparsed = (why: string): CelEvaluationError =>
  new CelEvaluationError(`could not parse formatting clause: ${why}`);

function clauseAt(template: string, from: number): { readonly clause: Clause; readonly end: number } {
  let at = from;
  let precision = 6;
  if (template[at] === ".") {
    const digits = /^\d*/.exec(template.slice(at + 1))?.[0] ?? "";
    at += 1 + digits.length;
    if (at >= template.length)
      throw unparsed("error while parsing precision: could not find end of precision specifier");
    if (digits === "")
      throw unparsed(
        'error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing "": invalid syntax',
      );
    precision = Number(digits);
  }
  const verb = template[at] ?? "";
  if (!"sdfebxXo".includes(verb)) throw unparsed(`unrecognized formatting clause "${verb}"`);
  return { clause: { verb, precision }, end: at + 1 };
}

/** What a clause is for, and what it says of types that it is not for. */
export const clauses: Readonly<Record<string, { readonly types: readonly string[]; readonly words: string }>> = {
  s: {
    types: [
      "list",
      "map",
      "int",
      "uint",
      "double",
      "bool",
      "string",
      "google.protobuf.Timestamp",
      "bytes",
      "google.protobuf.Duration",
      "type",
      "null_type",
    ],
    words:
      "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given ",
  },
  d: { types: ["int", "uint"], words: "decimal clause can only be used on integers, was given " },
  f: { types: ["double", "string"], words: "fixed-point clause can only be used on doubles, was given " },
  e: { types: ["double", "string"], words: "scientific clause can only be used on doubles, was given " },
  b: { types: ["int", "uint", "bool"], words: "only integers and bools can be formatted as binary, was given " },
  x: {
    types: ["int", "uint", "string", "bytes"],
    words: "only integers, byte buffers, and strings can be formatted as hex, was given ",
  },
  o: { types: ["int", "uint"], words: "octal clause can only be used on integers, was given " },
};

/** What is said of a value that a clause is not for. */
export function clauseFault(verb: string, type: string): string {
  return `error during formatting: ${clauses[verb.toLowerCase()]?.words ?? ""}${type}`;
}

/** A template with its values in it. */
export function format(template: string, values: readonly unknown[]): string {
  let index = 0;
  return fill(template, () => {
    if (index >= values.length) throw new CelEvaluationError(`index ${index} out of range`);
    const value = values[index];
    index += 1;
    return (clause) => shownAs(clause, value);
  });
}

const floats: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
};

function shownAs({ verb, precision }: Clause, value: unknown): string {
  const wrong = (): CelEvaluationError => new CelEvaluationError(clauseFault(verb, typeNameOf(value)));
  switch (verb) {
    case "s":
      return shown(value, wrong);
    case "d":
      if (typeof value === "bigint" || value instanceof Unsigned) return String(value);
      throw wrong();
    case "f":
    case "e": {
      const number = typeof value === "string" && Object.hasOwn(floats, value) ? floats[value] : value;
      if (typeof number !== "number") throw wrong();
      return verb === "f" ? fixed(number, precision) : scientific(number, precision);
    }
    default:
      return inBase(verb, value, wrong);
  }
}

const special = (value: number): string => (Number.isNaN(value) ? "NaN" : value < 0 ? "-∞" : "∞");

/** With a comma at each thousand: formats are those of English. */
function fixed(value: number, precision: number): string {
  if (!Number.isFinite(value)) return special(value);
  const [whole = "", rest] = value.toFixed(Math.min(precision, 100)).split(".");
  return whole.replaceAll(/\B(?=(?:\d{3})+$)/g, ",") + (rest === undefined ? "" : `.${rest}`);
}

const raised = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function scientific(value: number, precision: number): string {
  if (!Number.isFinite(value)) return special(value);
  const [digits = "", exponent = ""] = value.toExponential(Math.min(precision, 100)).split("e");
  const power = exponent.replace(/^\+/, "").replace(/^(-?)(\d)$/, "$10$2");
  return `${digits}\u202f×\u202f10${power.replaceAll(/\d/g, (digit) => raised[Number(digit)] ?? "").replace("-", "⁻")}`;
}

const bases: Readonly<Record<string, number>> = { x: 16, X: 16, o: 8, b: 2 };

function inBase(verb: string, value: unknown, wrong: () => CelEvaluationError): string {
  const base = bases[verb] ?? 10;
  const isHex = base === 16;
  let text: string | undefined;
  if (typeof value === "bigint") text = value.toString(base);
  else if (value instanceof Unsigned) text = value.value.toString(base);
  else if (verb === "b" && typeof value === "boolean") text = value ? "1" : "0";
  else if (isHex && typeof value === "string") text = Buffer.from(value).toString("hex");
  else if (isHex && value instanceof Uint8Array) text = Buffer.from(value).toString("hex");
  if (text === undefined) throw wrong();
  return verb === "X" ? text.toUpperCase() : text;
}

function shown(value: unknown, wrong: () => CelEvaluationError): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return `[${value.map((item) => inner(item, wrong)).join(", ")}]`;
  if (value instanceof Map) {
    const members = [...value].map(([key, member]) => [inner(key, wrong), inner(member, wrong)] as const);
    return `{${members
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map((pair) => pair.join(":"))
      .join(", ")}}`;
  }
  if (typeof value === "number") return plain(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("utf8");
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (
    value instanceof Unsigned ||
    value instanceof Timestamp ||
    value instanceof Duration ||
    value instanceof TypeValue
  )
    return String(value);
  throw wrong();
}

const plain = (value: number): string => {
  const text = plainDouble(value);
  return lengthOf(text) > 21 ? String(value) : text;
};

/** A member as a literal of the language. */
function inner(value: unknown, wrong: () => CelEvaluationError): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (value instanceof Uint8Array) return `b${JSON.stringify(shown(value, wrong))}`;
  if (value instanceof Timestamp) return `timestamp("${String(value)}")`;
  if (value instanceof Duration) return `duration("${String(value)}")`;
  return typeof value === "number" && Number.isFinite(value) ? value.toFixed(6) : shown(value, wrong);
}
