import { CelEvaluationError } from "../errors.js";
import { declare } from "./declare.unsafe.js";
import type { Environment } from "./environment.js";
import { patternOf } from "./patterns.js";
import { lengthOf, sizeOf } from "./sizes.js";
import { declareTimes } from "./times.js";
import {
  celEquals,
  compare,
  concatenated,
  Duration,
  earliest,
  latest,
  memberOf,
  Optional,
  readDuration,
  readTime,
  shownDouble,
  shownValue,
  Timestamp,
  TypeValue,
  typeNameOf,
  Unsigned,
} from "./values.js";

const error = (message: string): CelEvaluationError => new CelEvaluationError(message);
const conversion = (value: unknown, to: string): CelEvaluationError =>
  error(`type conversion error from '${typeNameOf(value)}' to '${to}'`);

const least = -(2n ** 63n);
const most = 2n ** 63n - 1n;

function int(value: bigint): bigint {
  if (value < least || value > most) throw error("integer overflow");
  return value;
}

function uint(value: bigint): Unsigned {
  if (value < 0n || value >= 2n ** 64n) throw error("unsigned integer overflow");
  return new Unsigned(value);
}

function duration(nanos: bigint): Duration {
  if (nanos < least || nanos > most) throw error("integer overflow");
  return new Duration(nanos);
}

function moment(nanos: bigint, offset: number): Timestamp {
  const made = new Timestamp(nanos, offset);
  if (made.seconds < earliest || made.seconds > latest) throw error("timestamp overflow");
  return made;
}

type Arithmetic = (a: bigint, b: bigint) => bigint;

function divided(b: bigint, work: () => bigint, message: string): bigint {
  if (b === 0n) throw error(message);
  return work();
}

const whole: Readonly<Record<string, Arithmetic>> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => divided(b, () => a / b, "division by zero"),
  "%": (a, b) => divided(b, () => a % b, "modulus by zero"),
};

const real: Readonly<Record<string, (a: number, b: number) => number>> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
};

function declareArithmetic(environment: Environment): void {
  const define = definer(environment);
  const [time, span] = ["google.protobuf.Timestamp", "google.protobuf.Duration"];
  define("_+_(bytes, bytes): bytes", (a: Uint8Array, b: Uint8Array) => Buffer.concat([a, b]));
  for (const [sign, work] of Object.entries(real)) define(`_${sign}_(double, double): double`, work);
  define(`_+_(${span}, ${span}): ${span}`, (a: Duration, b: Duration) => duration(a.nanos + b.nanos));
  define(`_+_(${span}, ${time}): ${time}`, (a: Duration, b: Timestamp) => moment(b.nanos + a.nanos, b.offsetMinutes));
  define(`_+_(${time}, ${span}): ${time}`, (a: Timestamp, b: Duration) => moment(a.nanos + b.nanos, a.offsetMinutes));
  define(`_-_(${span}, ${span}): ${span}`, (a: Duration, b: Duration) => duration(a.nanos - b.nanos));
  for (const [sign, work] of Object.entries(whole))
    define(`_${sign}_(int, int): int`, (a: bigint, b: bigint) => int(work(a, b)));
  define("_+_(list<A>, list<A>): list<A>", concatenated);
  define("_+_(string, string): string", (a: string, b: string) => a + b);
  define(`_-_(${time}, ${span}): ${time}`, (a: Timestamp, b: Duration) => moment(a.nanos - b.nanos, a.offsetMinutes));
  define(`_-_(${time}, ${time}): ${span}`, (a: Timestamp, b: Timestamp) => duration(a.nanos - b.nanos));
  for (const [sign, work] of Object.entries(whole))
    define(`_${sign}_(uint, uint): uint`, (a: Unsigned, b: Unsigned) => uint(work(a.value, b.value)));
  define("-_(double): double", (a: number) => -a);
  define("-_(int): int", (a: bigint) => int(-a));
  define("!_(bool): bool", (a: boolean) => !a);
}

const orders: Readonly<Record<string, (order: number) => boolean>> = {
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
};
const numbers = ["int", "uint", "double"];

