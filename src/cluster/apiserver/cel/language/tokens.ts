/** What a token is: a sign or word by itself, or one of the kinds that have many texts. */
export type TokenKind = string;

export interface Token {
  /** `'+'`, `'true'`, `IDENTIFIER`, `NUM_INT`, …, `<EOF>`: as faults of syntax name it. */
  readonly kind: TokenKind;
  readonly text: string;
  /** In characters, not in UTF-16 units. */
  readonly at: number;
  readonly end: number;
}

/** A fault at a place of an expression. */
export interface Fault {
  readonly message: string;
  /** In characters; absent: nowhere (shown before all others). */
  readonly at: number | undefined;
}

export const endOfText = "<EOF>";

const signs = ["==", "!=", "<=", ">=", "&&", "||", ...Array.from("<>[]{}().,-!?:+*/%")];
const words = new Set(["in", "true", "false", "null"]);

const isDigit = (sign: string | undefined): boolean => sign !== undefined && sign >= "0" && sign <= "9";
const isHex = (sign: string | undefined): boolean => sign !== undefined && /^[\da-fA-F]$/.test(sign);
const isLetter = (sign: string | undefined): boolean => sign !== undefined && /^[A-Za-z_]$/.test(sign);
const isSpace = (sign: string | undefined): boolean => sign !== undefined && /^[\t \r\n\f]$/.test(sign);

/** A token's kind and end, or how far its beginning makes sense. */
type Found = { readonly kind: string; readonly end: number } | { readonly stuck: number };

/** Splits an expression into tokens, as longest matches. What is no token is told and left out. */
export function tokensOf(characters: readonly string[]): { readonly tokens: Token[]; readonly faults: Fault[] } {
  const tokens: Token[] = [];
  const faults: Fault[] = [];
  let at = 0;
  while (at < characters.length) {
    const blank = spaceEnd(characters, at);
    if (blank > at) {
      at = blank;
      continue;
    }
    const found = tokenAt(characters, at);
    if ("stuck" in found) {
      const text = characters.slice(at, found.stuck + 1).join("");
      faults.push({ message: `Syntax error: token recognition error at: '${text}'`, at });
      at = found.stuck + 1;
    } else {
      tokens.push({ kind: found.kind, text: characters.slice(at, found.end).join(""), at, end: found.end });
      at = found.end;
    }
  }
  tokens.push({ kind: endOfText, text: endOfText, at: characters.length, end: characters.length });
  return { tokens, faults };
}

function spaceEnd(characters: readonly string[], from: number): number {
  let at = from;
  while (isSpace(characters[at])) at += 1;
  if (characters[at] === "/" && characters[at + 1] === "/")
    while (at < characters.length && characters[at] !== "\n") at += 1;
  return at;
}

function tokenAt(characters: readonly string[], at: number): Found {
  const first = characters[at];
  const quoted = quotedAt(characters, at);
  if (quoted !== undefined) return quoted;
  if (isLetter(first)) {
    const end = runOf(characters, at, (sign) => isLetter(sign) || isDigit(sign));
    const text = characters.slice(at, end).join("");
    return { kind: words.has(text) ? `'${text}'` : "IDENTIFIER", end };
  }
  if (isDigit(first) || (first === "." && isDigit(characters[at + 1]))) return numberAt(characters, at);
  if (first === "`") return escapedAt(characters, at);
  const two = signs.find((sign) => sign.length === 2 && sign === `${first ?? ""}${characters[at + 1] ?? ""}`);
  if (two !== undefined) return { kind: `'${two}'`, end: at + 2 };
  if (first !== undefined && signs.includes(first)) return { kind: `'${first}'`, end: at + 1 };
  return { stuck: first === "=" || first === "&" || first === "|" ? at + 1 : at };
}

function runOf(characters: readonly string[], from: number, fits: (sign: string | undefined) => boolean): number {
  let at = from;
  while (fits(characters[at])) at += 1;
  return at;
}

function escapedAt(characters: readonly string[], at: number): Found {
  const end = runOf(
    characters,
    at + 1,
    (sign) => isLetter(sign) || isDigit(sign) || (sign !== undefined && ".-/ ".includes(sign)),
  );
  return characters[end] === "`" && end > at + 1 ? { kind: "ESC_IDENTIFIER", end: end + 1 } : { stuck: end };
}

