import { binary, PRIORITY, UNARY_PRIORITY, unary } from "./operators.js";
import type { Block, Parser } from "./parser.js";
import { faultAt, Scope } from "./scope.js";
import { isTrue, type LuaFunction, LuaTable, type LuaValue } from "./values.js";

/** Something that has a value; `all` is there where it may have several. */
export interface Expression {
  readonly one: (scope: Scope) => LuaValue;
  readonly all?: (scope: Scope) => readonly LuaValue[];
  /** Where it is a place that can be written. */
  readonly assign?: (scope: Scope, value: LuaValue) => void;
  readonly isCall?: boolean;
}

/** All values of a list of expressions: of the last one all, of the others the first. */
export function valuesOf(list: readonly Expression[], scope: Scope): LuaValue[] {
  const values: LuaValue[] = [];
  for (const [index, expression] of list.entries()) {
    if (index === list.length - 1 && expression.all !== undefined) values.push(...expression.all(scope));
    else values.push(expression.one(scope));
  }
  return values;
}

/** `a, b, …` */
export function expressionList(parser: Parser): Expression[] {
  const list = [expression(parser)];
  while (parser.accept(",")) list.push(expression(parser));
  return list;
}

/** An expression whose operators bind tighter than `limit`. */
export function expression(parser: Parser, limit = 0): Expression {
  return parser.nested(() => {
    let left = unaryExpression(parser);
    for (;;) {
      const { text, type, line } = parser.token;
      const priority = type === "symbol" || type === "keyword" ? PRIORITY[text] : undefined;
      if (priority === undefined || priority[0] <= limit) return left;
      parser.next();
      left = joined(text, left, expression(parser, priority[1]), line);
    }
  });
}

function joined(operator: string, left: Expression, right: Expression, line: number): Expression {
  if (operator === "and")
    return {
      one: (scope) => {
        const value = left.one(scope);
        return isTrue(value) ? right.one(scope) : value;
      },
    };
  if (operator === "or")
    return {
      one: (scope) => {
        const value = left.one(scope);
        return isTrue(value) ? value : right.one(scope);
      },
    };
  return {
    one: (scope) => {
      const first = left.one(scope);
      return binary(scope.machine, operator, [first, right.one(scope)], line);
    },
  };
}

function unaryExpression(parser: Parser): Expression {
  const { text, type, line } = parser.token;
  const isOperator = (type === "keyword" && text === "not") || (type === "symbol" && (text === "#" || text === "-"));
  if (!isOperator) return simpleExpression(parser);
  parser.next();
  const operand = expression(parser, UNARY_PRIORITY);
  return { one: (scope) => unary(scope.machine, text, operand.one(scope), line) };
}

const CONSTANTS: Readonly<Record<string, LuaValue>> = { nil: undefined, true: true, false: false };

function simpleExpression(parser: Parser): Expression {
  const { type, text, value } = parser.token;
  if (type === "number" || type === "string") {
    parser.next();
    return { one: () => value };
  }
  if (type === "keyword" && Object.hasOwn(CONSTANTS, text)) {
    parser.next();
    return { one: () => CONSTANTS[text] };
  }
  if (parser.accept("...")) return { one: (scope) => scope.varargs[0], all: (scope) => scope.varargs };
  if (parser.is("{")) return tableExpression(parser);
  if (parser.accept("function")) return functionExpression(parser, []);
  return suffixedExpression(parser);
}

/** A name or an expression in brackets, with what is called and looked up in it. */
export function suffixedExpression(parser: Parser): Expression {
  let left = primary(parser);
  for (;;) {
    const next = suffix(parser, left);
    if (next === undefined) return left;
    left = next;
  }
}

function primary(parser: Parser): Expression {
  if (parser.accept("(")) {
    const inner = expression(parser);
    parser.expect(")");
    return { one: inner.one };
  }
  const name = parser.name();
  return { one: (scope) => scope.get(name), assign: (scope, value) => scope.set(name, value) };
}

function suffix(parser: Parser, left: Expression): Expression | undefined {
  const { line } = parser.token;
  if (parser.accept(".")) {
    const name = parser.name();
    return member(left, { one: () => name }, line);
  }
  if (parser.accept("[")) {
    const key = expression(parser);
    parser.expect("]");
    return member(left, key, line);
  }
  if (parser.accept(":")) return methodCall(parser, left, line);
  const args = callArguments(parser);
  if (args === undefined) return undefined;
  return called((scope) => [left.one(scope), valuesOf(args, scope)], line);
}