function declareComparisons(environment: Environment): void {
  for (const [sign, holds] of Object.entries(orders)) {
    const define = (a: string, b: string): void =>
      environment.declareFunction(`_${sign}_(${a}, ${b}): bool`, (x, y) => holds(compare(x, y)));
    define("bool", "bool");
    for (const a of numbers) for (const b of [a, ...numbers.filter((one) => one !== a)]) define(a, b);
    for (const same of ["string", "bytes", "google.protobuf.Timestamp", "google.protobuf.Duration"]) define(same, same);
  }
  const special = (): never => {
    throw error("no such overload");
  };
  for (const signature of [
    "_?_:_(bool, A, A): A",
    "_&&_(bool, bool): bool",
    "_||_(bool, bool): bool",
    "@not_strictly_false(bool): bool",
    "_==_(A, A): bool",
    "_!=_(A, A): bool",
    "_[_](list<A>, int): A",
    "_[_](map<A, B>, A): B",
    "_[_](optional<list<V>>, int): optional<V>",
    "_[_](optional<map<K, V>>, K): optional<V>",
    "_[?_](list<V>, int): optional<V>",
    "_[?_](optional<list<V>>, int): optional<V>",
    "_[?_](map<K, V>, K): optional<V>",
    "_[?_](optional<map<K, V>>, K): optional<V>",
  ])
    environment.declareFunction(signature, special);
  environment.declareFunction("@in(A, list<A>): bool", (item, list) => contains(item, list));
  environment.declareFunction("@in(A, map<A, B>): bool", (item, map) => contains(item, map));
}

function contains(item: unknown, holder: unknown): boolean {
  if (Array.isArray(holder)) return holder.some((one) => celEquals(one, item));
  return holder instanceof Map && memberOf(holder, item) !== undefined;
}

