import {
  type Expression,
  expression,
  expressionList,
  functionExpression,
  suffixedExpression,
  valuesOf,
} from "./expressions.js";
import { syntaxError, type Token, tokensOf } from "./lexer.js";
import { faultAt, Scope } from "./scope.js";
import { isTrue, LuaError, type LuaValue, numberIn } from "./values.js";

/** Why a block ended before its end. */
export type Signal =
  | { readonly kind: "return"; readonly values: readonly LuaValue[] }
  | { readonly kind: "break" }
  | { readonly kind: "goto"; readonly label: string };
type Statement = (scope: Scope) => Signal | undefined;
/** Statements with names of their own. */
export type Block = (scope: Scope) => Signal | undefined;

const BREAK: Signal = { kind: "break" };
const maxNesting = 120;

/** Reads a script (Lua 5.1, with `goto`) into something that can be run. Throws `LuaError` for what is none. */
export function parseScript(source: string): Block {
  const parser = new Parser(tokensOf(source));
  const body = parser.body([]);
  if (parser.token.type !== "end") throw parser.fault();
  return body;
}

/** Goes through the tokens of a script. */
export class Parser {
  readonly #tokens: readonly Token[];
  readonly #last: Token;
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
    this.#last = tokens.at(-1) ?? { type: "end", text: "", value: "", line: 1, column: 0 };
  }

  get token(): Token {
    return this.#tokens[this.#at] ?? this.#last;
  }

  get following(): Token {
    return this.#tokens[this.#at + 1] ?? this.#last;
  }

  next(): void {
    this.#at += 1;
  }

  /** Whether the token is this keyword or symbol. */
  is(text: string): boolean {
    const { type } = this.token;
    return (type === "keyword" || type === "symbol") && this.token.text === text;
  }

  accept(text: string): boolean {
    const isIt = this.is(text);
    if (isIt) this.next();
    return isIt;
  }

  expect(text: string): void {
    if (!this.accept(text)) throw this.fault();
  }

  name(): string {
    const { type, text } = this.token;
    if (type !== "name") throw this.fault();
    this.next();
    return text;
  }

  fault(): LuaError {
    return syntaxError(this.token);
  }

  /** Bounds how deep a script is nested. */
  nested<T>(read: () => T): T {
    this.#depth += 1;
    if (this.#depth > maxNesting) throw new LuaError("<string>: the script is nested too deeply");
    const result = read();
    this.#depth -= 1;
    return result;
  }

  /** Statements up to one of these keywords, or to the end of the script. */
  body(ends: readonly string[]): Block {
    return this.nested(() => {
      const statements: Statement[] = [];
      const labels = new Map<string, number>();
      while (this.token.type !== "end" && !ends.some((end) => this.is(end))) {
        if (this.accept(";")) continue;
        if (this.accept("::")) {
          labels.set(this.name(), statements.length);
          this.expect("::");
          continue;
        }
        const isLast = this.is("return");
        statements.push(statement(this));
        if (isLast) break;
      }
      return blockOf(statements, labels);
    });
  }
}

function blockOf(statements: readonly Statement[], labels: ReadonlyMap<string, number>): Block {
  return (scope) => {
    for (let at = 0; at < statements.length; at += 1) {
      scope.machine.budget.step();
      const signal = statements[at]?.(scope);
      if (signal === undefined) continue;
      const target = signal.kind === "goto" ? labels.get(signal.label) : undefined;
      if (target === undefined) return signal;
      at = target - 1;
    }
    return undefined;
  };
}

const STATEMENTS: Readonly<Record<string, (parser: Parser) => Statement>> = {
  if: ifStatement,
  while: whileStatement,
  do: doStatement,
  for: forStatement,
  repeat: repeatStatement,
  function: functionStatement,
  local: localStatement,
  return: returnStatement,
  break: () => () => BREAK,
  goto: (parser) => {
    const label = parser.name();
    return () => ({ kind: "goto", label });
  },
};

function statement(parser: Parser): Statement {
  const { type, text } = parser.token;
  const read = type === "keyword" ? STATEMENTS[text] : undefined;
  if (read === undefined) return expressionStatement(parser);
  parser.next();
  return read(parser);
}

function ifStatement(parser: Parser): Statement {
  const branches: { readonly condition: Expression | undefined; readonly body: Block }[] = [];
  do {
    const condition = expression(parser);
    parser.expect("then");
    branches.push({ condition, body: parser.body(["elseif", "else", "end"]) });
  } while (parser.accept("elseif"));
  if (parser.accept("else")) branches.push({ condition: undefined, body: parser.body(["end"]) });
  parser.expect("end");
  return (scope) => {
    const branch = branches.find(({ condition }) => condition === undefined || isTrue(condition.one(scope)));
    return branch?.body(new Scope(scope.machine, scope));
  };
}

/** Runs a loop's body once; tells whether the loop ends, and with what. */
function turn(body: Block, scope: Scope): { readonly ends: boolean; readonly signal: Signal | undefined } {
  const signal = body(scope);
  if (signal === undefined) return { ends: false, signal };
  return { ends: true, signal: signal.kind === "break" ? undefined : signal };
}

