import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { equalJson } from "../../../../kernel/schema/index.js";
import { CelEvaluationError } from "../errors.js";
import type { Type } from "./types.js";

/*
 * Values as expressions have them: `null`, booleans, `bigint` (int), `number` (double), texts, `Uint8Array`, arrays, `Map`s, and the
 * classes of this file.
 */

/** An unsigned number. */
export class Unsigned {
  readonly value: bigint;

  constructor(value: bigint) {
    this.value = value;
  }

  toString(): string {
    return `${this.value}`;
  }
}

const nano = 1_000_000_000n;

/** The first and the last second that there are, since 1970. */
export const earliest = -62_135_596_800n;
export const latest = 253_402_300_799n;

/** A moment; remembers the zone that it was told in. */
export class Timestamp {
  /** Since 1970. */
  readonly nanos: bigint;
  readonly offsetMinutes: number;

  constructor(nanos: bigint, offsetMinutes = 0) {
    this.nanos = nanos;
    this.offsetMinutes = offsetMinutes;
  }

  /** Seconds since 1970, rounded down. */
  get seconds(): bigint {
    return floored(this.nanos, nano);
  }

  /** A date whose UTC fields are those of a zone so many minutes east of UTC. */
  dateIn(offsetMinutes: number): Date {
    return new Date(Number(this.seconds) * 1000 + offsetMinutes * 60_000);
  }

  /** The part of a second. */
  get fraction(): bigint {
    return this.nanos - this.seconds * nano;
  }

