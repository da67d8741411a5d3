import { CelCostError, CelEvaluationError } from "../errors.js";
import { type Checked, check } from "./checker.js";
import { declare } from "./declare.unsafe.js";
import { Environment } from "./environment.js";
import { type Frame, PlanFault, plan, type Run } from "./evaluator.js";
import { literalFaults } from "./literals.js";
import { type Budget, Meter } from "./meter.js";
import { parse } from "./parser.js";
import { declareStandard } from "./standard.js";
import type { Fault } from "./tokens.js";
import { wordFaults } from "./tree.js";
import { readType, type Type } from "./types.js";

/** A compiled expression. */
export interface Program {
  readonly text: string;
  /** Of its result. */
  readonly type: Type;
  readonly checked: Checked;
  /** Throws `CelEvaluationError`, worded as upstream, or `CelCostError`. Charges what it costs to `budget`, which holds at most what one call may cost. */
  run(variables: Readonly<Record<string, unknown>>, budget: Budget): unknown;
}

/** A program; or why the text is none: it does not compile, or (`isLate`) never has a value. */
export type Compiled =
  | { readonly program: Program }
  | { readonly fault: string; readonly isLate: false }
  | { readonly fault: string; readonly isLate: true; readonly type: Type };

/** Tells what is wrong with an expression beyond its types. */
export type Validator = (checked: Checked) => readonly Fault[];

/** One set of types, variables and functions in which expressions are compiled. */
export class Engine {
  readonly #environment: Environment;
  readonly #validators: readonly Validator[];

  private constructor(environment: Environment, validators: readonly Validator[]) {
    this.#environment = environment;
    this.#validators = validators;
  }

  /** The language alone. `validators`: what else is looked for in expressions whose types go together. */
  static bare(...validators: Validator[]): Engine {
    const environment = new Environment();
    declareStandard(environment);
    return new Engine(environment, [literalFaults, ...validators]);
  }

  /** One that can be extended without changing this. */
  child(): Engine {
    return new Engine(new Environment(this.#environment), this.#validators);
  }

  /** `signature` as in `string.find(string): string`. */
  define<A extends readonly unknown[]>(signature: string, run: (...values: A) => unknown): void {
    declare(this.#environment, signature, run);
  }

  /** A type whose values only functions look into. */
  declareType(name: string): void {
    this.#environment.declareOpaque(name);
  }

  /** A type whose values have fields. */
  declareFields(name: string, fields: ReadonlyMap<string, Type>): void {
    this.#environment.declareStruct(name, fields);
  }

  declareVariable(name: string, type: string | Type): void {
    this.#environment.declareVariable(name, typeof type === "string" ? readType(type) : type);
  }

  compile(text: string): Compiled {
    const characters = Array.from(text);
    const refuse = (faults: Parameters<typeof wordFaults>[1]): Compiled => ({
      fault: wordFaults(characters, faults),
      isLate: false,
    });
    const parsed = parse(characters);
    if ("faults" in parsed) return refuse(parsed.faults);
    const checked = check(parsed.root, this.#environment);
    if ("faults" in checked) return refuse(checked.faults);
    const faults = this.#validators.flatMap((validate) => validate(checked));
    if (faults.length > 0) return refuse(faults);
    const type = checked.typeOf(checked.root);
    try {
      const run = plan(checked, this.#environment);
      return { program: { text, type, checked, run: (variables, budget) => evaluate(run, variables, budget) } };
    } catch (thrown) {
      if (thrown instanceof PlanFault) return { fault: thrown.message, isLate: true, type };
      throw thrown;
    }
  }
}

function evaluate(run: Run, variables: Readonly<Record<string, unknown>>, budget: Budget): unknown {
  const meter = new Meter(budget);
  const frame: Frame = { variables, locals: [], meter };
  try {
    return run(frame);
  } catch (error) {
    if (error instanceof CelEvaluationError || error instanceof CelCostError) throw error;
    // What functions of ours did not foresee is a fault of the expression, not of the server.
    throw new CelEvaluationError(error instanceof RangeError ? "expression is too deep" : String(error), {
      cause: error,
    });
  } finally {
    meter.settle();
  }
}
