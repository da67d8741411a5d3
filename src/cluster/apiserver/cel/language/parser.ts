import { expandMacro, type Maker } from "./macros.js";
import { syntaxFaults } from "./syntax.js";
import { endOfText, type Fault, type Token, textValue, tokensOf } from "./tokens.js";
import { type Entry, type Expression, type LiteralType, operators } from "./tree.js";
import { Unsigned } from "./values.js";

/** An expression, or what is wrong with its words. */
export type Parsed = { readonly root: Expression } | { readonly faults: readonly Fault[] };

const longest = 100_000;
const deepest = 250;
const reserved = new Set(
  "as break const continue else false for function if import in let loop package namespace null return true var void while".split(
    " ",
  ),
);

/** Reads an expression. */
export function parse(characters: readonly string[]): Parsed {
  if (characters.length > longest) {
    const message = `expression code point size exceeds limit: size: ${characters.length}, limit ${longest}`;
    return { faults: [{ message, at: undefined }] };
  }
  const { tokens, faults } = tokensOf(characters);
  const parser = new Parser(tokens);
  const root = parser.parse();
  if (root === undefined) return { faults: [...faults, ...syntaxFaults(tokens, characters)] };
  const all = [...faults, ...parser.faults];
  return all.length > 0 ? { faults: all } : { root };
}

/** The text is no expression: what is wrong with it is told by another reader. */
class NoExpression {}
class TooDeep {}

const relations = new Set(["'<'", "'<='", "'>='", "'>'", "'=='", "'!='", "'in'"]);
const products = new Set(["'*'", "'/'", "'%'"]);
const sums = new Set(["'+'", "'-'"]);

class Parser implements Maker {
  readonly #tokens: readonly Token[];
  readonly faults: Fault[] = [];
  #next = 0;
  #ids = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** `undefined`: no expression. */
  parse(): Expression | undefined {
    try {
      const root = this.#expression();
      this.#expect(endOfText);
      return root;
    } catch (thrown) {
      if (thrown instanceof NoExpression) return undefined;
      if (!(thrown instanceof TooDeep)) throw thrown;
      this.faults.push({ message: `expression recursion limit exceeded: ${deepest}`, at: undefined });
      return this.nothing(0);
    }
  }

