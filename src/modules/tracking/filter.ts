import { invalid } from "./errors.js";
import { isWord, type Token, tokenize, unquote } from "./filter-tokens.js";
import { toPythonQuoted } from "./python-text.js";

/** What the left side of a comparison names. */
export type EntityType = "metric" | "parameter" | "tag" | "attribute" | "dataset";

/** One comparison of a filter; all of them must hold. `value` is absent for IS NULL and IS NOT NULL. */
export interface Comparison {
  readonly type: EntityType;
  readonly key: string;
  readonly comparator: Comparator;
  readonly value: string | number | readonly string[] | undefined;
}

export type Comparator =
  | "=="
  | "<>"
  | "="
  | "!="
  | "<"
  | "<="
  | ">"
  | ">="
  | "LIKE"
  | "ILIKE"
  | "NOT LIKE"
  | "IN"
  | "NOT IN"
  | "IS NULL"
  | "IS NOT NULL";

/** What one search allows. */
export interface SearchRules {
  /** Prefix → what it means; a name without prefix is an attribute. */
  readonly entities: Readonly<Record<string, EntityType>>;
  /** Message of an unknown prefix, after the prefix. */
  readonly validEntities: string;
  readonly attributes: readonly string[];
  readonly numericAttributes: readonly string[];
  /** Attributes whose value may be written as a number or as a text; the search itself checks it. */
  readonly mixedAttributes?: readonly string[];
  /** Attributes that may be compared with a list. */
  readonly listAttributes: readonly string[];
  readonly orderAttributes: readonly string[];
  /** Whether messages put quotes around the clauses that they refuse. */
  readonly quotesClauses: boolean;
  /** Entities that IS NULL may be asked of. */
  readonly nullable: readonly EntityType[];
}

type RawValue =
  | { readonly kind: "text" | "number" | "name"; readonly text: string }
  | { readonly kind: "list"; readonly items: readonly Token[]; readonly text: string };

interface RawComparison {
  readonly left: string;
  /** The left side is arithmetic, which is refused, but after what is no clause at all. */
  readonly isExpression: boolean;
  readonly comparator: Comparator;
  readonly right: RawValue | undefined;
}

/** Reads a filter; an empty one has no comparisons. Throws `TrackingError` for what the grammar or the rules do not allow. */
export function parseFilter(filter: string | undefined, rules: SearchRules): Comparison[] {
  if (filter === undefined || filter === "") return [];
  const tokens = tokenize(filter);
  if (tokens.length === 0) throw invalid(`Invalid filter '${filter}'. Could not be parsed.`);
  const end = tokens.findIndex((token) => token.kind === "end");
  if (end >= 0 && end < tokens.length - 1) {
    throw invalid(
      `Search filter contained multiple expression ${toPythonQuoted(filter)}. Provide AND-ed expression list.`,
    );
  }
  return readComparisons(filter, tokens, rules).map((raw) => checkComparison(raw, rules));
}

function readComparisons(filter: string, tokens: readonly Token[], rules: SearchRules): RawComparison[] {
  const found: RawComparison[] = [];
  const refused: string[] = [];
  for (let at = 0; at < tokens.length; ) {
    const token = tokens[at];
    if (token === undefined) break;
    const comparison = readComparison(filter, tokens, at);
    if (comparison !== undefined) {
      found.push(comparison.raw);
      at = comparison.next;
    } else if (isWord(token, "AND")) {
      at += 1;
    } else {
      const next = token.kind === "open" ? closingOf(tokens, at) + 1 : at + 1;
      refused.push(sourceOf(filter, tokens, at, next));
      at = next;
    }
  }
  if (refused.length > 0) {
    const list = rules.quotesClauses ? refused.map((text) => `'${text}'`) : refused;
    throw invalid(`Invalid clause(s) in filter string: ${list.join(", ")}`);
  }
  return found;
}

const WORDS = new Set(["AND", "OR", "NOT", "IN", "IS", "LIKE", "ILIKE", "BETWEEN", "NULL", "TRUE", "FALSE"]);

