/*
 * JSON as Go reads it: its parser's words for a text that is none. Everything else about JSON is the same in both worlds.
 */

/** What Go's parser says of a text that is no JSON; `undefined` for one that is. `latin1`: the text has a character a byte. */
export function goSyntaxFault(text: string, encoding: "utf8" | "latin1" = "utf8"): string | undefined {
  return new Reader(text, encoding).fault();
}

const endOfInput = "unexpected end of JSON input";
const literals: Readonly<Record<string, string>> = { t: "true", f: "false", n: "null" };
const spaces = new Set([" ", "\t", "\r", "\n"]);

class Reader {
  readonly #text: string;
  readonly #encoding: "utf8" | "latin1";
  #at = 0;

  constructor(text: string, encoding: "utf8" | "latin1") {
    this.#text = text;
    this.#encoding = encoding;
  }

  /** Without recursion: texts may be nested as deep as they are long. */
  fault(): string | undefined {
    const open: ("{" | "[")[] = [];
    let wantsValue = true;
    let isFirst = false;
    for (;;) {
      this.#skip();
      const found: string | { wantsValue: boolean; isFirst: boolean } = wantsValue
        ? this.#begin(open, isFirst)
        : this.#follow(open);
      if (found === "end") return undefined;
      if (typeof found !== "object") return found;
      ({ wantsValue, isFirst } = found);
    }
  }

  /** A value, or, where one may be missing, the end of what holds it. */
  #begin(open: ("{" | "[")[], isFirst: boolean): string | { wantsValue: boolean; isFirst: boolean } {
    const holder = open.at(-1);
    const here = this.#text[this.#at];
    if (isFirst && here !== undefined && here === (holder === "{" ? "}" : "]")) {
      this.#at += 1;
      open.pop();
      return { wantsValue: false, isFirst: false };
    }
    if (holder === "{") {
      const fault = this.#key();
      if (fault !== undefined) return fault;
    }
    const first = this.#text[this.#at];
    if (first === "{" || first === "[") {
      this.#at += 1;
      open.push(first);
      return { wantsValue: true, isFirst: true };
    }
    const fault = this.#scalar();
    return fault ?? { wantsValue: false, isFirst: false };
  }

  #follow(open: ("{" | "[")[]): string | { wantsValue: boolean; isFirst: boolean } {
    const holder = open.at(-1);
    const here = this.#text[this.#at];
    if (holder === undefined) return here === undefined ? "end" : this.#invalid("after top-level value");
    if (here === ",") {
      this.#at += 1;
      return { wantsValue: true, isFirst: false };
    }
    if (here !== (holder === "{" ? "}" : "]"))
      return this.#invalid(holder === "{" ? "after object key:value pair" : "after array element");
    this.#at += 1;
    open.pop();
    return { wantsValue: false, isFirst: false };
  }

  #key(): string | undefined {
    if (this.#text[this.#at] !== '"') return this.#invalid("looking for beginning of object key string");
    const fault = this.#string();
    if (fault !== undefined) return fault;
    this.#skip();
    if (this.#text[this.#at] !== ":") return this.#invalid("after object key");
    this.#at += 1;
    this.#skip();
    return undefined;
  }

  #scalar(): string | undefined {
    const first = this.#text[this.#at] ?? "";
    if (first === '"') return this.#string();
    if (first === "-" || (first >= "0" && first <= "9")) return this.#number();
    const literal = literals[first];
    return literal === undefined ? this.#invalid("looking for beginning of value") : this.#literal(literal);
  }

  #literal(literal: string): string | undefined {
    for (const expected of literal) {
      if (this.#text[this.#at] !== expected) return this.#invalid(`in literal ${literal} (expecting '${expected}')`);
      this.#at += 1;
    }
    return undefined;
  }

  #number(): string | undefined {
    if (this.#text[this.#at] === "-") this.#at += 1;
    if (!this.#isDigit()) return this.#invalid("in numeric literal");
    if (this.#text[this.#at] === "0") this.#at += 1;
    else this.#digits();
    if (this.#text[this.#at] === ".") {
      this.#at += 1;
      if (!this.#isDigit()) return this.#invalid("after decimal point in numeric literal");
      this.#digits();
    }
    if (!/[eE]/.test(this.#text[this.#at] ?? "")) return undefined;
    this.#at += 1;
    if (/[-+]/.test(this.#text[this.#at] ?? "")) this.#at += 1;
    if (!this.#isDigit()) return this.#invalid("in exponent of numeric literal");
    this.#digits();
    return undefined;
  }

  #string(): string | undefined {
    this.#at += 1;
    for (;;) {
      const here = this.#text[this.#at];
      if (here === undefined) return endOfInput;
      if (here < " ") return this.#invalid("in string literal");
      this.#at += 1;
      if (here === '"') return undefined;
      const fault = here === "\\" ? this.#escape() : undefined;
      if (fault !== undefined) return fault;
    }
  }

  #escape(): string | undefined {
    const what = this.#text[this.#at] ?? "";
    if (what !== "" && '"\\/bfnrt'.includes(what)) this.#at += 1;
    else if (what !== "u") return this.#invalid("in string escape code");
    else {
      this.#at += 1;
      for (let digit = 0; digit < 4; digit += 1) {
        if (!/[0-9a-fA-F]/.test(this.#text[this.#at] ?? ""))
          return this.#invalid("in \\u hexadecimal character escape");
        this.#at += 1;
      }
    }
    return undefined;
  }

  #isDigit(): boolean {
    const here = this.#text[this.#at];
    return here !== undefined && here >= "0" && here <= "9";
  }

  #digits(): void {
    while (this.#isDigit()) this.#at += 1;
  }

  #skip(): void {
    while (spaces.has(this.#text[this.#at] ?? "")) this.#at += 1;
  }

  #invalid(where: string): string {
    if (this.#at >= this.#text.length) return endOfInput;
    const here = this.#text.slice(this.#at, this.#at + 2);
    return `invalid character ${quoted(Buffer.from(here, this.#encoding)[0] ?? 0)} ${where}`;
  }
}

const escapes: Readonly<Record<number, string>> = {
  7: "\\a",
  8: "\\b",
  9: "\\t",
  10: "\\n",
  11: "\\v",
  12: "\\f",
  13: "\\r",
  39: "\\'",
  92: "\\\\",
};

/** A byte in single quotes, as Go's parser shows it: bytes above ASCII as the character of that number. */
function quoted(byte: number): string {
  const known = escapes[byte];
  if (known !== undefined) return `'${known}'`;
  if (byte < 0x20 || byte === 0x7f) return `'\\x${byte.toString(16).padStart(2, "0")}'`;
  const shown = byte >= 0x80 && byte < 0xa1 ? `\\u${byte.toString(16).padStart(4, "0")}` : String.fromCharCode(byte);
  return `'${byte === 0xad ? "\\u00ad" : shown}'`;
}

/** Index of the first byte that is no base64 as Go reads it without padding; -1 where all is well. */
export function rawBase64Fault(text: string): number {
  const wrong = text.search(/[^A-Za-z0-9_-]/);
  if (wrong >= 0) return wrong;
  return text.length % 4 === 1 ? text.length - 1 : -1;
}
