import type { Json } from "../../../../kernel/kinds/index.js";
import { type LibraryFunction, openLibrary } from "./library.js";
import { type Block, parseScript } from "./parser.js";
import { Machine, Scope } from "./scope.js";
import { Budget, fromJson, LuaError, type LuaValue, typeName } from "./values.js";

const LIMITS = { steps: 2_000_000, memory: 32 * 1024 * 1024, depth: 150 } as const;

/** A call of a function that a script defines. */
export interface Run {
  readonly name: string;
  readonly args: readonly (Json | undefined)[];
  /** What the script takes for the time, ms since 1970. */
  readonly nowMs: number;
  readonly modules: Readonly<Record<string, Readonly<Record<string, LibraryFunction>>>>;
}

/** A script that was read once and can be run often; each run begins anew. */
export class Script {
  readonly #body: Block;

  /** Throws `LuaError` for what is no Lua. */
  constructor(source: string) {
    this.#body = parseScript(source);
  }

  /** Runs it and then the function; `use` gets what that returned. Throws `LuaError`. */
  run<T>({ name, args, nowMs, modules }: Run, use: (values: readonly LuaValue[], budget: Budget) => T): T {
    const budget = new Budget(LIMITS);
    const machine = new Machine(budget);
    try {
      openLibrary(machine, nowMs, modules);
      this.#body(new Scope(machine));
      const called = machine.globals.get(name);
      if (called === undefined) throw new LuaError(`not found function ${name}`);
      if (typeof called !== "function") throw new LuaError(`${name} is not a function: ${typeName(called)}`);
      return use(called(args.map((arg) => fromJson(arg, budget))), budget);
    } catch (error) {
      // Deep recursion inside of one step of ours.
      if (error instanceof RangeError) throw new LuaError("stack overflow");
      throw error;
    }
  }
}
