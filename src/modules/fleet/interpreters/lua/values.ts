import { ArgosyError } from "../../../../kernel/errors/index.js";
import type { Json } from "../../../../kernel/kinds/index.js";
import { isObject, setMember } from "../../../../kernel/schema/index.js";

/** A value of a script; `undefined` is nil. */
export type LuaValue = undefined | boolean | number | string | LuaTable | LuaFunction;
/** A function of a script or of the library. */
export type LuaFunction = (args: readonly LuaValue[]) => LuaValue[];

/** A script is wrong, or went wrong; `value` is what it was told with. */
export class LuaError extends ArgosyError {
  readonly value: LuaValue;

  constructor(message: string, value: LuaValue = message) {
    super("LuaError", message);
    this.value = value;
  }
}

/** What a script may use up; beyond that it ends, whatever it does. */
export class Budget {
  #steps: number;
  #memory: number;
  #depth: number;

  constructor(limits: { readonly steps: number; readonly memory: number; readonly depth: number }) {
    this.#steps = limits.steps;
    this.#memory = limits.memory;
    this.#depth = limits.depth;
  }

  /** Called for everything that takes time. */
  step(count = 1): void {
    this.#steps -= count;
    if (this.#steps < 0) throw new ExhaustedError("the script takes too long");
  }

  /** Called for everything that takes room, in characters or entries. */
  take(size: number): void {
    this.#memory -= size;
    if (this.#memory < 0) throw new ExhaustedError("the script takes too much memory");
  }

  /** Runs a call one level deeper. */
  deeper<T>(call: () => T): T {
    this.#depth -= 1;
    if (this.#depth < 0) throw new ExhaustedError("stack overflow");
    try {
      return call();
    } finally {
      this.#depth += 1;
    }
  }
}

/** The script used up its budget; it cannot catch this. */
export class ExhaustedError extends LuaError {}

/** A table: items from 1 on, and everything else by key. */
export class LuaTable {
  readonly items: LuaValue[] = [];
  readonly rest = new Map<LuaValue, LuaValue>();
  /** What it was in JSON; tells an empty list from an empty object. */
  readonly origin: "list" | "object" | undefined;

  constructor(origin?: "list" | "object") {
    this.origin = origin;
  }

  get(key: LuaValue): LuaValue {
    return typeof key === "number" && key >= 1 && key <= this.items.length && Number.isInteger(key)
      ? this.items[key - 1]
      : this.rest.get(key);
  }

  set(key: LuaValue, value: LuaValue): void {
    if (typeof key === "number" && Number.isInteger(key) && key >= 1 && key <= this.items.length + 1) {
      this.#setItem(key, value);
    } else if (value === undefined) this.rest.delete(key);
    else this.rest.set(key, value);
  }

  #setItem(place: number, value: LuaValue): void {
    if (place <= this.items.length) {
      this.items[place - 1] = value;
      if (value === undefined && place === this.items.length) this.#shrink();
      return;
    }
    this.rest.delete(place);
    if (value === undefined) return;
    this.items.push(value);
    // Items that came before their predecessors.
    for (let next = this.items.length + 1; this.rest.has(next); next += 1) {
      this.items.push(this.rest.get(next));
      this.rest.delete(next);
    }
  }

  #shrink(): void {
    while (this.items.length > 0 && this.items[this.items.length - 1] === undefined) this.items.pop();
  }

  get length(): number {
    return this.items.length;
  }

  /** All keys, items first. */
  keys(): LuaValue[] {
    const places = this.items.flatMap((item, index) => (item === undefined ? [] : [index + 1]));
    return [...places, ...this.rest.keys()];
  }
}

/** JSON as a script sees it; null is nil. */
export function fromJson(value: Json | undefined, budget: Budget): LuaValue {
  budget.take(1);
  if (value === null || value === undefined) return undefined;
  if (typeof value !== "object") return value;
  const table = new LuaTable(Array.isArray(value) ? "list" : "object");
  if (Array.isArray(value)) for (const [index, item] of value.entries()) table.set(index + 1, fromJson(item, budget));
  else for (const [key, item] of Object.entries(value)) table.set(key, fromJson(item, budget));
  return table;
}

const maxDepth = 100;

/** A script's value as JSON. Empty tables of the script's own are left out, as one cannot tell what they are. Throws `LuaError`. */
export function toJsonValue(value: LuaValue, budget: Budget, depth = 0): Json | undefined {
  budget.step();
  if (depth > maxDepth) throw new LuaError("the result is nested too deeply");
  if (typeof value === "function") throw new LuaError("cannot encode function to JSON");
  if (typeof value === "number" && !Number.isFinite(value))
    throw new LuaError("cannot encode a number that is not finite");
  if (!(value instanceof LuaTable)) return value;
  if (value.items.length > 0) {
    if (value.rest.size > 0) throw new LuaError("cannot encode mixed or invalid key types");
    return value.items.map((item) => toJsonValue(item, budget, depth + 1) ?? null);
  }
  if (value.rest.size === 0)
    return value.origin === "list" ? [] : value.origin === "object" || depth === 0 ? {} : undefined;
  const object: Json = {};
  for (const [key, item] of value.rest) {
    if (typeof key !== "string") throw new LuaError("cannot encode mixed or invalid key types");
    setMember(object, key, toJsonValue(item, budget, depth + 1));
  }
  return object;
}

/** As `toJsonValue`, of a table that is to be an object. */
export function toJsonTable(value: LuaValue, budget: Budget): Record<string, Json | undefined> {
  const json = value instanceof LuaTable ? toJsonValue(value, budget) : undefined;
  if (!isObject(json)) throw new LuaError(`expect the returned requires type is table but got ${typeName(value)}`);
  return json;
}

/** What `type` says of a value. */
export function typeName(value: LuaValue): string {
  if (value === undefined) return "nil";
  if (value instanceof LuaTable) return "table";
  return typeof value;
}

/** Whether a value counts as true. */
export function isTrue(value: LuaValue): boolean {
  return value !== undefined && value !== false;
}

/** What `tostring` gives. */
export function textOf(value: LuaValue): string {
  if (value === undefined) return "nil";
  if (typeof value === "number") return numberText(value);
  if (typeof value === "function") return "function: builtin";
  return value instanceof LuaTable ? "table: 0x0" : String(value);
}

function numberText(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  return Number(value.toPrecision(14)).toString();
}

/** What `tonumber` gives; a number in a text counts. */
export function numberIn(value: LuaValue, base = 10): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  if (base !== 10) {
    const digits = /^[0-9a-z]+$/i.test(text) ? Array.from(text, (digit) => Number.parseInt(digit, 36)) : [];
    if (digits.length === 0 || digits.some((digit) => digit >= base)) return undefined;
    return digits.reduce((sum, digit) => sum * base + digit, 0);
  }
  if (/^[+-]?0x[0-9a-f]+$/i.test(text))
    return text.startsWith("-") ? -Number(text.slice(1)) : Number(text.replace("+", ""));
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
}
