import { HttpError } from "../http1/index.js";
import type { Json } from "../kinds/object.js";

/** JSON in which whole numbers beyond 2^53 are kept as bigint. */
export type ExactJson = string | number | bigint | boolean | null | ExactJson[] | { [key: string]: ExactJson };

const MAX_DEPTH = 100;

/** Parses a request body as JavaScript does: integers beyond 2^53 lose digits. Throws a 400 `HttpError` that says where. */
export function parseJson(text: string): ExactJson {
  try {
    const value: Json & ExactJson = JSON.parse(text);
    return value;
  } catch (error) {
    throw new HttpError(400, `the body is not JSON: ${error instanceof Error ? error.message : "malformed"}`);
  }
}

/** Parses a request body and keeps every integer exact, some ten times slower; for the rare body in which that matters. */
export function parseExactJson(text: string): ExactJson {
  return new ExactParser(text).parse();
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

class ExactParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): ExactJson {
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) this.#fail("something after the value");
    return value;
  }

  #value(depth: number): ExactJson {
    if (depth > MAX_DEPTH) this.#fail(`nested more than ${MAX_DEPTH} deep`);
    this.#space();
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#list(depth);
      case '"':
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  #object(depth: number): ExactJson {
    const entries: [string, ExactJson][] = [];
    this.#at++;
    if (this.#take("}")) return {};
    do {
      this.#space();
      if (this.#text[this.#at] !== '"') this.#fail("expected a name");
      const key = this.#string();
      if (!this.#take(":")) this.#fail("expected a colon");
      entries.push([key, this.#value(depth + 1)]);
    } while (this.#take(","));
    if (!this.#take("}")) this.#fail("expected a comma or the end of the object");
    return Object.fromEntries(entries);
  }

  #list(depth: number): ExactJson {
    const items: ExactJson[] = [];
    this.#at++;
    if (this.#take("]")) return items;
    do items.push(this.#value(depth + 1));
    while (this.#take(","));
    if (!this.#take("]")) this.#fail("expected a comma or the end of the list");
    return items;
  }

  #string(): string {
    const start = this.#at;
    let end = start + 1;
    for (; end < this.#text.length && this.#text[end] !== '"'; end++) if (this.#text[end] === "\\") end++;
    this.#at = end + 1;
    try {
      const value: unknown = JSON.parse(this.#text.slice(start, end + 1));
      if (typeof value === "string") return value;
    } catch {
      this.#at = start;
    }
    return this.#fail("bad text");
  }

  #number(): number | bigint {
    const raw = this.#match(NUMBER) ?? this.#fail("unexpected character");
    const value = Number(raw);
    return Number.isSafeInteger(value) || /[.eE]/.test(raw) ? value : BigInt(raw);
  }

  #word<T extends ExactJson>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail("unexpected character");
    this.#at += word.length;
    return value;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #take(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return;
      this.#at++;
    }
  }

  #fail(what: string): never {
    throw new HttpError(400, `the body is not JSON: ${what} at position ${this.#at}`);
  }
}