const bools: Readonly<Record<string, boolean>> = {
  ...Object.fromEntries(["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true])),
  ...Object.fromEntries(["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false])),
};

function readWhole(text: string, to: "int" | "uint"): bigint {
  if (!(to === "int" ? /^[+-]?\d+$/ : /^\d+$/).test(text)) throw conversion(text, to);
  const value = BigInt(text.replace(/^\+/, ""));
  if (to === "int" ? value < least || value > most : value >= 2n ** 64n) throw conversion(text, to);
  return value;
}

function readDouble(text: string): number {
  const special = /^([+-]?)(?:inf|infinity|nan)$/i.exec(text);
  if (special !== null)
    return /nan$/i.test(text) ? Number.NaN : special[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  const value = /^[+-]?(?:\d[\d]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(value)) throw conversion(text, "double");
  return value;
}

function truncated(value: number, isSigned: boolean): bigint {
  if (!Number.isFinite(value) || (isSigned ? value <= -(2 ** 63) || value >= 2 ** 63 : value < 0 || value >= 2 ** 64))
    throw error(isSigned ? "integer overflow" : "unsigned integer overflow");
  return BigInt(Math.trunc(value));
}

function declareConversions(environment: Environment): void {
  const define = definer(environment);
  const same = (value: unknown): unknown => value;
  const [time, span] = ["google.protobuf.Timestamp", "google.protobuf.Duration"];
  define("type(A): type<A>", (value: unknown) => new TypeValue(typeNameOf(value)));
  define("bool(bool): bool", same);
  define("bool(string): bool", (text: string) => {
    if (!Object.hasOwn(bools, text)) throw conversion(text, "bool");
    return bools[text];
  });
  define("bytes(bytes): bytes", same);
  define("bytes(string): bytes", (text: string) => Buffer.from(text));
  define("double(double): double", same);
  define("double(int): double", Number);
  define("double(string): double", readDouble);
  define("double(uint): double", (value: Unsigned) => Number(value.value));
  define(`duration(${span}): ${span}`, same);
  define(`duration(int): ${span}`, duration);
  define(`duration(string): ${span}`, (text: string) => {
    const read = readDuration(text);
    if (read === undefined) throw conversion(text, span);
    return read;
  });
  define("dyn(A): dyn", same);
  define("int(int): int", same);
  define("int(double): int", (value: number) => truncated(value, true));
  define(`int(${span}): int`, (value: Duration) => value.nanos);
  define("int(string): int", (text: string) => readWhole(text, "int"));
  define(`int(${time}): int`, (value: Timestamp) => value.seconds);
  define("int(uint): int", ({ value }: Unsigned) => int(value));
  declareTexts(define);
  define(`timestamp(${time}): ${time}`, same);
  define(`timestamp(int): ${time}`, (value: bigint) => moment(value * 1_000_000_000n, 0));
  define(`timestamp(string): ${time}`, (text: string) => {
    const read = readTime(text);
    if (read === undefined) throw conversion(text, time);
    return moment(read.nanos, read.offsetMinutes);
  });
  define("uint(uint): uint", same);
  define("uint(double): uint", (value: number) => new Unsigned(truncated(value, false)));
  define("uint(int): uint", uint);
  define("uint(string): uint", (text: string) => new Unsigned(readWhole(text, "uint")));
}

type Define = <A extends readonly unknown[]>(signature: string, run: (...values: A) => unknown) => void;

const definer =
  (environment: Environment): Define =>
  (signature, run) =>
    declare(environment, signature, run);

function declareTexts(define: Define): void {
  define("string(string): string", (text: string) => text);
  define("string(bool): string", String);
  define("string(bytes): string", (bytes: Uint8Array) => {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw error("invalid UTF-8 in bytes, cannot convert to string");
    }
  });
  define("string(double): string", shownDouble);
  define("string(google.protobuf.Duration): string", String);
  define("string(int): string", String);
  define("string(google.protobuf.Timestamp): string", String);
  define("string(uint): string", String);
  define("string.contains(string): bool", (text: string, part: string) => text.includes(part));
  define("string.endsWith(string): bool", (text: string, part: string) => text.endsWith(part));
  define("string.startsWith(string): bool", (text: string, part: string) => text.startsWith(part));
  const matches = (text: string, pattern: string): boolean => patternOf(pattern).test(text);
  define("matches(string, string): bool", matches);
  define("string.matches(string): bool", matches);
}

function declareCollections(environment: Environment): void {
  const define = definer(environment);
  for (const type of ["bytes", "list<A>", "map<A, B>", "string"]) {
    const size = (value: unknown): bigint => BigInt(typeof value === "string" ? lengthOf(value) : sizeOf(value));
    define(`size(${type}): int`, size);
    define(`${type}.size(): int`, size);
  }
  const insert = (map: ReadonlyMap<unknown, unknown>, key: unknown, value: unknown): Map<unknown, unknown> => {
    if (memberOf(map, key) !== undefined) throw error(`insert failed: key ${shownValue(key)} already exists`);
    return new Map(map).set(key, value);
  };
  define("cel.@mapInsert(map<K, V>, K, V): map<K, V>", insert);
  define(
    "cel.@mapInsert(map<K, V>, map<K, V>): map<K, V>",
    (map: Map<unknown, unknown>, more: Map<unknown, unknown>) => {
      let so = map;
      for (const [key, value] of more) so = insert(so, key, value);
      return so;
    },
  );
}

const isZero = (value: unknown): boolean => {
  if (value instanceof Map || Array.isArray(value) || typeof value === "string" || value instanceof Uint8Array)
    return sizeOf(value) === 0;
  if (value instanceof Unsigned) return value.value === 0n;
  if (value instanceof Duration) return value.nanos === 0n;
  if (value instanceof Optional) return !value.hasValue;
  return value === null || value === false || value === 0n || value === 0;
};

function declareOptionals(environment: Environment): void {
  const define = definer(environment);
  define("optional.of(V): optional<V>", (value: unknown) => new Optional(value));
  define("optional.ofNonZeroValue(V): optional<V>", (value: unknown) =>
    isZero(value) ? Optional.none : new Optional(value),
  );
  define("optional.none(): optional<V>", () => Optional.none);
  define("optional<V>.value(): V", (value: Optional) => value.value);
  define("optional<V>.hasValue(): bool", (value: Optional) => value.hasValue);
  define("optional<V>.or(optional<V>): optional<V>", (a: Optional, b: Optional) => (a.hasValue ? a : b));
  define("optional<V>.orValue(V): V", (a: Optional, b: unknown) => (a.hasValue ? a.value : b));
  const unwrap = (list: readonly unknown[]): unknown[] =>
    list.flatMap((item) => (item instanceof Optional && item.hasValue ? [item.value] : []));
  define("list<V>.last(): optional<V>", (list: readonly unknown[]) =>
    list.length === 0 ? Optional.none : new Optional(list.at(-1)),
  );
  define("list<V>.first(): optional<V>", (list: readonly unknown[]) =>
    list.length === 0 ? Optional.none : new Optional(list[0]),
  );
  define("optional.unwrap(list<optional<V>>): list<V>", unwrap);
  define("list<optional<V>>.unwrapOpt(): list<V>", unwrap);
}

/** The language's own operators and functions, and those of optional values. */
export function declareStandard(environment: Environment): void {
  declareArithmetic(environment);
  declareComparisons(environment);
  declareCollections(environment);
  declareConversions(environment);
  declareTimes(environment);
  declareOptionals(environment);
}
