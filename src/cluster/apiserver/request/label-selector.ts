import { badRequest } from "../failures.js";

/** One part of a label selector. `matches` gets the label's value, or `undefined` where the object lacks it. */
export interface Requirement {
  readonly key: string;
  matches(value: string | undefined): boolean;
}

interface Token {
  readonly kind: "word" | "symbol" | "end";
  readonly text: string;
}

const end: Token = { kind: "end", text: "" };
const symbols = ["!=", "==", "=", "!", ",", "(", ")", ">", "<"];

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let index = 0;
  while (index < text.length) {
    const rest = text.slice(index);
    const space = /^\s+/.exec(rest)?.[0];
    const symbol = symbols.find((candidate) => rest.startsWith(candidate));
    const word = /^[^\s=!,()<>]+/.exec(rest)?.[0];
    if (space === undefined) {
      if (symbol !== undefined) tokens.push({ kind: "symbol", text: symbol });
      else if (word !== undefined) tokens.push({ kind: "word", text: word });
    }
    index += (space ?? symbol ?? word ?? " ").length;
  }
  return tokens;
}

/**
 * Parses a label selector: `a=1`, `a!=1`, `a in (1,2)`, `a notin (1)`, `a`, `!a`, `a>1`, joined by commas. Throws 400 in
 * upstream's words.
 */
export function parseLabelSelector(text: string): Requirement[] {
  return new Parser(tokenize(text)).parse();
}

class Parser {
  readonly #tokens: readonly Token[];
  #index = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  parse(): Requirement[] {
    const requirements: Requirement[] = [];
    for (;;) {
      const next = this.#peek();
      if (next.kind === "end") return requirements;
      if (next.kind === "symbol" && next.text !== "!") {
        throw badRequest(`found '${next.text}', expected: !, identifier, or 'end of string'`);
      }
      requirements.push(this.#requirement());
      const after = this.#take();
      if (after.kind === "end") return requirements;
      if (after.text !== ",") throw badRequest(`found '${after.text}', expected: ',' or 'end of string'`);
      const following = this.#peek();
      if (following.kind !== "word" && following.text !== "!") {
        throw badRequest(`found '${following.text}', expected: identifier after ','`);
      }
    }
  }

  #peek(): Token {
    return this.#tokens[this.#index] ?? end;
  }

  #take(): Token {
    return this.#tokens[this.#index++] ?? end;
  }

  #requirement(): Requirement {
    const isNegated = this.#peek().text === "!";
    if (isNegated) this.#take();
    const key = this.#take();
    if (key.kind !== "word") throw badRequest(`unable to parse requirement: found '${key.text}', expected: identifier`);
    checkKey(key.text);
    if (isNegated) return { key: key.text, matches: (value) => value === undefined };
    const next = this.#peek();
    if (next.kind === "end" || next.text === ",") return { key: key.text, matches: (value) => value !== undefined };
    return this.#comparison(key.text, this.#take());
  }

  #comparison(key: string, operator: Token): Requirement {
    switch (operator.text) {
      case "=":
      case "==": {
        const wanted = this.#exactValue(key);
        return { key, matches: (value) => value === wanted };
      }
      case "!=": {
        const unwanted = this.#exactValue(key);
        return { key, matches: (value) => value !== unwanted };
      }
      case "in": {
        const set = this.#values(key);
        return { key, matches: (value) => value !== undefined && set.has(value) };
      }
      case "notin": {
        const set = this.#values(key);
        return { key, matches: (value) => value === undefined || !set.has(value) };
      }
      case ">":
      case "<":
        return compareIntegers(key, operator.text, this.#exactValue(key));
      default:
        throw badRequest(
          `unable to parse requirement: found '${operator.text}', expected: in, notin, =, ==, !=, gt, lt`,
        );
    }
  }

  #exactValue(key: string): string {
    const next = this.#peek();
    if (next.kind === "end" || next.text === ",") return "";
    if (next.kind !== "word")
      throw badRequest(`unable to parse requirement: found '${next.text}', expected: identifier`);
    this.#take();
    return checkValue(key, next.text);
  }

  #values(key: string): Set<string> {
    const open = this.#take();
    if (open.text !== "(") throw badRequest(`unable to parse requirement: found '${open.text}' expected: '('`);
    const values = new Set<string>();
    let expectsValue = true;
    for (;;) {
      const token = this.#take();
      if (token.kind === "word") values.add(checkValue(key, token.text));
      else if (token.text === ",") {
        if (expectsValue) values.add("");
      } else if (token.text === ")") {
        if (expectsValue) values.add("");
        return values;
      } else throw badRequest(`unable to parse requirement: found '${token.text}', expected: ',', ')' or identifier`);
      expectsValue = token.text === ",";
    }
  }
}

function compareIntegers(key: string, operator: string, text: string): Requirement {
  if (!/^-?\d+$/.test(text)) {
    throw badRequest(
      `unable to parse requirement: values[0]: Invalid value: "${text}": for 'Gt', 'Lt' operators, the value must be an integer`,
    );
  }
  const bound = Number(text);
  return {
    key,
    matches: (value) => {
      if (value === undefined || !/^-?\d+$/.test(value)) return false;
      return operator === ">" ? Number(value) > bound : Number(value) < bound;
    },
  };
}

const namePattern = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const prefixPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function checkKey(key: string): void {
  const slash = key.indexOf("/");
  const name = key.slice(slash + 1);
  const complaint = (why: string) => badRequest(`unable to parse requirement: <nil>: Invalid value: "${key}": ${why}`);
  if (key.split("/").length > 2)
    throw complaint(
      "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
    );
  if (slash >= 0 && !prefixPattern.test(key.slice(0, slash))) {
    throw complaint(
      "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    );
  }
  if (name.length > 63) throw complaint("name part must be no more than 63 bytes");
  if (!namePattern.test(name)) {
    throw complaint(
      "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    );
  }
}

function checkValue(key: string, value: string): string {
  const complaint = (why: string) =>
    badRequest(`unable to parse requirement: values[0][${key}]: Invalid value: "${value}": ${why}`);
  if (value.length > 63) throw complaint("must be no more than 63 bytes");
  if (value !== "" && !namePattern.test(value)) {
    throw complaint(
      "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    );
  }
  return value;
}
