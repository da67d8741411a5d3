import { CelEvaluationError } from "../errors.js";
import { caller } from "./calls.js";
import type { Checked, Resolved } from "./checker.js";
import type { Environment } from "./environment.js";
import { found, optional, selected } from "./members.js";
import type { Meter } from "./meter.js";
import { patternOf } from "./patterns.js";
import { callCost } from "./run-cost.js";
import type { Expression, Of } from "./tree.js";
import { celEquals, ObjectValue, Optional, shownValue, TypeValue, typeNameOf } from "./values.js";

/** What an evaluation has at hand. */
export interface Frame {
  readonly variables: Readonly<Record<string, unknown>>;
  /** Of loops, by the places that were given to them. */
  readonly locals: unknown[];
  readonly meter: Meter;
}

/** A part of an expression, ready to run. Throws `CelEvaluationError` where it has no value. */
export type Run = (frame: Frame) => unknown;

/** Makes a checked expression ready to run. */
export function plan(checked: Checked, environment: Environment): Run {
  return new Planner(checked, environment).plan(checked.root);
}

/** An expression that cannot be made ready to run: a part that never changes has no value. */
export class PlanFault {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

/** An error in the place of a value: another turn of a loop may decide all the same. */
class Failure {
  readonly error: CelEvaluationError;

  constructor(error: CelEvaluationError) {
    this.error = error;
  }
}

const costs = { list: 10, map: 30 };

const noOverload = (): CelEvaluationError => new CelEvaluationError("no such overload");

class Planner {
  readonly #checked: Checked;
  readonly #environment: Environment;
  readonly #places: { readonly name: string; readonly place: number }[] = [];
  /** Parts whose value is known already. */
  readonly #known = new Map<Run, unknown>();
  #nextPlace = 0;

  constructor(checked: Checked, environment: Environment) {
    this.#checked = checked;
    this.#environment = environment;
  }

  plan(expression: Expression): Run {
    switch (expression.kind) {
      case "literal": {
        return this.#constant(expression.value);
      }
      case "identifier":
        return this.#variable(expression.name);
      case "select":
        return this.#select(expression);
      case "call":
        return this.#call(expression);
      case "list":
        return this.#list(expression);
      case "map":
        return this.#map(expression);
      case "loop":
        return this.#loop(expression);
      default:
        return () => {
          throw noOverload();
        };
    }
  }

  #constant(value: unknown): Run {
    const run: Run = () => value;
    this.#known.set(run, value);
    return run;
  }

