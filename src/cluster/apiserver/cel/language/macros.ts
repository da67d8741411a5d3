import type { Expression, LiteralType } from "./tree.js";

/** Makes parts of expressions. */
export interface Maker {
  id(): number;
  fault(message: string, at: number): Expression;
  literal(value: unknown, type: LiteralType, at: number): Expression;
  call(name: string, args: readonly Expression[], at: number, target?: Expression): Expression;
}

/** A call as it is written. */
interface Written {
  readonly name: string;
  readonly args: readonly Expression[];
  readonly target: Expression | undefined;
  readonly at: number;
}

const gathered = "@result";

/** What a call becomes that stands for something else: `has`, loops, `optMap`. `undefined`: it is a call. */
export function expandMacro(make: Maker, call: Written): Expression | undefined {
  const { name, args, target } = call;
  if (target === undefined) return name === "has" && args.length === 1 ? expandHas(make, call) : undefined;
  const macro = Object.hasOwn(macros, name) ? macros[name] : undefined;
  if (macro === undefined || !macro.counts.includes(args.length)) return undefined;
  return macro.expand(new Expander(make, call, target));
}

function expandHas(make: Maker, { args, at }: Written): Expression | undefined {
  const [tested] = args;
  if (tested === undefined) return undefined;
  if (tested.kind !== "select") return make.fault("invalid argument to has() macro", tested.at);
  return { id: make.id(), at, kind: "select", operand: tested.operand, field: tested.field, isTest: true };
}

interface Macro {
  readonly counts: readonly number[];
  expand(expander: Expander): Expression;
}

/** What a loop does at each turn, given the variable in which it gathers. */
interface Turns {
  readonly start: Expression;
  readonly condition: Expression;
  readonly step: Expression;
  readonly result?: Expression;
}

const ofOne = "argument must be a simple name";

class Expander {
  readonly #make: Maker;
  readonly #call: Written;
  readonly #target: Expression;
  readonly args: readonly Expression[];

  constructor(make: Maker, call: Written, target: Expression) {
    this.#make = make;
    this.#call = call;
    this.#target = target;
    this.args = call.args;
  }

  literal(value: unknown, type: LiteralType): Expression {
    return this.#make.literal(value, type, this.#call.at);
  }

  call(name: string, ...args: Expression[]): Expression {
    return this.#make.call(name, args, this.#call.at);
  }

  get so(): Expression {
    return this.identifier(gathered);
  }