function readComparison(
  filter: string,
  tokens: readonly Token[],
  at: number,
): { raw: RawComparison; next: number } | undefined {
  const left = tokens[at];
  const isName = left?.kind === "name" && !WORDS.has(left.text.toUpperCase());
  const isExpression = left?.kind === "expression";
  if (left === undefined || !(isName || isExpression || (left.kind === "text" && left.text.startsWith('"'))))
    return undefined;
  const operator = readOperator(tokens, at + 1);
  if (operator === undefined) return undefined;
  const { comparator, next } = operator;
  if (comparator === "IS NULL" || comparator === "IS NOT NULL") {
    if (isExpression) return undefined;
    return { raw: { left: left.text, isExpression, comparator, right: undefined }, next };
  }
  const value = readValue(filter, tokens, next);
  const takesList = comparator === "IN" || comparator === "NOT IN";
  if (takesList && value?.value.kind !== "list") return undefined;
  return value && { raw: { left: left.text, isExpression, comparator, right: value.value }, next: value.next };
}

const SYMBOLS: Readonly<Record<string, Comparator>> = {
  "=": "=",
  "==": "==",
  "!=": "!=",
  "<>": "<>",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
};

function readOperator(tokens: readonly Token[], at: number): { comparator: Comparator; next: number } | undefined {
  const [first, second, third] = tokens.slice(at, at + 3);
  if (first?.kind === "operator") {
    const comparator = SYMBOLS[first.text];
    return comparator && { comparator, next: at + 1 };
  }
  if (isWord(first, "LIKE")) return { comparator: "LIKE", next: at + 1 };
  if (isWord(first, "ILIKE")) return { comparator: "ILIKE", next: at + 1 };
  if (isWord(first, "IN")) return { comparator: "IN", next: at + 1 };
  if (isWord(first, "NOT") && isWord(second, "LIKE")) return { comparator: "NOT LIKE", next: at + 2 };
  if (isWord(first, "NOT") && isWord(second, "IN")) return { comparator: "NOT IN", next: at + 2 };
  if (isWord(first, "IS") && isWord(second, "NULL")) return { comparator: "IS NULL", next: at + 2 };
  if (isWord(first, "IS") && isWord(second, "NOT") && isWord(third, "NULL"))
    return { comparator: "IS NOT NULL", next: at + 3 };
  return undefined;
}

function readValue(
  filter: string,
  tokens: readonly Token[],
  at: number,
): { value: RawValue; next: number } | undefined {
  const token = tokens[at];
  if (token === undefined) return undefined;
  if (token.kind === "open") {
    const close = closingOf(tokens, at);
    const text = sourceOf(filter, tokens, at, close + 1);
    return { value: { kind: "list", items: tokens.slice(at + 1, close), text }, next: close + 1 };
  }
  if (isWord(token, "NULL")) return { value: { kind: "number", text: token.text }, next: at + 1 };
  const isKeyword = token.kind === "name" && WORDS.has(token.text.toUpperCase());
  if (token.kind === "text" || token.kind === "number" || (token.kind === "name" && !isKeyword)) {
    return { value: { kind: token.kind, text: token.text }, next: at + 1 };
  }
  return undefined;
}

function closingOf(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let at = open; at < tokens.length; at++) {
    if (tokens[at]?.kind === "open") depth += 1;
    if (tokens[at]?.kind === "close") depth -= 1;
    if (depth === 0) return at;
  }
  return tokens.length - 1;
}

function sourceOf(filter: string, tokens: readonly Token[], from: number, to: number): string {
  const last = tokens[to - 1];
  return filter.slice(tokens[from]?.start, last === undefined ? undefined : last.start + last.text.length);
}