  get #token(): Token {
    const token = this.#tokens[Math.min(this.#next, this.#tokens.length - 1)];
    if (token === undefined) throw new NoExpression();
    return token;
  }

  #is(kind: string, ahead = 0): boolean {
    return this.#tokens[this.#next + ahead]?.kind === kind;
  }

  #take(): Token {
    const token = this.#token;
    this.#next += 1;
    return token;
  }

  #accept(kind: string): Token | undefined {
    return this.#is(kind) ? this.#take() : undefined;
  }

  #expect(kind: string): Token {
    if (!this.#is(kind)) throw new NoExpression();
    return this.#take();
  }

  id(): number {
    this.#ids += 1;
    return this.#ids;
  }

  fault(message: string, at: number): Expression {
    this.faults.push({ message, at });
    return this.nothing(at);
  }

  nothing(at: number): Expression {
    return { id: this.id(), at, kind: "nothing" };
  }

  literal(value: unknown, type: LiteralType, at: number): Expression {
    return { id: this.id(), at, kind: "literal", value, type };
  }

  call(name: string, args: readonly Expression[], at: number, target?: Expression): Expression {
    return { id: this.id(), at, kind: "call", name, target, args };
  }

  #expression(): Expression {
    this.#depth += 1;
    if (this.#depth > deepest) throw new TooDeep();
    const test = this.#chain("'||'", "_||_", () => this.#chain("'&&'", "_&&_", () => this.#relation()));
    const mark = this.#accept("'?'");
    if (mark === undefined) {
      this.#depth -= 1;
      return test;
    }
    const yes = this.#chain("'||'", "_||_", () => this.#chain("'&&'", "_&&_", () => this.#relation()));
    this.#expect("':'");
    const no = this.#expression();
    this.#depth -= 1;
    return this.call("_?_:_", [test, yes, no], mark.at);
  }

  #chain(sign: string, name: string, term: () => Expression): Expression {
    let so = term();
    for (let mark = this.#accept(sign); mark !== undefined; mark = this.#accept(sign))
      so = this.call(name, [so, term()], mark.at);
    return so;
  }

  #binary(signs: ReadonlySet<string>, term: () => Expression): Expression {
    let so = term();
    while (signs.has(this.#token.kind)) {
      const { text, at } = this.#take();
      const other = term();
      so = this.call(operators[text] ?? text, [so, other], at);
    }
    return so;
  }

  #relation(): Expression {
    return this.#binary(relations, () => this.#binary(sums, () => this.#binary(products, () => this.#unary())));
  }

  #unary(): Expression {
    const isNumber = this.#is("NUM_INT", 1) || this.#is("NUM_FLOAT", 1);
    const sign = this.#is("'!'") || (this.#is("'-'") && !isNumber) ? this.#token : undefined;
    if (sign === undefined) return this.#member();
    let count = 0;
    while (this.#accept(sign.kind) !== undefined) count += 1;
    const operand = this.#member();
    return count % 2 === 0 ? operand : this.call(sign.text === "!" ? "!_" : "-_", [operand], sign.at);
  }

  #member(): Expression {
    let so = this.#primary();
    for (;;) {
      const dot = this.#accept("'.'");
      const bracket = dot === undefined ? this.#accept("'['") : undefined;
      if (dot !== undefined) so = this.#afterDot(so, dot);
      else if (bracket !== undefined) {
        const isOptional = this.#accept("'?'") !== undefined;
        const index = this.#expression();
        this.#expect("']'");
        so = this.call(isOptional ? "_[?_]" : "_[_]", [so, index], bracket.at);
      } else return so;
    }
  }

  #afterDot(operand: Expression, dot: Token): Expression {
    const isOptional = this.#accept("'?'") !== undefined;
    const escaped = this.#accept("ESC_IDENTIFIER");
    if (escaped !== undefined) return this.fault("unsupported syntax: '`'", operand.at);
    const name = this.#expect("IDENTIFIER");
    if (isOptional) return this.call("_?._", [operand, this.literal(name.text, "string", name.at)], dot.at);
    const open = this.#accept("'('");
    if (open === undefined)
      return { id: this.id(), at: dot.at, kind: "select", operand, field: name.text, isTest: false };
    return this.#called(name.text, open, operand);
  }

  #called(name: string, open: Token, target: Expression | undefined): Expression {
    const args: Expression[] = [];
    if (!this.#is("')'")) {
      args.push(this.#expression());
      while (this.#accept("','") !== undefined) args.push(this.#expression());
    }
    this.#expect("')'");
    return expandMacro(this, { name, args, target, at: open.at }) ?? this.call(name, args, open.at, target);
  }

  #primary(): Expression {
    const token = this.#token;
    switch (token.kind) {
      case "'('": {
        this.#take();
        const inner = this.#expression();
        this.#expect("')'");
        return inner;
      }
      case "'['":
        return this.#list();
      case "'{'":
        return { id: this.id(), at: token.at, kind: "map", entries: this.#entries(() => this.#expression()) };
      case "'.'":
      case "IDENTIFIER":
        return this.#named();
      default:
        return this.#constant();
    }
  }

  #list(): Expression {
    const { at } = this.#take();
    const items: Expression[] = [];
    const optional = new Set<number>();
    while (!this.#is("']'") && !this.#is("','")) {
      if (this.#accept("'?'") !== undefined) optional.add(items.length);
      items.push(this.#expression());
      if (!this.#is("','") || this.#is("']'", 1)) break;
      this.#take();
    }
    this.#accept("','");
    this.#expect("']'");
    return { id: this.id(), at, kind: "list", items, optional };
  }

  #entries(key: () => Expression): Entry[] {
    this.#take();
    const entries: Entry[] = [];
    while (!this.#is("'}'") && !this.#is("','")) {
      const isOptional = this.#accept("'?'") !== undefined;
      const made = key();
      const { at } = this.#expect("':'");
      entries.push({ at, key: made, value: this.#expression(), isOptional });
      if (!this.#is("','") || this.#is("'}'", 1)) break;
      this.#take();
    }
    this.#accept("','");
    this.#expect("'}'");
    return entries;
  }

  /** A variable, a function or an object. */
  #named(): Expression {
    const dot = this.#accept("'.'");
    const first = this.#expect("IDENTIFIER");
    const lead = dot === undefined ? "" : ".";
    let ahead = 0;
    while (this.#is("'.'", ahead) && this.#is("IDENTIFIER", ahead + 1)) ahead += 2;
    if (this.#is("'{'", ahead)) {
      const names = [first.text];
      for (; ahead > 0; ahead -= 2) {
        this.#take();
        names.push(this.#take().text);
      }
      const { at } = this.#token;
      const fields = this.#entries(() => {
        const { text, at: place } = this.#expect("IDENTIFIER");
        return this.literal(text, "string", place);
      });
      return { id: this.id(), at, kind: "struct", name: lead + names.join("."), fields };
    }
    const open = this.#accept("'('");
    const start = (dot ?? first).at;
    if (open === undefined) {
      if (reserved.has(first.text)) return this.fault(`reserved identifier: ${first.text}`, start);
      return { id: this.id(), at: first.at, kind: "identifier", name: lead + first.text };
    }
    const known = this.faults.length;
    const made = this.#called(lead + first.text, open, undefined);
    if (!reserved.has(first.text)) return made;
    this.faults.length = known;
    return this.fault(`reserved identifier: ${first.text}`, start);
  }

  #constant(): Expression {
    const sign = this.#is("NUM_INT", 1) || this.#is("NUM_FLOAT", 1) ? this.#accept("'-'") : undefined;
    const token = this.#take();
    const at = (sign ?? token).at;
    const text = (sign === undefined ? "" : "-") + token.text;
    switch (token.kind) {
      case "NUM_INT":
        return this.#whole(text, at);
      case "NUM_UINT": {
        const value = BigInt(token.text.slice(0, -1));
        return value < 2n ** 64n
          ? this.literal(new Unsigned(value), "uint", at)
          : this.fault("invalid uint literal", at);
      }
      case "NUM_FLOAT":
        return Number.isFinite(Number(text))
          ? this.literal(Number(text), "double", at)
          : this.fault("invalid double literal", at);
      case "STRING":
      case "BYTES": {
        const value = textValue(token);
        if (value === undefined)
          return this.fault(token.kind === "BYTES" ? "unable to unescape string" : "invalid unicode code point", at);
        return this.literal(value, token.kind === "BYTES" ? "bytes" : "string", at);
      }
      case "'true'":
      case "'false'":
        return this.literal(token.kind === "'true'", "bool", at);
      case "'null'":
        return this.literal(null, "null", at);
      default:
        throw new NoExpression();
    }
  }

  #whole(text: string, at: number): Expression {
    const value = text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
    if (value < -(2n ** 63n) || value >= 2n ** 63n) return this.fault("invalid int literal", at);
    return this.literal(value, "int", at);
  }
}