function member(left: Expression, key: Expression, line: number): Expression {
  return {
    one: (scope) => scope.machine.index(left.one(scope), key.one(scope), line),
    assign: (scope, value) => scope.machine.setIndex(left.one(scope), key.one(scope), { value, line }),
  };
}

function methodCall(parser: Parser, left: Expression, line: number): Expression {
  const name = parser.name();
  const args = callArguments(parser);
  if (args === undefined) throw parser.fault();
  return called((scope) => {
    const self = left.one(scope);
    return [scope.machine.index(self, name, line), [self, ...valuesOf(args, scope)]];
  }, line);
}

function called(prepare: (scope: Scope) => [LuaValue, LuaValue[]], line: number): Expression {
  const all = (scope: Scope): LuaValue[] => {
    const [callee, args] = prepare(scope);
    return scope.machine.call(callee, args, line);
  };
  return { one: (scope) => all(scope)[0], all, isCall: true };
}

function callArguments(parser: Parser): Expression[] | undefined {
  const { type, value } = parser.token;
  if (type === "string") {
    parser.next();
    return [{ one: () => value }];
  }
  if (parser.is("{")) return [tableExpression(parser)];
  if (!parser.accept("(")) return undefined;
  if (parser.accept(")")) return [];
  const args = expressionList(parser);
  parser.expect(")");
  return args;
}

interface Field {
  /** `undefined`: the next place. */
  readonly key: Expression | undefined;
  readonly value: Expression;
}

function tableExpression(parser: Parser): Expression {
  const { line } = parser.token;
  parser.expect("{");
  const fields: Field[] = [];
  while (!parser.is("}")) {
    fields.push(tableField(parser));
    if (!parser.accept(",") && !parser.accept(";")) break;
  }
  parser.expect("}");
  return { one: (scope) => madeTable(scope, fields, line) };
}

function tableField(parser: Parser): Field {
  if (parser.accept("[")) {
    const key = expression(parser);
    parser.expect("]");
    parser.expect("=");
    return { key, value: expression(parser) };
  }
  if (parser.token.type === "name" && parser.following.text === "=" && parser.following.type === "symbol") {
    const name = parser.name();
    parser.expect("=");
    return { key: { one: () => name }, value: expression(parser) };
  }
  return { key: undefined, value: expression(parser) };
}

function madeTable(scope: Scope, fields: readonly Field[], line: number): LuaTable {
  const { machine } = scope;
  const table = new LuaTable();
  let place = 1;
  for (const [index, { key, value }] of fields.entries()) {
    if (key !== undefined) {
      machine.setIndex(table, key.one(scope), { value: value.one(scope), line });
      continue;
    }
    const isLast = index === fields.length - 1;
    for (const item of isLast && value.all !== undefined ? value.all(scope) : [value.one(scope)]) {
      machine.setIndex(table, place, { value: item, line });
      place += 1;
    }
  }
  return table;
}

/** What follows `function`: parameters and body. `before` are parameters that are not written, as `self`. */
export function functionExpression(parser: Parser, before: readonly string[]): Expression {
  const names = [...before];
  let isVariadic = false;
  parser.expect("(");
  while (!parser.is(")")) {
    isVariadic = parser.accept("...");
    if (isVariadic) break;
    names.push(parser.name());
    if (!parser.accept(",")) break;
  }
  parser.expect(")");
  const { line } = parser.token;
  const body = parser.body(["end"]);
  parser.expect("end");
  return { one: (scope) => closure(scope, { names, isVariadic, body, line }) };
}

interface Code {
  readonly names: readonly string[];
  readonly isVariadic: boolean;
  readonly body: Block;
  readonly line: number;
}

function closure(outer: Scope, { names, isVariadic, body, line }: Code): LuaFunction {
  return (args) => {
    const scope = new Scope(outer.machine, outer, isVariadic ? args.slice(names.length) : []);
    for (const [index, name] of names.entries()) scope.declare(name, args[index]);
    const signal = body(scope);
    if (signal === undefined) return [];
    if (signal.kind === "return") return [...signal.values];
    throw faultAt(line, signal.kind === "break" ? "no loop to break" : `no visible label '${signal.label}'`);
  };
}
