import { type Budget, LuaError, LuaTable, type LuaValue, typeName } from "./values.js";

/** The names that a block of a script sees. */
export class Scope {
  readonly #names = new Map<string, { value: LuaValue }>();
  readonly #outer: Scope | undefined;
  readonly machine: Machine;
  /** What `...` stands for here. */
  readonly varargs: readonly LuaValue[];

  constructor(machine: Machine, outer?: Scope, varargs?: readonly LuaValue[]) {
    this.machine = machine;
    this.#outer = outer;
    this.varargs = varargs ?? outer?.varargs ?? [];
  }

  declare(name: string, value: LuaValue): void {
    this.machine.budget.take(1);
    this.#names.set(name, { value });
  }

  #find(name: string): { value: LuaValue } | undefined {
    let found = this.#names.get(name);
    for (let outer = this.#outer; found === undefined && outer !== undefined; outer = outer.#outer)
      found = outer.#names.get(name);
    return found;
  }

  get(name: string): LuaValue {
    const found = this.#find(name);
    return found === undefined ? this.machine.globals.get(name) : found.value;
  }

  set(name: string, value: LuaValue): void {
    const found = this.#find(name);
    if (found !== undefined) found.value = value;
    else this.machine.globals.set(name, value);
  }
}

/** What runs a script: its global names and what it may still use up. */
export class Machine {
  readonly globals = new LuaTable();
  readonly budget: Budget;

  constructor(budget: Budget) {
    this.budget = budget;
  }

  /** Calls a value of the script. */
  call(callee: LuaValue, args: readonly LuaValue[], line: number): LuaValue[] {
    this.budget.step();
    if (typeof callee !== "function") throw faultAt(line, `attempt to call a non-function object`);
    return this.budget.deeper(() => callee(args));
  }

  index(object: LuaValue, key: LuaValue, line: number): LuaValue {
    this.budget.step();
    if (object instanceof LuaTable) return object.get(key);
    // Texts have the functions of the library as methods.
    const strings = typeof object === "string" ? this.globals.get("string") : undefined;
    if (strings instanceof LuaTable) return strings.get(key);
    throw faultAt(
      line,
      `attempt to index a non-table object(${typeName(object)})${typeof key === "string" ? ` with key '${key}'` : ""}`,
    );
  }

  setIndex(
    object: LuaValue,
    key: LuaValue,
    { value, line }: { readonly value: LuaValue; readonly line: number },
  ): void {
    this.budget.step();
    this.budget.take(1);
    if (!(object instanceof LuaTable)) throw faultAt(line, `attempt to index a non-table object(${typeName(object)})`);
    if (key === undefined || Number.isNaN(key))
      throw faultAt(line, `table index is ${key === undefined ? "nil" : "NaN"}`);
    object.set(key, value);
  }
}

/** Something that went wrong in a line of the script. */
export function faultAt(line: number, message: string): LuaError {
  return new LuaError(`<string>:${line}: ${message}`);
}
