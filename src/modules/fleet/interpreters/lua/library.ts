import { Arguments } from "./arguments.js";
import type { Machine } from "./scope.js";
import { STRING_LIBRARY } from "./strings.js";
import {
  ExhaustedError,
  isTrue,
  LuaError,
  type LuaFunction,
  LuaTable,
  type LuaValue,
  numberIn,
  textOf,
  typeName,
} from "./values.js";

type Work = (args: Arguments, machine: Machine) => LuaValue[];
type Library = Readonly<Record<string, Work>>;

/** Functions that reach around the sandbox, or that nobody needs to read an object. */
const FORBIDDEN =
  "collectgarbage dofile getfenv getmetatable load loadfile loadstring rawequal rawget rawset setfenv setmetatable module newproxy".split(
    " ",
  );

const ipairs: Work = (args, machine) => {
  const table = args.table(0);
  const iterate: LuaFunction = ([, at]) => {
    machine.budget.step();
    const place = (typeof at === "number" ? at : 0) + 1;
    const value = table.get(place);
    return value === undefined ? [undefined] : [place, value];
  };
  return [iterate, table, 0];
};

const pairs: Work = (args, machine) => {
  const table = args.table(0);
  const keys = table.keys();
  machine.budget.step(keys.length);
  let at = 0;
  const iterate: LuaFunction = () => {
    for (; at < keys.length; ) {
      const key = keys[at];
      at += 1;
      const value = table.get(key);
      // It may have been taken away meanwhile.
      if (value !== undefined) return [key, value];
    }
    return [undefined];
  };
  return [iterate, table, undefined];
};

const next: Work = (args, machine) => {
  const table = args.table(0);
  const keys = table.keys();
  machine.budget.step(keys.length);
  const key = keys[args.has(1) ? keys.indexOf(args.values[1]) + 1 : 0];
  return key === undefined ? [undefined] : [key, table.get(key)];
};

const protectedCall: Work = (args, machine) => {
  try {
    return [true, ...machine.call(args.values[0], args.values.slice(1), 0)];
  } catch (error) {
    if (!(error instanceof LuaError) || error instanceof ExhaustedError) throw error;
    return [false, error.value];
  }
};

const BASE: Library = {
  ipairs,
  pairs,
  next,
  pcall: protectedCall,
  assert: (args) => {
    if (!isTrue(args.values[0]))
      throw new LuaError(args.has(1) ? textOf(args.values[1]) : "assertion failed!", args.values[1]);
    return [...args.values];
  },
  error: (args) => {
    throw new LuaError(textOf(args.values[0]), args.values[0]);
  },
  print: () => [],
  select: (args) => {
    if (args.values[0] === "#") return [args.values.length - 1];
    const from = args.number(0);
    return from < 0 ? args.values.slice(1).slice(from) : args.values.slice(from);
  },
  tonumber: (args) => [numberIn(args.values[0], args.number(1, 10))],
  tostring: (args) => [textOf(args.values[0])],
  type: (args) => [typeName(args.values[0])],
  unpack: (args, machine) => {
    const table = args.table(0);
    const [from, to] = [args.number(1, 1), args.number(2, table.length)];
    machine.budget.take(Math.max(to - from, 0));
    return Array.from({ length: Math.max(to - from + 1, 0) }, (_item, index) => table.get(from + index));
  },
};

const insert: Work = (args, machine) => {
  const table = args.table(0);
  const isAtEnd = args.values.length < 3;
  const place = isAtEnd ? table.length + 1 : args.number(1);
  machine.budget.step(Math.max(table.length - place, 0) + 1);
  machine.budget.take(1);
  for (let at = table.length; at >= place; at -= 1) table.set(at + 1, table.get(at));
  table.set(place, args.values[isAtEnd ? 1 : 2]);
  return [];
};

const remove: Work = (args, machine) => {
  const table = args.table(0);
  const { length } = table;
  if (length === 0) return [undefined];
  const place = args.number(1, length);
  const taken = table.get(place);
  machine.budget.step(Math.max(length - place, 0) + 1);
  for (let at = place; at < length; at += 1) table.set(at, table.get(at + 1));
  table.set(length, undefined);
  return [taken];
};

const concat: Work = (args, machine) => {
  const table = args.table(0);
  const separator = args.has(1) ? args.text(1) : "";
  const pieces: string[] = [];
  for (let at = args.number(2, 1); at <= args.number(3, table.length); at += 1) {
    const value = table.get(at);
    if (typeof value !== "string" && typeof value !== "number")
      throw new LuaError(`invalid value (${typeName(value)}) at index ${at} in table for concat`);
    const piece = textOf(value);
    machine.budget.take(piece.length + separator.length);
    pieces.push(piece);
  }
  return [pieces.join(separator)];
};