  #variable(written: string): Run {
    const local = this.#places.findLast(({ name }) => name === written);
    if (local !== undefined) {
      const { place } = local;
      return ({ locals, meter }) => {
        meter.charge(1);
        const value = locals[place];
        if (value instanceof Failure) throw value.error;
        return value;
      };
    }
    const name = written.startsWith(".") ? written.slice(1) : written;
    if (this.#environment.isTypeName(name)) {
      const type = new TypeValue(name);
      return () => type;
    }
    return ({ variables, meter }) => {
      meter.charge(1);
      const value = variables[name];
      if (value === undefined) throw new CelEvaluationError(`no such attribute(s): ${name}`);
      return value;
    };
  }

  #select(expression: Of<"select">): Run {
    const name = this.#checked.names.get(expression.id);
    if (name !== undefined) return this.#variable(name);
    const operand = this.plan(expression.operand);
    const { field, isTest } = expression;
    if (isTest) return (frame) => found(operand(frame), field) !== undefined;
    return (frame) => {
      const value = operand(frame);
      frame.meter.charge(1);
      return selected(value, field);
    };
  }

  #call(expression: Of<"call">): Run {
    const resolved = this.#checked.calls.get(expression.id);
    const { target, args, name } = expression;
    const whole = target === undefined || resolved?.isQualified === true ? args : [target, ...args];
    const runs = whole.map((arg) => this.plan(arg));
    const special =
      Object.hasOwn(specials, name) && (target === undefined || name.startsWith("or")) ? specials[name] : undefined;
    if (special !== undefined) return special(runs);
    return this.#early(resolved, runs) ?? strict(resolved, runs);
  }

  /** Conversions of values that are known are made once; patterns that are known are read once. */
  #early(resolved: Resolved | undefined, runs: readonly Run[]): Run | undefined {
    const [first, second] = runs;
    const name = resolved?.name ?? "";
    try {
      if (searches.has(name) && second !== undefined && this.#known.has(second))
        patternOf(String(this.#known.get(second)));
      if (resolved === undefined || !conversions.has(name) || first === undefined || !this.#known.has(first))
        return undefined;
      return this.#constant(caller(resolved)([this.#known.get(first)]));
    } catch (error) {
      if (error instanceof CelEvaluationError) throw new PlanFault(error.message);
      throw error;
    }
  }

  #list({ items, optional }: Of<"list">): Run {
    const runs = items.map((item) => this.plan(item));
    if (optional.size === 0 && runs.length > 0 && runs.every((run) => this.#known.has(run)))
      return this.#constant(runs.map((run) => this.#known.get(run)));
    return (frame) => {
      const made: unknown[] = [];
      for (const [index, run] of runs.entries()) {
        const value = run(frame);
        if (!optional.has(index)) made.push(value);
        else if (!(value instanceof Optional))
          throw new CelEvaluationError(
            `cannot initialize optional list element from non-optional value ${shownValue(value)}`,
          );
        else if (value.hasValue) made.push(value.value);
      }
      frame.meter.charge(costs.list);
      return made;
    };
  }

  #map({ entries }: Of<"map">): Run {
    const runs = entries.map(({ key, value, isOptional }) => ({
      key: this.plan(key),
      value: this.plan(value),
      isOptional,
    }));
    return (frame) => {
      const made = new Map<unknown, unknown>();
      for (const { key, value, isOptional } of runs) {
        const [name, member] = [key(frame), value(frame)];
        if (!isOptional) made.set(name, member);
        else if (!(member instanceof Optional))
          throw new CelEvaluationError(
            `cannot initialize optional entry '${shownValue(name)}' from non-optional value ${shownValue(member)}`,
          );
        else if (member.hasValue) made.set(name, member.value);
      }
      frame.meter.charge(costs.map);
      return made;
    };
  }

  #place(name: string): number {
    this.#places.push({ name, place: this.#nextPlace });
    this.#nextPlace += 1;
    return this.#nextPlace - 1;
  }

  #loop(expression: Of<"loop">): Run {
    const range = this.plan(expression.range);
    const start = this.plan(expression.start);
    const so = this.#place(expression.gathered);
    const one = this.#place(expression.variable);
    const two = expression.second === undefined ? undefined : this.#place(expression.second);
    const condition = this.plan(expression.condition);
    const step = this.#step(expression.step, so) ?? this.plan(expression.step);
    this.#places.length -= two === undefined ? 1 : 2;
    const result = this.plan(expression.result);
    this.#places.length -= 1;
    const isQuantifier = expression.condition.kind === "call";
    return (frame) => {
      const { locals } = frame;
      const turns = turnsOf(range(frame), two !== undefined);
      locals[so] = ownCopy(start(frame));
      for (const [key, value] of turns) {
        locals[one] = two === undefined ? value : key;
        if (two !== undefined) locals[two] = value;
        if (condition(frame) !== true) break;
        locals[so] = isQuantifier ? attempt(step, frame) : step(frame);
      }
      return result(frame);
    };
  }

  /** A step that only adds to what is gathered, without copies of it. */
  #step(step: Expression, so: number): Run | undefined {
    if (step.kind !== "call" || step.target !== undefined) return undefined;
    const [first, second, third] = step.args;
    if (step.name === "_?_:_" && first !== undefined && second !== undefined && third?.kind === "identifier") {
      const add = this.#step(second, so);
      if (add === undefined) return undefined;
      const test = this.plan(first);
      return (frame) => {
        const holds = test(frame);
        if (typeof holds !== "boolean") throw noOverload();
        return holds ? add(frame) : frame.locals[so];
      };
    }
    if (first?.kind !== "identifier" || first.name !== "@result" || step.name !== "_+_") return undefined;
    if (second?.kind !== "list" || second.items.length !== 1) return undefined;
    const [only] = second.items;
    const item = only === undefined ? undefined : this.plan(only);
    return (frame) => {
      const gathered = frame.locals[so];
      frame.meter.charge(2 + costs.list);
      if (Array.isArray(gathered)) gathered.push(item?.(frame));
      return gathered;
    };
  }
}

