import type { Environment } from "@marcbachmann/cel-js";
import type { Meter } from "./engine.unsafe.js";

/* Loops with two variables, the library's macros being of one: `list.all(i, v, …)`, `map.transformMap(k, v, …)`. */

interface Node {
  readonly op: string;
  readonly args: unknown;
}

interface Type {
  readonly kind: string;
  readonly type: string;
  readonly keyType?: Type;
  readonly valueType?: Type;
}

interface Context {
  forkWithVariable(name: string, type: Type): Context;
  reuse(outer: Context): Context;
  setIterValue(value: unknown, evaluator: Evaluator): Context;
}

interface Checker {
  readonly registry: { getListType(type: Type): Type; getMapType(key: Type, value: Type): Type };
  check(node: Node, context: Context): Type;
  getType(name: string): Type;
  createError(code: string, message: string, node: Node): Error;
}

interface Evaluator {
  run(node: Node, context: Context): unknown;
}

interface Macro {
  readonly receiver: Node;
  readonly names: readonly [string, string];
  readonly filter: Node | undefined;
  readonly body: Node;
  outer?: Context;
  inner?: Context;
}

/** How results of turns become the result of a loop; `done` ends it. */
interface Kind {
  readonly isQuantifier: boolean;
  start(): unknown;
  add(so: unknown, result: unknown, key: unknown): { readonly so: unknown; readonly done?: boolean };
  finish?(so: unknown): unknown;
  type(checker: Checker, key: Type, body: Type): Type;
}

const bool = (checker: Checker): Type => checker.getType("bool");

const kinds: Readonly<Record<string, Kind>> = {
  all: {
    isQuantifier: true,
    start: () => true,
    add: (_so, result) => ({ so: result, done: result === false }),
    type: bool,
  },
  exists: {
    isQuantifier: true,
    start: () => false,
    add: (_so, result) => ({ so: result, done: result === true }),
    type: bool,
  },
  existsOne: {
    isQuantifier: true,
    start: () => 0,
    add: (so, result) => ({ so: Number(so) + (result === true ? 1 : 0) }),
    finish: (so) => so === 1,
    type: bool,
  },
  transformList: {
    isQuantifier: false,
    start: () => [],
    add: (so, result) => ({ so: [...(so as unknown[]), result] }),
    type: (checker, _key, body) => checker.registry.getListType(body),
  },
  transformMap: {
    isQuantifier: false,
    start: () => new Map(),
    add: (so, result, key) => ({ so: (so as Map<unknown, unknown>).set(key, result) }),
    type: (checker, key, body) => checker.registry.getMapType(key, body),
  },
  transformMapEntry: {
    isQuantifier: false,
    start: () => new Map(),
    add: (so, result) => ({ so: new Map([...(so as Map<unknown, unknown>), ...(result as Map<unknown, unknown>)]) }),
    type: (_checker, _key, body) => body,
  },
};

/** Adds the loops to an environment. Each turn charges the meter. */
export function registerLoops(environment: Environment, meter: Meter): void {
  for (const [name, kind] of Object.entries(kinds)) {
    const result = kind.isQuantifier ? "bool" : "dyn";
    const register = (signature: string): void =>
      void environment.registerFunction(signature, ((about: { receiver: Node; args: Node[] }) =>
        expand(name, kind, about, meter)) as never);
    register(`list.${name}(ast, ast, ast): ${result}`);
    if (!kind.isQuantifier) register(`list.${name}(ast, ast, ast, ast): ${result}`);
  }
}

function expand(name: string, kind: Kind, { receiver, args }: { receiver: Node; args: Node[] }, meter: Meter): unknown {
  const [first, second] = args;
  const body = args.at(-1);
  const filter = args.length === 4 ? args[2] : undefined;
  const names = [nameOf(first), nameOf(second)] as const;
  return {
    receiver,
    names,
    filter,
    body,
    async: false,
    typeCheck: (checker: Checker, macro: Macro, context: Context) => check(kind, name, { checker, macro, context }),
    evaluate: (evaluator: Evaluator, macro: Macro, context: Context) => run(kind, { evaluator, macro, context }, meter),
  };
}

function nameOf(node: Node | undefined): string {
  return node?.op === "id" ? String(node.args) : "";
}

function check(
  kind: Kind,
  name: string,
  { checker, macro, context }: { checker: Checker; macro: Macro; context: Context },
): Type {
  const range = checker.check(macro.receiver, context);
  const dyn = checker.getType("dyn");
  if (macro.names.includes(""))
    throw checker.createError("invalid_macro_argument", "argument must be a simple name", macro.receiver);
  if (range.kind !== "list" && range.kind !== "map" && range.kind !== "dyn")
    throw checker.createError("no_matching_overload", `${name} cannot go through '${range.type}'`, macro.receiver);
  const key = range.kind === "list" ? checker.getType("int") : (range.keyType ?? dyn);
  const value = range.valueType === undefined || range.valueType.kind === "param" ? dyn : range.valueType;
  macro.outer = context.forkWithVariable(macro.names[0], key);
  macro.inner = macro.outer.forkWithVariable(macro.names[1], value);
  for (const test of [macro.filter, kind.isQuantifier ? macro.body : undefined]) {
    const type = test === undefined ? undefined : checker.check(test, macro.inner).type;
    if (test !== undefined && type !== "bool" && type !== "dyn")
      throw checker.createError("invalid_logical_operand", `expected bool, got '${type ?? ""}'`, test);
  }
  return kind.type(checker, key, checker.check(macro.body, macro.inner));
}

function run(
  kind: Kind,
  { evaluator, macro, context }: { evaluator: Evaluator; macro: Macro; context: Context },
  meter: Meter,
): unknown {
  const range = evaluator.run(macro.receiver, context);
  const entries =
    range instanceof Map ? [...range] : [...(range as unknown[]).entries()].map(([i, v]) => [BigInt(i), v]);
  let so = kind.start();
  let failure: unknown;
  for (const [key, value] of entries) {
    meter.charge(8);
    const outer = macro.outer?.reuse(context).setIterValue(key, evaluator);
    const inner = outer === undefined ? undefined : macro.inner?.reuse(outer).setIterValue(value, evaluator);
    if (inner === undefined) continue;
    try {
      if (macro.filter !== undefined && evaluator.run(macro.filter, inner) !== true) continue;
      const turn = kind.add(so, evaluator.run(macro.body, inner), key);
      if (turn.done === true) return turn.so;
      so = turn.so;
    } catch (error) {
      // Another turn may decide all the same.
      if (!kind.isQuantifier || kind.finish !== undefined || meter.isExhausted) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return kind.finish === undefined ? so : kind.finish(so);
}