const sort: Work = (args, machine) => {
  const table = args.table(0);
  const [, order] = args.values;
  const isLess = (a: LuaValue, b: LuaValue): boolean => {
    machine.budget.step();
    if (order !== undefined) return isTrue(machine.call(order, [a, b], 0)[0]);
    if (typeof a === "number" && typeof b === "number") return a < b;
    if (typeof a === "string" && typeof b === "string") return a < b;
    throw new LuaError(`attempt to compare ${typeName(a)} with ${typeName(b)}`);
  };
  const sorted = table.items.toSorted((a, b) => (isLess(a, b) ? -1 : isLess(b, a) ? 1 : 0));
  for (const [index, value] of sorted.entries()) table.set(index + 1, value);
  return [];
};

const TABLE: Library = {
  insert,
  remove,
  concat,
  sort,
  getn: (args) => [args.table(0).length],
  maxn: (args) => [args.table(0).length],
};

function numeric(compute: (...numbers: number[]) => number): Work {
  return (args) => [compute(...args.values.map((_value, place) => args.number(place)))];
}

const MATH: Library = {
  abs: numeric(Math.abs),
  ceil: numeric(Math.ceil),
  exp: numeric(Math.exp),
  floor: numeric(Math.floor),
  fmod: numeric((a = 0, b = 0) => a % b),
  log: numeric(Math.log),
  log10: numeric(Math.log10),
  max: numeric(Math.max),
  min: numeric(Math.min),
  mod: numeric((a = 0, b = 0) => a % b),
  modf: (args) => {
    const value = args.number(0);
    return [Math.trunc(value), value - Math.trunc(value)];
  },
  pow: numeric((a = 0, b = 0) => a ** b),
  sqrt: numeric(Math.sqrt),
};

/** What a script can read of the time: it is handed in, and does not go on while the script runs. */
function osLibrary(nowMs: number): Library {
  const date = new Date(nowMs).toISOString();
  const parts: Readonly<Record<string, string>> = {
    Y: date.slice(0, 4),
    m: date.slice(5, 7),
    d: date.slice(8, 10),
    H: date.slice(11, 13),
    M: date.slice(14, 16),
    S: date.slice(17, 19),
    F: date.slice(0, 10),
    T: date.slice(11, 19),
    "%": "%",
  };
  return {
    time: () => [Math.floor(nowMs / 1000)],
    clock: () => [nowMs / 1000],
    difftime: (args) => [args.number(0) - args.number(1, 0)],
    date: (args) => {
      const form = args.has(0) ? args.text(0) : "!%Y-%m-%d %H:%M:%S";
      return [form.replace(/^!/, "").replaceAll(/%(.)/g, (all, part: string) => parts[part] ?? all)];
    },
  };
}

function libraryTable(machine: Machine, library: Library, prefix: string): LuaTable {
  const table = new LuaTable();
  for (const [name, work] of Object.entries(library))
    table.set(name, (values) => {
      machine.budget.step();
      return work(new Arguments(`${prefix}${name}`, values), machine);
    });
  return table;
}

/** Gives a machine the library that scripts may use; `modules` are what `require` finds. */
export function openLibrary(machine: Machine, nowMs: number, modules: Readonly<Record<string, Library>>): void {
  const { globals } = machine;
  for (const [name, work] of libraryTable(machine, BASE, "").rest) globals.set(name, work);
  for (const name of FORBIDDEN)
    globals.set(name, () => {
      throw new LuaError(`call function ${name} is not supported in karmada customized resourceinterpreter.`);
    });
  globals.set("string", libraryTable(machine, STRING_LIBRARY, "string."));
  globals.set("table", libraryTable(machine, TABLE, "table."));
  const math = libraryTable(machine, MATH, "math.");
  math.set("huge", Number.POSITIVE_INFINITY);
  math.set("pi", Math.PI);
  globals.set("math", math);
  globals.set("os", libraryTable(machine, osLibrary(nowMs), "os."));
  globals.set("_G", globals);
  globals.set("require", ([name]) => {
    const library = typeof name === "string" && Object.hasOwn(modules, name) ? modules[name] : undefined;
    if (library === undefined) throw new LuaError(`module ${textOf(name)} not found`);
    return [libraryTable(machine, library, `${textOf(name)}.`)];
  });
}

/** A function of the library. */
export type { Work as LibraryFunction };