function whileStatement(parser: Parser): Statement {
  const condition = expression(parser);
  parser.expect("do");
  const body = parser.body(["end"]);
  parser.expect("end");
  return (scope) => {
    while (isTrue(condition.one(scope))) {
      scope.machine.budget.step();
      const { ends, signal } = turn(body, new Scope(scope.machine, scope));
      if (ends) return signal;
    }
    return undefined;
  };
}

function repeatStatement(parser: Parser): Statement {
  const body = parser.body(["until"]);
  parser.expect("until");
  const condition = expression(parser);
  return (scope) => {
    for (;;) {
      scope.machine.budget.step();
      // The condition sees the names of the body.
      const inner = new Scope(scope.machine, scope);
      const { ends, signal } = turn(body, inner);
      if (ends) return signal;
      if (isTrue(condition.one(inner))) return undefined;
    }
  };
}

function doStatement(parser: Parser): Statement {
  const body = parser.body(["end"]);
  parser.expect("end");
  return (scope) => body(new Scope(scope.machine, scope));
}

function forStatement(parser: Parser): Statement {
  const { line } = parser.token;
  const names = [parser.name()];
  if (parser.accept("=")) return countingLoop(parser, names[0] ?? "", line);
  while (parser.accept(",")) names.push(parser.name());
  parser.expect("in");
  const list = expressionList(parser);
  parser.expect("do");
  const body = parser.body(["end"]);
  parser.expect("end");
  return (scope) => {
    const [iterate, state, start] = valuesOf(list, scope);
    let control = start;
    for (;;) {
      const values = scope.machine.call(iterate, [state, control], line);
      control = values[0];
      if (control === undefined) return undefined;
      const inner = new Scope(scope.machine, scope);
      for (const [index, name] of names.entries()) inner.declare(name, values[index]);
      const { ends, signal } = turn(body, inner);
      if (ends) return signal;
    }
  };
}

function countingLoop(parser: Parser, name: string, line: number): Statement {
  const bounds = expressionList(parser);
  if (bounds.length < 2 || bounds.length > 3) throw parser.fault();
  parser.expect("do");
  const body = parser.body(["end"]);
  parser.expect("end");
  return (scope) => {
    const [start, end, by = 1] = bounds.map((bound) => numberIn(bound.one(scope)));
    if (start === undefined || end === undefined) throw faultAt(line, "for statement init must be a number");
    if (by === 0) throw faultAt(line, "for statement step must not be zero");
    for (let value = start; by > 0 ? value <= end : value >= end; value += by) {
      scope.machine.budget.step();
      const inner = new Scope(scope.machine, scope);
      inner.declare(name, value);
      const { ends, signal } = turn(body, inner);
      if (ends) return signal;
    }
    return undefined;
  };
}

function functionStatement(parser: Parser): Statement {
  const path = [parser.name()];
  let isMethod = false;
  while (!isMethod && (parser.is(".") || parser.is(":"))) {
    isMethod = parser.is(":");
    parser.next();
    path.push(parser.name());
  }
  const { line } = parser.token;
  const made = functionExpression(parser, isMethod ? ["self"] : []);
  const [first = "", ...others] = path;
  const last = others.pop();
  return (scope) => {
    const value = made.one(scope);
    if (last === undefined) scope.set(first, value);
    else {
      const place = others.reduce((table, key) => scope.machine.index(table, key, line), scope.get(first));
      scope.machine.setIndex(place, last, { value, line });
    }
    return undefined;
  };
}

function localStatement(parser: Parser): Statement {
  if (parser.accept("function")) {
    const name = parser.name();
    const made = functionExpression(parser, []);
    return (scope) => {
      // It sees itself.
      scope.declare(name, undefined);
      scope.set(name, made.one(scope));
      return undefined;
    };
  }
  const names = [parser.name()];
  while (parser.accept(",")) names.push(parser.name());
  const list = parser.accept("=") ? expressionList(parser) : [];
  return (scope) => {
    const values = valuesOf(list, scope);
    for (const [index, name] of names.entries()) scope.declare(name, values[index]);
    return undefined;
  };
}

function returnStatement(parser: Parser): Statement {
  const isEmpty = parser.token.type === "end" || ["end", "else", "elseif", "until", ";"].some((end) => parser.is(end));
  const list = isEmpty ? [] : expressionList(parser);
  parser.accept(";");
  return (scope) => ({ kind: "return", values: valuesOf(list, scope) });
}

function expressionStatement(parser: Parser): Statement {
  const first = suffixedExpression(parser);
  if (first.isCall === true && !parser.is("=") && !parser.is(",")) {
    return (scope) => {
      first.one(scope);
      return undefined;
    };
  }
  const targets = [first];
  while (parser.accept(",")) targets.push(suffixedExpression(parser));
  if (targets.some(({ assign }) => assign === undefined)) throw parser.fault();
  parser.expect("=");
  const list = expressionList(parser);
  return (scope) => {
    const values = valuesOf(list, scope);
    for (const [index, { assign }] of targets.entries()) assign?.(scope, values[index]);
    return undefined;
  };
}
