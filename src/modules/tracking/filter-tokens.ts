/** One piece of a filter; `text` is as it stands in the filter. */
export interface Token {
  readonly kind: "name" | "expression" | "text" | "number" | "operator" | "open" | "close" | "comma" | "end" | "other";
  readonly text: string;
  readonly start: number;
}

const PART = String.raw`(?:[\p{L}\p{N}_]+|${"`[^`]*`"}|"[^"]*"|'[^']*')`;
const NAME = String.raw`(?:[\p{L}_][\p{L}\p{N}_]*|${"`[^`]*`"}|"[^"]*"(?=\.))(?:\.${PART})*`;
const PATTERNS: readonly (readonly [Token["kind"], RegExp])[] = [
  // Keys with such characters must be quoted; unquoted they are arithmetic, which filters do not have.
  ["expression", new RegExp(String.raw`${NAME}(?:[-+*/%](?:${NAME}|[\p{N}.]+))+`, "yu")],
  ["name", new RegExp(NAME, "yu")],
  ["text", /'(?:[^']|'')*'|"(?:[^"]|"")*"/y],
  ["number", /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\p{L}\p{N}_])/uy],
  ["operator", /!=|<>|<=|>=|==|=|<|>/y],
  ["open", /\(/y],
  ["close", /\)/y],
  ["comma", /,/y],
  ["end", /;/y],
  ["other", /[\p{L}\p{N}_]+|./suy],
];

/** Cuts a filter or an order clause into tokens, leaving out the white space. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < source.length; ) {
    const space = /\s+/y;
    space.lastIndex = at;
    if (space.test(source)) {
      at = space.lastIndex;
      continue;
    }
    const token = tokenAt(source, at);
    tokens.push(token);
    at += token.text.length;
  }
  return tokens;
}

function tokenAt(source: string, start: number): Token {
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = start;
    const text = pattern.exec(source)?.[0];
    if (text !== undefined) return { kind, text, start };
  }
  return { kind: "other", text: source.charAt(start), start };
}

/** Text between quotes or backticks; other text as it is. */
export function unquote(text: string): string {
  const [first] = text;
  const quoted = text.length >= 2 && first === text.at(-1) && (first === "'" || first === '"' || first === "`");
  return quoted ? text.slice(1, -1) : text;
}

/** Whether a token is this keyword, in any case. */
export function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === "name" && token.text.toUpperCase() === word;
}
