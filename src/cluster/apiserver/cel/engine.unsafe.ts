import { type ASTNode, Environment, type EvaluationError, type Optional, ParseError } from "@marcbachmann/cel-js";
import { messageOf } from "../../../kernel/errors/index.js";
import { CelCostError, CelEvaluationError } from "./errors.js";
import { literalFault } from "./literals.js";
import { registerLoops } from "./loops.unsafe.js";
import { wordFault, wordPlaced, wordRunTimeFault } from "./wording.js";

/** What one evaluation may cost; functions and comprehensions charge it. Costs are counted as upstream counts them, roughly: one a step. */
export class Meter {
  #left = 0;
  #isExhausted = false;

  get isExhausted(): boolean {
    return this.#isExhausted;
  }

  get left(): number {
    return this.#left;
  }

  /** Runs something with a cost of its own; what an evaluation around it has left stays. */
  within<T>(cost: number, work: () => T): T {
    const [left, isExhausted] = [this.#left, this.#isExhausted];
    this.#fill(cost);
    try {
      return work();
    } finally {
      this.#left = left;
      this.#isExhausted = isExhausted;
    }
  }

  #fill(cost: number): void {
    this.#left = cost;
    this.#isExhausted = false;
  }

  charge(cost: number): void {
    this.#left -= cost;
    if (this.#left >= 0) return;
    this.#isExhausted = true;
    throw new CelCostError("operation cancelled: actual cost limit exceeded");
  }
}

/** A node of a checked expression, as much as cost estimates need. */
export interface CelNode {
  readonly op: string;
  readonly args: unknown;
  readonly type: string;
  /** Where it begins in the text. */
  readonly start: number;
  readonly alternate: CelNode | undefined;
  readonly parts: readonly CelNode[];
}

/** A compiled expression. */
export interface Program {
  readonly text: string;
  /** Type of its result, `bool`, `list`, `dyn`, … */
  readonly type: string;
  readonly root: CelNode;
  /** Throws `CelEvaluationError`, worded as upstream, or `CelCostError`. Charges what it costs to `budget`, which holds at most what one call may cost. */
  run(variables: Readonly<Record<string, unknown>>, budget: Budget): unknown;
}

/** What is left for all evaluations of one request. */
export interface Budget {
  left: number;
}

export type Compiled = { readonly program: Program } | { readonly fault: string };

const perCallLimit = 1_000_000;
const limits = { maxAstNodes: 20_000, maxDepth: 120 };

/** One set of types, variables and functions in which expressions are compiled. */
export class Engine {
  readonly #environment: Environment;
  readonly meter: Meter;

  private constructor(environment: Environment, meter: Meter) {
    this.#environment = environment;
    this.meter = meter;
  }

  /** The language alone. */
  static bare(): Engine {
    const environment = new Environment({ enableOptionalTypes: true, homogeneousAggregateLiterals: false, limits });
    const meter = new Meter();
    registerLoops(environment, meter);
    return new Engine(environment, meter);
  }