/** Splits `metrics.loss` into what it is and its key. */
export function parseIdentifier(
  name: string,
  rules: SearchRules,
  attributes: readonly string[],
): { type: EntityType; key: string } {
  const dot = /^[`"]/.test(name) ? -1 : name.indexOf(".");
  const prefix = dot < 0 ? "attribute" : name.slice(0, dot);
  const key = unquote(name.slice(dot + 1));
  const type = dot < 0 ? "attribute" : rules.entities[prefix];
  if (type === undefined) throw invalid(`Invalid entity type '${prefix}'. ${rules.validEntities}`);
  const valid = type === "attribute" ? attributes : type === "dataset" ? DATASET_KEYS : undefined;
  if (valid !== undefined && !valid.includes(key)) {
    throw invalid(
      `Invalid ${type} key '${key}' specified. Valid keys are '{${valid.map((k) => `'${k}'`).join(", ")}}'`,
    );
  }
  return { type, key };
}

const DATASET_KEYS = ["name", "digest", "context"];

function checkComparison(raw: RawComparison, rules: SearchRules): Comparison {
  if (raw.isExpression) throw invalid(`Invalid comparison clause. Expected 'Identifier' found '${raw.left}'`);
  const { type, key } = parseIdentifier(raw.left, rules, rules.attributes);
  const { comparator, right } = raw;
  if (right !== undefined) return { type, key, comparator, value: checkValue({ type, key }, right, rules) };
  if (!rules.nullable.includes(type)) {
    throw invalid(`IS NULL / IS NOT NULL is only supported for tags and params, not for '${type}' '${key}'`);
  }
  return { type, key, comparator, value: undefined };
}

type Side = Pick<Comparison, "type" | "key">;

function checkValue(left: Side, right: RawValue, rules: SearchRules): string | number | readonly string[] {
  const { type, key } = left;
  if (type === "metric") return readNumber(right, "Expected numeric value type for metric.");
  if (type === "attribute" && rules.numericAttributes.includes(key)) {
    return readNumber(right, `Expected numeric value type for numeric attribute: ${key}.`);
  }
  if (right.kind === "number" && type === "attribute" && rules.mixedAttributes?.includes(key) === true)
    return Number(right.text);
  if (right.kind === "list" && type === "attribute" && !rules.listAttributes.includes(key)) throw refusedList(rules);
  if (right.kind === "list" && (type === "attribute" || type === "dataset")) return readList(right);
  if (right.kind === "name") {
    const why = `string value ${right.text}. Use either single or double quotes.`;
    throw invalid(`Parameter value is either not quoted or unidentified quote types used for ${why}`);
  }
  if (right.kind !== "text")
    throw invalid(`Expected a quoted string value for ${EXPECTED[type]}. Got value ${right.text}`);
  return unquote(right.text);
}

const EXPECTED: Readonly<Record<EntityType, string>> = {
  metric: "metric",
  parameter: "parameter (e.g. 'my-value')",
  tag: "tag (e.g. 'my-value')",
  attribute: "attributes",
  dataset: "dataset attributes",
};

function readNumber(right: RawValue, expected: string): number {
  const number = right.kind === "number" ? Number(right.text) : Number.NaN;
  if (Number.isNaN(number)) throw invalid(`${expected} Found ${right.text}`);
  return number;
}

function refusedList(rules: SearchRules): Error {
  const keys = rules.listAttributes.map((key) => `'${key}'`).join(", ");
  return invalid(`Only [${keys}] attributes support comparison with a list of quoted string values.`);
}

function readList(list: { readonly items: readonly Token[]; readonly text: string }): string[] {
  const values = list.items.filter((token) => token.kind !== "comma");
  if (values.length === 0) {
    throw invalid("While parsing a list in the query, expected a non-empty list of string values, but got empty list");
  }
  if (values.some((token) => token.kind !== "text")) {
    throw invalid(
      `While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: ${list.text}`,
    );
  }
  return values.map((token) => unquote(token.text));
}

/** One key to order by. */
export interface Order {
  readonly type: EntityType;
  readonly key: string;
  readonly ascending: boolean;
}

/** Reads one item of `order_by`: a name, then ASC or DESC or nothing. */
export function parseOrder(clause: string, rules: SearchRules): Order {
  const tokens = tokenize(clause);
  const [name, direction] = tokens;
  const isName = name?.kind === "name" || (name?.kind === "text" && name.text.startsWith('"'));
  if (name === undefined || !isName || tokens.length > 2)
    throw invalid(`Invalid order_by clause '${clause}'. Could not be parsed.`);
  if (direction !== undefined && !isWord(direction, "ASC") && !isWord(direction, "DESC")) {
    throw invalid(`Invalid ordering key in order_by clause '${clause}'.`);
  }
  return { ...parseIdentifier(name.text, rules, rules.orderAttributes), ascending: !isWord(direction, "DESC") };
}
