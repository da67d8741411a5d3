import { LuaError } from "./values.js";

/** One word of a script. `column` is that of its last character, from 1. */
export interface Token {
  readonly type: "name" | "keyword" | "number" | "string" | "symbol" | "end";
  readonly text: string;
  readonly value: string | number;
  readonly line: number;
  readonly column: number;
}

const KEYWORDS = new Set(
  "and break do else elseif end false for function goto if in local nil not or repeat return then true until while".split(
    " ",
  ),
);
const SYMBOLS = /^(?:\.\.\.|::|\.\.|==|~=|<=|>=|[-+*/%^#<>=(){}[\];:,.])/;
const NUMBER = /^(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
const maxLength = 256 * 1024;
const ESCAPES: Readonly<Record<string, string>> = {
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** A fault of a script's text, in the words that Karmada's clients know. */
export function syntaxError({ type, text, line, column }: Token, message = "syntax error"): LuaError {
  return new LuaError(
    type === "end"
      ? `<string> at EOF:   ${message}\n`
      : `<string> line:${line}(column:${column}) near '${text}':   ${message}\n`,
  );
}

/** Takes a script apart. Throws `LuaError`. */
export function tokensOf(source: string): Token[] {
  if (source.length > maxLength) throw new LuaError(`a script has at most ${maxLength} characters`);
  return new Lexer(source).all();
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  #lineStart = 0;

  constructor(source: string) {
    this.#source = source;
  }

  all(): Token[] {
    for (;;) {
      this.#skip();
      if (this.#at >= this.#source.length) break;
      this.#next();
    }
    this.#add("end", "", "");
    return this.#tokens;
  }

  #next(): void {
    const rest = this.#source.slice(this.#at, this.#at + 256);
    const first = rest.charAt(0);
    const name = NAME.exec(rest)?.[0];
    if (name !== undefined) {
      this.#at += name.length;
      this.#add(KEYWORDS.has(name) ? "keyword" : "name", name, name);
    } else if (/^\.?\d/.test(rest)) this.#number(rest);
    else if (first === '"' || first === "'") this.#quoted(first);
    else if (/^\[=*\[/.test(rest)) this.#add("string", "", this.#long());
    else {
      const symbol = SYMBOLS.exec(rest)?.[0];
      this.#at += symbol?.length ?? 1;
      if (symbol === undefined) throw this.#fault(first, "Invalid token");
      this.#add("symbol", symbol, symbol);
    }
  }

  #number(rest: string): void {
    const text = NUMBER.exec(rest)?.[0] ?? "";
    this.#at += text.length;
    if (/[A-Za-z0-9_]/.test(this.#source.charAt(this.#at))) throw this.#fault(text, "malformed number");
    this.#add("number", text, Number(text));
  }

  #quoted(quote: string): void {
    let text = "";
    for (this.#at += 1; this.#source.charAt(this.#at) !== quote; ) {
      const character = this.#source.charAt(this.#at);
      if (character === "" || character === "\n") throw this.#fault(text, "unterminated string");
      this.#at += 1;
      text += character === "\\" ? this.#escape() : character;
    }
    this.#at += 1;
    this.#add("string", text, text);
  }

  #escape(): string {
    const character = this.#source.charAt(this.#at);
    this.#at += 1;
    if (character === "\n") this.#newLine();
    const [digits] = /^\d{1,3}/.exec(this.#source.slice(this.#at - 1, this.#at + 2)) ?? [];
    if (digits === undefined) return ESCAPES[character] ?? character;
    this.#at += digits.length - 1;
    if (Number(digits) > 255) throw this.#fault(digits, "escape sequence too large");
    return String.fromCharCode(Number(digits));
  }

  /** A text, or comment, in long brackets. */
  #long(): string {
    const [open = ""] = /^\[=*\[/.exec(this.#source.slice(this.#at, this.#at + 64)) ?? [];
    const close = open.replaceAll("[", "]");
    const end = this.#source.indexOf(close, this.#at + open.length);
    if (open === "" || end < 0) throw this.#fault("", "unterminated multiline string");
    const text = this.#source.slice(this.#at + open.length, end);
    for (let at = this.#at; at < end; at += 1) if (this.#source.charAt(at) === "\n") this.#newLine(at + 1);
    this.#at = end + close.length;
    return text.replace(/^\r?\n/, "");
  }

  #skip(): void {
    for (;;) {
      const character = this.#source.charAt(this.#at);
      if (character === "\n") {
        this.#at += 1;
        this.#newLine();
      } else if (character !== "" && /\s/.test(character)) this.#at += 1;
      else if (this.#source.startsWith("--", this.#at)) this.#comment();
      else return;
    }
  }

  #comment(): void {
    this.#at += 2;
    if (/^\[=*\[/.test(this.#source.slice(this.#at, this.#at + 64))) {
      this.#long();
      return;
    }
    const end = this.#source.indexOf("\n", this.#at);
    this.#at = end < 0 ? this.#source.length : end;
  }

  #newLine(start = this.#at): void {
    this.#line += 1;
    this.#lineStart = start;
  }

  #add(type: Token["type"], text: string, value: string | number): void {
    this.#tokens.push({ type, text, value, line: this.#line, column: this.#at - this.#lineStart });
  }

  #fault(text: string, message: string): LuaError {
    return syntaxError(
      { type: "string", text, value: text, line: this.#line, column: this.#at - this.#lineStart },
      message,
    );
  }
}