  identifier(name: string): Expression {
    return { id: this.#make.id(), at: this.#call.at, kind: "identifier", name };
  }

  list(...items: Expression[]): Expression {
    return { id: this.#make.id(), at: this.#call.at, kind: "list", items, optional: new Set() };
  }

  emptyMap(): Expression {
    return { id: this.#make.id(), at: this.#call.at, kind: "map", entries: [] };
  }

  /** A step that is taken only where a filter says so. */
  filtered(filter: Expression | undefined, step: Expression): Expression {
    return filter === undefined ? step : this.call("_?_:_", filter, step, this.so);
  }

  /** A loop whose first arguments (`names` of them) are names of variables. */
  loop(names: 1 | 2, turns: () => Turns, wrong = ofOne): Expression {
    const named: string[] = [];
    for (const arg of this.args.slice(0, names)) {
      if (arg.kind !== "identifier") return this.#make.fault(wrong, arg.at);
      named.push(arg.name);
    }
    const [variable = "", second] = named;
    const [first, other] = this.args;
    if (variable === second) return this.#make.fault(`duplicate variable name: ${variable}`, other?.at ?? 0);
    for (const [index, name] of named.entries())
      if (name === gathered || name === "__result__")
        return this.#make.fault(
          "iteration variable overwrites accumulator variable",
          (index === 0 ? first : other)?.at ?? 0,
        );
    const { start, condition, step, result } = turns();
    return {
      id: this.#make.id(),
      at: this.#call.at,
      kind: "loop",
      range: this.#target,
      variable,
      second,
      gathered,
      start,
      condition,
      step,
      result: result ?? this.so,
    };
  }

  /** What `optMap` and `optFlatMap` become: a name for the value, if there is one. */
  bound(name: string, wrap: (value: Expression) => Expression): Expression {
    const [variable, body] = this.args;
    if (variable?.kind !== "identifier" || body === undefined)
      return this.#make.fault(`${name}() variable name must be a simple identifier`, variable?.at ?? 0);
    const { at } = this.#call;
    const value: Expression = {
      id: this.#make.id(),
      at,
      kind: "loop",
      range: this.list(),
      variable: "#unused",
      second: undefined,
      gathered: variable.name,
      start: this.#make.call("value", [], at, copyOf(this.#target, this.#make)),
      condition: this.literal(false, "bool"),
      step: this.identifier(variable.name),
      result: body,
    };
    return this.call(
      "_?_:_",
      this.#make.call("hasValue", [], at, this.#target),
      wrap(value),
      this.call("optional.none"),
    );
  }
}

function copyOf(expression: Expression, make: Maker): Expression {
  const copy = (one: Expression): Expression => copyOf(one, make);
  const id = make.id();
  switch (expression.kind) {
    case "select":
      return { ...expression, id, operand: copy(expression.operand) };
    case "call":
      return {
        ...expression,
        id,
        target: expression.target === undefined ? undefined : copy(expression.target),
        args: expression.args.map(copy),
      };
    case "list":
      return { ...expression, id, items: expression.items.map(copy) };
    case "map":
      return {
        ...expression,
        id,
        entries: expression.entries.map((entry) => ({ ...entry, key: copy(entry.key), value: copy(entry.value) })),
      };
    case "struct":
      return { ...expression, id, fields: expression.fields.map((entry) => ({ ...entry, value: copy(entry.value) })) };
    case "loop":
      return {
        ...expression,
        id,
        range: copy(expression.range),
        start: copy(expression.start),
        condition: copy(expression.condition),
        step: copy(expression.step),
        result: copy(expression.result),
      };
    default:
      return { ...expression, id };
  }
}

/** The argument in which a loop's body stands. */
const bodyOf = ({ args, so }: Expander): Expression => args.at(-1) ?? so;

const all: Macro = {
  counts: [2, 3],
  expand: (x) =>
    x.loop(x.args.length === 3 ? 2 : 1, () => ({
      start: x.literal(true, "bool"),
      condition: x.call("@not_strictly_false", x.so),
      step: x.call("_&&_", x.so, bodyOf(x)),
    })),
};

const exists: Macro = {
  counts: [2, 3],
  expand: (x) =>
    x.loop(x.args.length === 3 ? 2 : 1, () => ({
      start: x.literal(false, "bool"),
      condition: x.call("@not_strictly_false", x.call("!_", x.so)),
      step: x.call("_||_", x.so, bodyOf(x)),
    })),
};

const existsOne: Macro = {
  counts: [2, 3],
  expand: (x) =>
    x.loop(x.args.length === 3 ? 2 : 1, () => ({
      start: x.literal(0n, "int"),
      condition: x.literal(true, "bool"),
      step: x.filtered(bodyOf(x), x.call("_+_", x.so, x.literal(1n, "int"))),
      result: x.call("_==_", x.so, x.literal(1n, "int")),
    })),
};

/** Loops that make a list or a map. */
function making(names: 1 | 2, make: (x: Expander) => { readonly start: Expression; readonly step: Expression }): Macro {
  const wrong = names === 1 ? "argument is not an identifier" : ofOne;
  return {
    counts: [names + 1, names + 2],
    expand: (x) =>
      x.loop(
        names,
        () => {
          const { start, step } = make(x);
          const filter = x.args.length === names + 2 ? x.args[names] : undefined;
          return { start, condition: x.literal(true, "bool"), step: x.filtered(filter, step) };
        },
        wrong,
      ),
  };
}

const lists = (x: Expander) => ({ start: x.list(), step: x.call("_+_", x.so, x.list(bodyOf(x))) });

const macros: Readonly<Record<string, Macro>> = {
  all,
  exists,
  exists_one: existsOne,
  existsOne,
  map: making(1, lists),
  filter: {
    counts: [2],
    expand: (x) =>
      x.loop(
        1,
        () => ({
          start: x.list(),
          condition: x.literal(true, "bool"),
          step: x.filtered(x.args[1], x.call("_+_", x.so, x.list(x.args[0] ?? x.so))),
        }),
        "argument is not an identifier",
      ),
  },
  transformList: making(2, lists),
  transformMap: making(2, (x) => {
    const [key] = x.args;
    const name = key?.kind === "identifier" ? key.name : "";
    return { start: x.emptyMap(), step: x.call("cel.@mapInsert", x.so, x.identifier(name), bodyOf(x)) };
  }),
  transformMapEntry: making(2, (x) => ({ start: x.emptyMap(), step: x.call("cel.@mapInsert", x.so, bodyOf(x)) })),
  optMap: { counts: [2], expand: (x) => x.bound("optMap", (value) => x.call("optional.of", value)) },
  optFlatMap: { counts: [2], expand: (x) => x.bound("optFlatMap", (value) => value) },
};
