import { LuaError, LuaTable, type LuaValue, numberIn, textOf, typeName } from "./values.js";

/** Reads the arguments of one function of the library; says which is wrong. */
export class Arguments {
  readonly values: readonly LuaValue[];
  readonly #name: string;

  constructor(name: string, values: readonly LuaValue[]) {
    this.#name = name;
    this.values = values;
  }

  #fault(place: number, wanted: string): LuaError {
    return new LuaError(
      `bad argument #${place + 1} to ${this.#name} (${wanted} expected, got ${typeName(this.values[place])})`,
    );
  }

  table(place: number): LuaTable {
    const value = this.values[place];
    if (!(value instanceof LuaTable)) throw this.#fault(place, "table");
    return value;
  }

  text(place: number): string {
    const value = this.values[place];
    if (typeof value !== "string" && typeof value !== "number") throw this.#fault(place, "string");
    return textOf(value);
  }

  number(place: number, usual?: number): number {
    const value = this.values[place];
    if (value === undefined && usual !== undefined) return usual;
    const number = numberIn(value);
    if (number === undefined) throw this.#fault(place, "number");
    return number;
  }

  has(place: number): boolean {
    return this.values[place] !== undefined;
  }
}