/** Literals are shared between evaluations; what is gathered is not. */
const ownCopy = (value: unknown): unknown => (Array.isArray(value) ? [...value] : value);

function attempt(run: Run, frame: Frame): unknown {
  try {
    return run(frame);
  } catch (error) {
    if (error instanceof CelEvaluationError) return new Failure(error);
    throw error;
  }
}

/** Keys (or indexes) and values that a loop goes through; with one variable, the values of a list and the keys of a map. */
function turnsOf(range: unknown, isDouble: boolean): readonly (readonly [unknown, unknown])[] {
  if (Array.isArray(range)) return range.map((value, index) => [BigInt(index), value]);
  const entries =
    range instanceof Map
      ? [...range]
      : range instanceof ObjectValue
        ? range.names.map((name) => [name, range.get(name)] as const)
        : undefined;
  if (entries === undefined) throw new CelEvaluationError(`got '${goTypeOf(range)}', expected iterable type`);
  return isDouble ? entries : entries.map(([key]) => [key, key]);
}

function goTypeOf(value: unknown): string {
  const name = typeNameOf(value).replace(/^google\.protobuf\./, "");
  return `types.${name === "null_type" ? "Null" : name.charAt(0).toUpperCase() + name.slice(1)}`;
}

type Special = (runs: readonly Run[]) => Run;

const nothing: Run = () => undefined;

/** Both may fail, as long as one of them decides. */
function logic(decisive: boolean): Special {
  return (runs) => (frame) => {
    let failure: CelEvaluationError | undefined;
    for (const run of runs) {
      try {
        const value = run(frame);
        if (value === decisive) return decisive;
        if (typeof value !== "boolean") failure ??= noOverload();
      } catch (error) {
        if (!(error instanceof CelEvaluationError)) throw error;
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return !decisive;
  };
}

/** A function of two values that all values have. */
function binary(cost: number, work: (a: unknown, b: unknown) => unknown): Special {
  return ([first = nothing, second = nothing]) =>
    (frame) => {
      const [a, b] = [first(frame), second(frame)];
      frame.meter.charge(cost);
      return work(a, b);
    };
}

function equality(isEqual: boolean): Special {
  return ([first = nothing, second = nothing]) =>
    (frame) => {
      const [a, b] = [first(frame), second(frame)];
      frame.meter.charge(callCost("_==_", [a, b]));
      return celEquals(a, b) === isEqual;
    };
}

/** What is computed otherwise than from the values of all arguments. */
const specials: Readonly<Record<string, Special>> = {
  "_&&_": logic(false),
  "_||_": logic(true),
  "_?_:_":
    ([test = nothing, yes = nothing, no = nothing]) =>
    (frame) => {
      const holds = test(frame);
      if (typeof holds !== "boolean") throw noOverload();
      return holds ? yes(frame) : no(frame);
    },
  "@not_strictly_false":
    ([test = nothing]) =>
    (frame) => {
      try {
        return test(frame) !== false;
      } catch (error) {
        if (error instanceof CelEvaluationError) return true;
        throw error;
      }
    },
  "_==_": equality(true),
  "_!=_": equality(false),
  "_[_]": binary(1, selected),
  "_?._": binary(1, optional),
  "_[?_]": binary(1, optional),
  or: chosen(false),
  orValue: chosen(true),
};

function chosen(isPlain: boolean): Special {
  return ([first = nothing, second = nothing]) =>
    (frame) => {
      const value = first(frame);
      frame.meter.charge(1);
      if (!(value instanceof Optional)) throw noOverload();
      if (!value.hasValue) return second(frame);
      return isPlain ? value.value : value;
    };
}

/** A function of the values of its arguments. */
function strict(resolved: Resolved | undefined, runs: readonly Run[]): Run {
  const known = resolved ?? { name: "", overloads: [], isQualified: false };
  const { name } = known;
  const call = caller(known);
  return (frame) => {
    const values = runs.map((run) => run(frame));
    const result = call(values);
    frame.meter.charge(callCost(name, values, result));
    return result;
  };
}

const conversions = new Set("bool bytes double duration dyn int string timestamp type uint".split(" "));
const searches = new Set(["find", "findAll", "matches"]);