function numberAt(characters: readonly string[], at: number): Found {
  const hexEnd = characters[at] === "0" && characters[at + 1] === "x" ? runOf(characters, at + 2, isHex) : at;
  const isUnsigned = (end: number): boolean => characters[end] === "u" || characters[end] === "U";
  if (hexEnd > at + 2)
    return isUnsigned(hexEnd) ? { kind: "NUM_UINT", end: hexEnd + 1 } : { kind: "NUM_INT", end: hexEnd };
  const whole = runOf(characters, at, isDigit);
  let end = whole;
  if (characters[end] === "." && isDigit(characters[end + 1])) end = runOf(characters, end + 1, isDigit);
  if (characters[end] === "e" || characters[end] === "E") {
    const sign = characters[end + 1] === "+" || characters[end + 1] === "-" ? 1 : 0;
    if (isDigit(characters[end + 1 + sign])) end = runOf(characters, end + 1 + sign, isDigit);
  }
  if (end > whole) return { kind: "NUM_FLOAT", end };
  return isUnsigned(whole) ? { kind: "NUM_UINT", end: whole + 1 } : { kind: "NUM_INT", end: whole };
}

function quotedAt(characters: readonly string[], at: number): Found | undefined {
  let from = at;
  const isBytes = /^[bB]$/.test(characters[from] ?? "");
  if (isBytes) from += 1;
  const isRaw = /^[rR]$/.test(characters[from] ?? "");
  if (isRaw) from += 1;
  const quote = characters[from];
  if (quote !== "'" && quote !== '"') return undefined;
  const kind = isBytes ? "BYTES" : "STRING";
  const isTriple = characters[from + 1] === quote && characters[from + 2] === quote;
  const found = textEnd(characters, isTriple ? from + 3 : from + 1, { quote, isRaw, isTriple });
  if ("end" in found) return { kind, end: found.end };
  if (isTriple) return { kind, end: from + 2 };
  // A prefix that stands before no text is a name.
  return from > at ? undefined : found;
}

interface Quotes {
  readonly quote: string;
  readonly isRaw: boolean;
  readonly isTriple: boolean;
}

function textEnd(characters: readonly string[], from: number, quotes: Quotes): { end: number } | { stuck: number } {
  const { quote, isRaw, isTriple } = quotes;
  let at = from;
  while (at < characters.length) {
    const sign = characters[at];
    if (sign === quote) {
      if (!isTriple) return { end: at + 1 };
      if (characters[at + 1] === quote && characters[at + 2] === quote) return { end: at + 3 };
    }
    if (!isTriple && (sign === "\n" || sign === "\r")) return { stuck: at };
    if (sign === "\\" && !isRaw) {
      const escaped = escapeEnd(characters, at);
      if ("stuck" in escaped) return escaped;
      at = escaped.end;
    } else at += 1;
  }
  return { stuck: at };
}

const escapeLengths: Readonly<Record<string, number>> = { x: 2, X: 2, u: 4, U: 8 };

function escapeEnd(characters: readonly string[], at: number): { end: number } | { stuck: number } {
  const sign = characters[at + 1] ?? "";
  if (sign !== "" && "abfnrtv\"'\\?`".includes(sign)) return { end: at + 2 };
  const length = Object.hasOwn(escapeLengths, sign) ? escapeLengths[sign] : undefined;
  const isOctal = sign >= "0" && sign <= "3" && sign !== "";
  if (length === undefined && !isOctal) return { stuck: at + 1 };
  const count = isOctal ? 2 : (length ?? 0);
  for (let index = 0; index < count; index += 1) {
    const digit = characters[at + 2 + index];
    const fits = isOctal ? digit !== undefined && digit >= "0" && digit <= "7" : isHex(digit);
    if (!fits) return { stuck: at + 2 + index };
  }
  return { end: at + 2 + count };
}

const named: Readonly<Record<string, string>> = { a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" };

/** The value of a text's token: a text, or bytes. `undefined`: it has none. */
export function textValue(token: Token): string | Uint8Array | undefined {
  const isBytes = token.kind === "BYTES";
  let source = (isBytes ? token.text.slice(1) : token.text).replaceAll(/\r\n?/g, "\n");
  const isRaw = /^[rR]/.test(source);
  if (isRaw) source = source.slice(1);
  const quotes = source.length >= 6 && /^('''|""")/.test(source) ? 3 : 1;
  const inner = source.slice(quotes, source.length - quotes);
  if (isRaw || !inner.includes("\\")) return isBytes ? Buffer.from(inner, "utf8") : inner;
  const parts: (string | number)[] = [];
  const pattern = /\\(?:[xX]([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-3][0-7]{2})|(.))|[^\\]+/gsu;
  for (const [whole, two, four, eight, octal, sign] of inner.matchAll(pattern)) {
    const code = octal === undefined ? Number.parseInt(two ?? four ?? eight ?? "", 16) : Number.parseInt(octal, 8);
    if (!Number.isNaN(code)) {
      if (isBytes ? four !== undefined || eight !== undefined : code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return undefined;
      parts.push(code);
    } else parts.push(sign === undefined ? whole : (named[sign] ?? sign));
  }
  if (isBytes)
    return Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part))));
  return parts.map((part) => (typeof part === "number" ? String.fromCodePoint(part) : part)).join("");
}