  /** As RFC 3339, with as much of the second as there is. */
  toString(): string {
    const text = this.dateIn(this.offsetMinutes).toISOString().slice(0, 19);
    const fraction = this.fraction === 0n ? "" : `.${`${this.fraction}`.padStart(9, "0").replace(/0+$/, "")}`;
    const size = Math.abs(this.offsetMinutes);
    const two = (value: number): string => `${value}`.padStart(2, "0");
    const zone =
      size === 0 ? "Z" : `${this.offsetMinutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
    return `${text}${fraction}${zone}`;
  }
}

const floored = (value: bigint, by: bigint): bigint => (value - (((value % by) + by) % by)) / by;

/** A span of time. */
export class Duration {
  readonly nanos: bigint;

  constructor(nanos: bigint) {
    this.nanos = nanos;
  }

  /** In seconds. */
  toString(): string {
    return `${plainDouble(Number(this.nanos / nano) + Number(this.nanos % nano) / 1e9)}s`;
  }
}

/** A value that may be missing. */
export class Optional {
  static readonly none = new Optional(undefined);
  readonly #value: unknown;

  constructor(value: unknown) {
    this.#value = value;
  }

  get hasValue(): boolean {
    return this.#value !== undefined;
  }

  get value(): unknown {
    if (this.#value === undefined) throw new CelEvaluationError("optional.none() dereference");
    return this.#value;
  }
}

/** A type as a value. */
export class TypeValue {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  toString(): string {
    return this.name;
  }
}

/** A value of a library's own type. */
export abstract class Opaque {
  abstract readonly typeName: string;
  abstract isEqual(other: Opaque): boolean;
}

/** How a field of an object is read. */
export interface FieldReader {
  /** The name in the JSON. */
  readonly property: string;
  convert(value: Json): unknown;
}

/** An object with declared fields; they are converted when they are read. */
export class ObjectValue {
  readonly typeName: string;
  readonly raw: JsonObject;
  readonly #fields: ReadonlyMap<string, FieldReader>;

  constructor(typeName: string, raw: JsonObject, fields: ReadonlyMap<string, FieldReader>) {
    this.typeName = typeName;
    this.raw = raw;
    this.#fields = fields;
  }

  /** `undefined`: not there. Null counts as absent. */
  get(name: string): unknown {
    const field = this.#fields.get(name);
    const value = field !== undefined && Object.hasOwn(this.raw, field.property) ? this.raw[field.property] : undefined;
    return field === undefined || value === undefined || value === null ? undefined : field.convert(value);
  }

  get names(): string[] {
    const byProperty = new Map<string, string>();
    for (const [name, { property }] of this.#fields)
      if (!byProperty.has(property) && this.get(name) !== undefined) byProperty.set(property, name);
    return [...byProperty.values()];
  }

  isEqual(other: ObjectValue): boolean {
    const [mine, others] = [Object.keys(this.raw), Object.keys(other.raw)];
    if (mine.length !== others.length) return false;
    const declared = new Set([...this.#fields.values()].map(({ property }) => property));
    for (const [name] of this.#fields) {
      const [a, b] = [this.get(name), other.get(name)];
      if ((a === undefined) !== (b === undefined) || (a !== undefined && !celEquals(a, b))) return false;
    }
    return mine.every(
      (key) => declared.has(key) || other.raw[key] === undefined || equalJson(this.raw[key] ?? null, other.raw[key]),
    );
  }
}

/** Variables that are computed when they are read. */
export class LazyObject {
  readonly #read: (name: string) => unknown;

  constructor(read: (name: string) => unknown) {
    this.#read = read;
  }

  get(name: string): unknown {
    return this.#read(name);
  }
}

const keysOfLists = new WeakMap<readonly unknown[], (item: unknown) => string>();

/** Makes a list one in which order means nothing: its items are told apart by `keyOf`. */
export function keyedList(items: readonly unknown[], keyOf: (item: unknown) => string): readonly unknown[] {
  keysOfLists.set(items, keyOf);
  return items;
}

/** Two lists one after the other; in a keyed list, what comes with a known key takes the place of what was there. */
export function concatenated(a: readonly unknown[], b: readonly unknown[]): readonly unknown[] {
  const keyOf = keysOfLists.get(a);
  if (keyOf === undefined) return [...a, ...b];
  const joined = new Map(a.map((item) => [keyOf(item), item]));
  for (const item of b) joined.set(keyOf(item), item);
  return keyedList([...joined.values()], keyOf);
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

/** The name of a value's type. */
export function typeNameOf(value: unknown): string {
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "bigint":
      return "int";
    case "number":
      return "double";
    case "string":
      return "string";
    default:
      return value === null ? "null_type" : typeNameOfObject(value);
  }
}

function typeNameOfObject(value: unknown): string {
  if (Array.isArray(value)) return "list";
  if (value instanceof Map || value instanceof ObjectValue) return "map";
  if (value instanceof Unsigned) return "uint";
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof Timestamp) return "google.protobuf.Timestamp";
  if (value instanceof Duration) return "google.protobuf.Duration";
  if (value instanceof Optional) return "optional_type";
  if (value instanceof TypeValue) return "type";
  return value instanceof Opaque ? value.typeName : "dyn";
}

/** Whether a value fits a type, as far as functions look: of lists and maps the first member counts. */
export function fits(type: Type, value: unknown): boolean {
  if (type.kind === "dyn" || type.kind === "parameter") return true;
  const [first, second] = type.parameters;
  if (type.kind === "struct" && value instanceof ObjectValue) return value.typeName === type.name;
  if (typeNameOf(value) !== type.name) return false;
  if (type.kind === "list" && Array.isArray(value))
    return value.length === 0 || first === undefined || fits(first, value[0]);
  if (type.kind !== "map" || !(value instanceof Map)) return true;
  for (const [key, member] of value)
    return (first === undefined || fits(first, key)) && (second === undefined || fits(second, member));
  return true;
}

const numberOf = (value: unknown): bigint | number | undefined => {
  if (typeof value === "bigint" || typeof value === "number") return value;
  return value instanceof Unsigned ? value.value : undefined;
};

/** Equality of the language. */
export function celEquals(a: unknown, b: unknown): boolean {
  const [x, y] = [numberOf(a), numberOf(b)];
  // Numbers of different types are compared by their value.
  if (x !== undefined && y !== undefined)
    return typeof x === typeof y ? x === y : Number(x) === Number(y) && !(x < y || x > y);
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return equalLists(a, b);
  if (a instanceof Map || a instanceof ObjectValue) return equalMaps(a, b);
  if (a instanceof Timestamp && b instanceof Timestamp) return a.nanos === b.nanos;
  if (a instanceof Duration && b instanceof Duration) return a.nanos === b.nanos;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (a instanceof TypeValue && b instanceof TypeValue) return a.name === b.name;
  if (a instanceof Optional && b instanceof Optional)
    return a.hasValue === b.hasValue && (!a.hasValue || celEquals(a.value, b.value));
  return a instanceof Opaque && b instanceof Opaque && a.typeName === b.typeName && a.isEqual(b);
}

function equalLists(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  const keyOf = keysOfLists.get(a);
  if (keyOf === undefined) return a.every((item, index) => celEquals(item, b[index]));
  const known = new Map(a.map((item) => [keyOf(item), item]));
  return b.every((item) => known.has(keyOf(item)) && celEquals(known.get(keyOf(item)), item));
}

function equalMaps(a: ReadonlyMap<unknown, unknown> | ObjectValue, b: unknown): boolean {
  if (a instanceof ObjectValue) return b instanceof ObjectValue && a.isEqual(b);
  if (!(b instanceof Map) || a.size !== b.size) return false;
  for (const [key, value] of a) {
    const other = memberOf(b, key);
    if (other === undefined || !celEquals(value, other)) return false;
  }
  return true;
}

/** A member of a map; `undefined`: there is none. Numbers of all types are keys alike. */
export function memberOf(map: ReadonlyMap<unknown, unknown>, key: unknown): unknown {
  const direct = map.get(key);
  if (direct !== undefined || numberOf(key) === undefined) return direct;
  for (const [one, value] of map) if (celEquals(one, key)) return value;
  return undefined;
}

const noOverload = (): CelEvaluationError => new CelEvaluationError("no such overload");

/** Below, at or above zero. Throws for values that have no order. */
export function compare(a: unknown, b: unknown): number {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) {
    if (Number.isNaN(x) || Number.isNaN(y)) throw new CelEvaluationError("NaN values cannot be ordered");
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (typeof a === "string" && typeof b === "string") return Buffer.compare(Buffer.from(a), Buffer.from(b));
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b);
  if ((a instanceof Timestamp && b instanceof Timestamp) || (a instanceof Duration && b instanceof Duration))
    return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;
  throw noOverload();
}

const units: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1000n,
  µs: 1000n,
  μs: 1000n,
  ms: 1_000_000n,
  s: nano,
  m: 60n * nano,
  h: 3600n * nano,
};

/** A duration from its text (`1h30m`); `undefined`: it is none. */
export function readDuration(text: string): Duration | undefined {
  const [, sign = "", rest = ""] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  if (rest === "0") return new Duration(0n);
  if (!/^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(rest)) return undefined;
  let nanos = 0n;
  for (const [, whole = "", fraction = "", unit = ""] of rest.matchAll(/(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/g)) {
    const size = units[unit] ?? 0n;
    nanos += BigInt(whole === "" ? "0" : whole) * size;
    if (fraction !== "") nanos += (BigInt(fraction) * size) / 10n ** BigInt(fraction.length);
  }
  if (nanos >= 2n ** 63n) return undefined;
  return new Duration(sign === "-" ? -nanos : nanos);
}

const timePattern = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))$/;

/** A moment from RFC 3339; `undefined`: it is none. */
export function readTime(text: string): Timestamp | undefined {
  const match = timePattern.exec(text);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const [, , , , , , , fraction = "", sign, zoneHours = "0", zoneMinutes = "0"] = match;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59)
    return undefined;
  if (Number(zoneHours) > 24 || Number(zoneMinutes) > 59) return undefined;
  const offset = (Number(zoneHours) * 60 + Number(zoneMinutes)) * (sign === "-" ? -1 : 1);
  const seconds = BigInt(date.getTime() / 1000 + hour * 3600 + minute * 60 + second - offset * 60);
  return new Timestamp(seconds * nano + BigInt(fraction.slice(0, 9).padEnd(9, "0")), offset);
}

/** A double as Go prints it where nothing else is said (`%g`). */
export function shownDouble(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value < 0 ? "-Inf" : "+Inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [digits = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  const size = Math.abs(power);
  if (power < -4 || power >= 6) return `${digits}e${power < 0 ? "-" : "+"}${size < 10 ? "0" : ""}${size}`;
  return plainDouble(value);
}

/** A double without an exponent. */
export function plainDouble(value: number): string {
  const [digits = "", exponent = "0"] = Math.abs(value).toExponential().split("e");
  const power = Number(exponent);
  const plain = digits.replace(".", "");
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  if (power < 0) return `${sign}0.${"0".repeat(-power - 1)}${plain}`;
  const whole = plain.slice(0, power + 1).padEnd(power + 1, "0");
  const rest = plain.slice(power + 1);
  return `${sign}${whole}${rest === "" ? "" : `.${rest}`}`;
}

/** A value within a message of a fault. */
export function shownValue(value: unknown): string {
  if (typeof value === "number") return shownDouble(value);
  return typeof value === "string" || typeof value === "bigint" || typeof value === "boolean"
    ? `${value}`
    : typeNameOf(value);
}
