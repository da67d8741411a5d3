import type { Json } from "../../kernel/kinds/object.js";
import { asObject, parseJson } from "../../kernel/schema/index.js";
import { invalid, missing, wrongType } from "./errors.js";

/**
 * The parameters of one call, from a JSON body or a query string, read by name and type. Names may come in snake_case or
 * camelCase; `null` means absent; unknown ones are left alone. Every reader throws `TrackingError` naming the parameter.
 */
export class Params {
  readonly #values: Readonly<Record<string, Json | undefined>>;
  /** Put before names in messages: `metrics[3].`. */
  readonly #prefix: string;
  readonly #inQuery: boolean;

  constructor(values: Readonly<Record<string, Json | undefined>>, { prefix = "", inQuery = false } = {}) {
    this.#values = values;
    this.#prefix = prefix;
    this.#inQuery = inQuery;
  }

  /** The value as it came; `undefined` where absent. */
  raw(name: string): Json | undefined {
    const camel = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const value = Object.hasOwn(this.#values, name)
      ? this.#values[name]
      : Object.hasOwn(this.#values, camel)
        ? this.#values[camel]
        : undefined;
    return value ?? undefined;
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  /** Text that must be there and not be empty. */
  requiredText(name: string): string {
    const value = this.raw(name);
    if (value === undefined || value === "") throw missing(this.#prefix + name);
    return this.#text(name, value);
  }

  /** Text; `undefined` where absent. */
  text(name: string): string | undefined {
    const value = this.raw(name);
    return value === undefined ? undefined : this.#text(name, value);
  }

  /** Text of a nested field, where a number or truth value is taken by its JSON. */
  looseText(name: string): string {
    const value = this.raw(name);
    if (value === undefined) return "";
    if (typeof value === "number" || typeof value === "boolean") return String(value);
    return this.#text(name, value);
  }

  /** A whole number, also as text; a fraction is cut off. */
  integer(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined || value === "") return undefined;
    if (typeof value === "number") return Math.trunc(value);
    if (typeof value === "string" && /^\s*[+-]?\d+\s*$/.test(value)) return Number(value);
    throw wrongType(this.#prefix + name, value);
  }

  requiredInteger(name: string): number {
    const value = this.integer(name);
    if (value === undefined) throw missing(this.#prefix + name);
    return value;
  }

  /** A number that must be there; also as text, `NaN` and `±Infinity` too. Truth values count as 1 and 0. */
  requiredNumber(name: string): number {
    const value = this.raw(name);
    if (value === undefined) throw missing(this.#prefix + name);
    if (typeof value === "number") return value;
    if (typeof value === "boolean") return value ? 1 : 0;
    const number = typeof value === "string" ? parseDouble(value) : undefined;
    if (number === undefined) throw wrongType(this.#prefix + name, value);
    return number;
  }

  /** True or false; in a query string as `true` and `false`. */
  boolean(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === "boolean") return value;
    if (!this.#inQuery || typeof value !== "string") throw wrongType(this.#prefix + name, value);
    if (value !== "true" && value !== "false")
      throw invalid(`Invalid boolean value: ${value}, must be 'true' or 'false'.`);
    return value === "true";
  }

  /** One of `names`, by name or by number (`numbers[name]`); unknown names count as absent, as protobuf readers do. */
  choice<T extends string>(name: string, names: Readonly<Record<T, number>>): T | undefined {
    const value = this.raw(name);
    for (const known of keysOf(names)) {
      if (value === known || value === names[known] || value === String(names[known])) return known;
    }
    if (typeof value === "number") throw wrongType(this.#prefix + name, value);
    return undefined;
  }

  /** A list of objects, each with readers of its own; what is no object reads as an empty one. */
  objects(name: string): Params[] {
    return this.#list(name).map(
      (item, index) => new Params(asObject(item), { prefix: `${this.#prefix}${name}[${index}].` }),
    );
  }

  /** A list of texts; query strings repeat the key, so there one text is a list of it. */
  texts(name: string): string[] {
    const value = this.raw(name);
    const list = typeof value === "string" && this.#inQuery ? [value] : this.#list(name);
    return list.map((item) => this.#text(name, item));
  }

  /** A nested object; empty where absent. */
  object(name: string): Params {
    const value = this.raw(name);
    return new Params(asObject(value ?? {}), { prefix: `${this.#prefix}${name}.` });
  }

  #text(name: string, value: Json): string {
    if (typeof value !== "string") throw wrongType(this.#prefix + name, value);
    return value;
  }

  #list(name: string): Json[] {
    const value = this.raw(name) ?? [];
    if (!Array.isArray(value)) throw wrongType(this.#prefix + name, value);
    return value;
  }
}

function keysOf<T extends string>(record: Readonly<Record<T, number>>): T[] {
  const keys: T[] = [];
  for (const key in record) keys.push(key);
  return keys;
}

function parseDouble(text: string): number | undefined {
  const special: Readonly<Record<string, number>> = { NaN: Number.NaN, Infinity: Infinity, "-Infinity": -Infinity };
  const known = special[text.trim()];
  if (known !== undefined) return known;
  const number = text.trim() === "" ? Number.NaN : Number(text);
  return Number.isNaN(number) ? undefined : number;
}

/** A JSON body as parameters. A body that is no JSON counts as empty, one that is a JSON text is read once more. */
export function paramsOfBody(text: string): Params {
  let value = parseTolerantly(text);
  if (typeof value === "string") value = parseTolerantly(value);
  if (value === undefined || value === null) return new Params({});
  if (typeof value !== "object" || Array.isArray(value)) throw invalid("The request body must be a JSON object.");
  return new Params(value);
}

/** A query string as parameters; a key that is repeated is a list. */
export function paramsOfQuery(query: URLSearchParams): Params {
  const values: Record<string, Json> = Object.create(null);
  for (const key of new Set(query.keys())) {
    const all = query.getAll(key);
    const [first] = all;
    if (first !== undefined) values[key] = all.length === 1 ? first : all;
  }
  return new Params(values, { inQuery: true });
}

/** JSON, with NaN and ±Infinity as some clients write them; these become texts, which readers of numbers know. */
function parseTolerantly(text: string): Json | undefined {
  return (
    parseJson(text) ??
    parseJson(text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (m) => (m.startsWith('"') ? m : `"${m}"`)))
  );
}