  /** A copy that can be extended; this one must not be any more. */
  child(): Engine {
    return new Engine(this.#environment.clone(), this.meter);
  }

  /** `signature` as in `string.find(string): string`. */
  define<A extends readonly unknown[]>(signature: string, implementation: (...values: A) => unknown): void {
    this.#environment.registerFunction(signature, implementation as never);
  }

  /** An opaque type, or one with fields (names to types). Objects of it are made with the returned constructor. */
  declareType(name: string, ctor: new () => object, fields?: Readonly<Record<string, string>>): void {
    this.#environment.registerType(name, (fields === undefined ? ctor : { ctor, fields }) as never);
  }

  defineEquality<T>(name: string, equal: (a: T, b: T) => boolean): void {
    this.#environment.registerOperator(`${name} == ${name}`, equal as never);
  }

  declareVariable(name: string, type: string): void {
    this.#environment.registerVariable(name, type);
  }

  /** A value under which functions are grouped: `math` in `math.greatest(1, 2)`. */
  declareNamespace(name: string, typeName: string): void {
    const ctor = class {};
    this.#environment.registerType(typeName, ctor as never);
    this.#environment.registerConstant(name, typeName, new ctor() as never);
  }

  compile(text: string): Compiled {
    let parsed: ReturnType<Environment["parse"]>;
    try {
      parsed = this.#environment.parse(text);
    } catch (error) {
      return { fault: wordFault(text, detailsOf(error)) };
    }
    const checked = parsed.check();
    if (!checked.valid) return { fault: wordFault(text, detailsOf(checked.error)) };
    const ast: ASTNode = parsed.ast;
    const literal = literalFault(nodeOf(ast as unknown as RawNode));
    if (literal !== undefined) return { fault: wordPlaced(text, literal) };
    meterSteps(ast as unknown as RawNode, this.meter);
    const { meter } = this;
    return {
      program: {
        text,
        type: checked.type ?? "dyn",
        root: nodeOf(ast as unknown as RawNode),
        run(variables, budget) {
          const granted = Math.min(budget.left, perCallLimit);
          return meter.within(granted, () => {
            try {
              const value: unknown = parsed(variables as Record<string, unknown>);
              if (meter.isExhausted) meter.charge(0);
              return value;
            } catch (error) {
              if (error instanceof CelCostError || meter.isExhausted)
                throw new CelCostError("operation cancelled: actual cost limit exceeded");
              throw new CelEvaluationError(wordRunTimeFault(text, detailsOf(error)), { cause: error });
            } finally {
              budget.left -= granted - Math.max(meter.left, 0);
            }
          });
        },
      },
    };
  }
}

/** What the library says of a fault. */
export interface FaultDetails {
  readonly code: string;
  readonly summary: string;
  readonly isSyntax: boolean;
  readonly start: number;
  readonly end: number;
  readonly node: { readonly op: string; readonly args: unknown } | undefined;
}

function detailsOf(error: unknown): FaultDetails {
  const known = error as Partial<EvaluationError> & { node?: RawNode };
  return {
    code: known.code ?? "",
    summary: known.summary ?? messageOf(error),
    isSyntax: error instanceof ParseError,
    start: known.range?.start ?? 0,
    end: known.range?.end ?? 0,
    node: known.node,
  };
}

interface RawNode {
  readonly op: string;
  readonly args: unknown;
  readonly checkedType?: unknown;
  readonly start?: number;
  readonly meta: {
    alternate?: RawNode;
    macro?: Record<string, unknown> & { evaluate(ev: unknown, macro: unknown, ctx: unknown): unknown };
    evaluate(ev: unknown, ast: unknown, ctx: unknown): unknown;
  };
  evaluate: (ev: unknown, ast: RawNode, ctx: unknown) => unknown;
}

function isNode(value: unknown): value is RawNode {
  return typeof value === "object" && value !== null && "op" in value && "meta" in value;
}

function* childrenOf(node: RawNode): Generator<RawNode> {
  const values: unknown[] = [node.meta.alternate, node.args];
  if (node.meta.macro !== undefined)
    for (const [key, value] of Object.entries(node.meta.macro)) if (key !== "ast") values.push(value);
  if (node.op === "comprehension") values.push(...Object.values(node.args as object));
  while (values.length > 0) {
    const value = values.pop();
    if (isNode(value)) yield value;
    else if (Array.isArray(value)) values.push(...value);
  }
}

/** Makes every turn of a comprehension charge the meter for the nodes that it runs. */
function meterSteps(node: RawNode, meter: Meter, seen = new Set<RawNode>()): number {
  if (seen.has(node)) return 0;
  seen.add(node);
  let weight = 1;
  for (const child of childrenOf(node)) weight += meterSteps(child, meter, seen);
  if (node.op !== "comprehension") return weight;
  const { step } = node.args as { step: RawNode };
  step.evaluate = (ev, ast, ctx) => {
    meter.charge(weight);
    const { alternate, macro } = step.meta;
    if (alternate !== undefined) return alternate.evaluate(ev, alternate, ctx);
    return macro === undefined ? step.meta.evaluate(ev, ast, ctx) : macro.evaluate(ev, macro, ctx);
  };
  return weight;
}

function nodeOf(raw: RawNode): CelNode {
  return {
    op: raw.op,
    args: raw.args,
    type: raw.checkedType === undefined ? "dyn" : `${raw.checkedType as string}`,
    start: raw.start ?? 0,
    get alternate() {
      return raw.meta.alternate === undefined ? undefined : nodeOf(raw.meta.alternate);
    },
    get parts() {
      return partsOf(raw).map(nodeOf);
    },
  };
}

/** Operands in order: the receiver first; of a comprehension its range and its step. */
function partsOf(raw: RawNode): RawNode[] {
  if (raw.op === "comprehension") {
    const { iterable, step } = raw.args as { iterable: RawNode; step: RawNode };
    return [iterable, step];
  }
  const { args } = raw;
  return (Array.isArray(args) ? args.flat(2) : [args]).filter(isNode);
}

const empty: Optional = new Environment({ enableOptionalTypes: true }).evaluate("optional.none()");
const some = new Environment({ enableOptionalTypes: true }).registerVariable("x", "dyn").parse("optional.of(x)");

/** An optional value of the language; absent where `value` is `undefined`. */
export function optionalOf(value: unknown): unknown {
  return value === undefined ? empty : some({ x: value });
}

const readDuration = new Environment().registerVariable("x", "string").parse("duration(x)");

/** A duration of the language, from `1h30m`; throws for other texts. */
export function durationOf(text: string): unknown {
  return readDuration({ x: text });
}
