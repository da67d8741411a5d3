import { endOfText } from "./tokens.js";

/*
 * The grammar of the language as a graph of states, and the readers that walk it. It is read only to say what is wrong with a text:
 * what can stand where, and how a reader of upstream's kind (ANTLR's) goes on after a fault.
 */

/** A place between two tokens. */
export interface State {
  readonly id: number;
  /** What may be done there about a token that does not fit. */
  readonly kind: "plain" | "block" | "loop back" | "stop";
  readonly edges: Edge[];
}

/** A way on: a token, a rule, a condition, or nothing. */
export interface Edge {
  readonly to: State;
  readonly tokens?: ReadonlySet<string>;
  readonly rule?: Rule;
  /** Only where the rule is read at such a precedence or below. */
  readonly guard?: number;
}

/** A named part of the grammar. */
export interface Rule {
  readonly name: string;
  readonly start: State;
  readonly stop: State;
  /** Where readers of it go on. */
  readonly follows: State[];
  readonly body: () => Part;
}

/** What reads a part of the grammar. */
export interface Reader {
  token(state: State, tokens: ReadonlySet<string>): void;
  call(state: State, rule: Rule, precedence: number): void;
  guard(state: State, precedence: number): void;
  /** Makes the next token fit, or throws. */
  sync(state: State): void;
  isNext(tokens: ReadonlySet<string>): boolean;
  /** The number of the way to take, from 1. Throws where none fits. */
  predict(state: State): number;
}

/** A piece of a rule. */
export interface Part {
  readonly start: State;
  readonly end: State;
  read(reader: Reader): void;
}

let ids = 0;

function state(kind: State["kind"] = "plain"): State {
  ids += 1;
  return { id: ids, kind, edges: [] };
}

function token(...kinds: string[]): Part {
  const [start, end, tokens] = [state(), state(), new Set(kinds)];
  start.edges.push({ to: end, tokens });
  return { start, end, read: (reader) => reader.token(start, tokens) };
}

function call(rule: Rule, precedence = 0): Part {
  const [start, end] = [state(), state()];
  start.edges.push({ to: end, rule });
  rule.follows.push(end);
  return { start, end, read: (reader) => reader.call(start, rule, precedence) };
}

function guard(precedence: number): Part {
  const [start, end] = [state(), state()];
  start.edges.push({ to: end, guard: precedence });
  return { start, end, read: (reader) => reader.guard(start, precedence) };
}

function sequence(...parts: Part[]): Part {
  for (const [index, part] of parts.entries()) {
    const next = parts[index + 1];
    if (next !== undefined) part.end.edges.push({ to: next.start });
  }
  const start = parts[0]?.start ?? state();
  return {
    start,
    end: parts.at(-1)?.end ?? start,
    read(reader) {
      for (const part of parts) part.read(reader);
    },
  };
}

function optional(part: Part): Part {
  const [start, end] = [state("block"), state()];
  start.edges.push({ to: part.start }, { to: end });
  part.end.edges.push({ to: end });
  const first = (): ReadonlySet<string> => tokensAfter(part.start);
  return {
    start,
    end,
    read(reader) {
      reader.sync(start);
      if (reader.isNext(first())) part.read(reader);
    },
  };
}

/** As often as may be; `isAhead`: one token does not tell whether it goes on. */
function repeated(part: Part, isAhead = false): Part {
  const [start, back, end] = [state("block"), state("loop back"), state()];
  start.edges.push({ to: part.start }, { to: end });
  part.end.edges.push({ to: back });
  back.edges.push({ to: start });
  const goesOn = (reader: Reader): boolean =>
    isAhead ? reader.predict(start) === 1 : reader.isNext(tokensAfter(part.start));
  return {
    start,
    end,
    read(reader) {
      reader.sync(start);
      while (goesOn(reader)) {
        part.read(reader);
        reader.sync(back);
      }
    },
  };
}

/** Once or more. */
function several(part: Part, isAhead = false): Part {
  const [start, back, end] = [state("block"), state("loop back"), state()];
  start.edges.push({ to: part.start });
  part.end.edges.push({ to: back });
  back.edges.push({ to: start }, { to: end });
  return {
    start,
    end,
    read(reader) {
      reader.sync(start);
      for (;;) {
        part.read(reader);
        reader.sync(back);
        if (isAhead ? reader.predict(back) !== 1 : !reader.isNext(tokensAfter(part.start))) return;
      }
    },
  };
}

function oneOf(...parts: Part[]): Part {
  const [start, end] = [state("block"), state()];
  for (const part of parts) {
    start.edges.push({ to: part.start });
    part.end.edges.push({ to: end });
  }
  return {
    start,
    end,
    read(reader) {
      reader.sync(start);
      parts[reader.predict(start) - 1]?.read(reader);
    },
  };
}

function rule(name: string, make: () => Part): Rule {
  let body: Part | undefined;
  const made: Rule = {
    name,
    start: state(),
    stop: state("stop"),
    follows: [],
    body() {
      if (body !== undefined) return body;
      body = make();
      made.start.edges.push({ to: body.start });
      body.end.edges.push({ to: made.stop });
      return body;
    },
  };
  return made;
}

/** What ends a rule: what comes then depends on who reads it. */
export const ending = "";

const known = new Map<number, ReadonlySet<string>>();

/** The tokens that may come next within a rule, and `ending` where it may end. */
export function tokensAfter(from: State): ReadonlySet<string> {
  const before = known.get(from.id);
  if (before !== undefined) return before;
  const tokens = new Set<string>();
  const seen = new Set<State>();
  const rest = [from];
  for (let at = rest.pop(); at !== undefined; at = rest.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    if (at.kind === "stop") tokens.add(ending);
    for (const edge of at.edges) {
      if (edge.tokens !== undefined) for (const one of edge.tokens) tokens.add(one);
      // No rule is empty.
      else if (edge.rule !== undefined) for (const one of tokensAfter(edge.rule.start)) tokens.add(one);
      else rest.push(edge.to);
    }
  }
  known.set(from.id, tokens);
  return tokens;
}

const listed = (item: () => Part): Part => sequence(item(), repeated(sequence(token("','"), item()), true));

const relations = ["'<'", "'<='", "'>='", "'>'", "'=='", "'!='", "'in'"];

const expression: Rule = rule("expr", () =>
  sequence(call(either), optional(sequence(token("'?'"), call(either), token("':'"), call(expression)))),
);
const either: Rule = rule("conditionalOr", () => sequence(call(both), repeated(sequence(token("'||'"), call(both)))));
const both: Rule = rule("conditionalAnd", () =>
  sequence(call(relation), repeated(sequence(token("'&&'"), call(relation)))),
);
const relation: Rule = rule("relation", () =>
  sequence(call(calculation), repeated(sequence(guard(1), token(...relations), call(relation, 2)), true)),
);
const calculation: Rule = rule("calc", () =>
  sequence(
    call(unary),
    repeated(
      oneOf(
        sequence(guard(2), token("'*'", "'/'", "'%'"), call(calculation, 3)),
        sequence(guard(1), token("'+'", "'-'"), call(calculation, 2)),
      ),
      true,
    ),
  ),
);
const unary: Rule = rule("unary", () =>
  oneOf(
    call(member),
    sequence(several(token("'!'")), call(member)),
    sequence(several(token("'-'"), true), call(member)),
  ),
);
const argumentsOf = (): Part => sequence(token("'('"), optional(call(expressions)), token("')'"));
const member: Rule = rule("member", () =>
  sequence(
    call(primary),
    repeated(
      oneOf(
        sequence(guard(3), token("'.'"), optional(token("'?'")), call(field)),
        sequence(guard(2), token("'.'"), token("IDENTIFIER"), argumentsOf()),
        sequence(guard(1), token("'['"), optional(token("'?'")), call(expression), token("']'")),
      ),
      true,
    ),
  ),
);
const leading = (): Part => optional(token("'.'"));
const braced = (inner: Rule): Part =>
  sequence(token("'{'"), optional(call(inner)), optional(token("','")), token("'}'"));
const primary: Rule = rule("primary", () =>
  oneOf(
    sequence(leading(), token("IDENTIFIER")),
    sequence(leading(), token("IDENTIFIER"), argumentsOf()),
    sequence(token("'('"), call(expression), token("')'")),
    sequence(token("'['"), optional(call(items)), optional(token("','")), token("']'")),
    braced(entries),
    sequence(leading(), token("IDENTIFIER"), repeated(sequence(token("'.'"), token("IDENTIFIER"))), braced(fields)),
    call(literal),
  ),
);
const expressions: Rule = rule("exprList", () =>
  sequence(call(expression), repeated(sequence(token("','"), call(expression)))),
);
const items: Rule = rule("listInit", () => listed(() => call(item)));
const fields: Rule = rule("fieldInitializerList", () =>
  listed(() => sequence(call(fieldName), token("':'"), call(expression))),
);
const fieldName: Rule = rule("optField", () => sequence(optional(token("'?'")), call(field)));
const entries: Rule = rule("mapInitializerList", () =>
  listed(() => sequence(call(item), token("':'"), call(expression))),
);
const field: Rule = rule("escapeIdent", () => oneOf(token("IDENTIFIER"), token("ESC_IDENTIFIER")));
const item: Rule = rule("optExpr", () => sequence(optional(token("'?'")), call(expression)));
const literal: Rule = rule("literal", () => {
  const signed = (kind: string): Part => sequence(optional(token("'-'")), token(kind));
  const plain = ["STRING", "BYTES", "'true'", "'false'", "'null'"].map((kind) => token(kind));
  return oneOf(signed("NUM_INT"), token("NUM_UINT"), signed("NUM_FLOAT"), ...plain);
});

/** A whole text. */
const whole: Rule = rule("start", () => sequence(call(expression), token(endOfText)));

const rules = [
  whole,
  expression,
  either,
  both,
  relation,
  calculation,
  unary,
  member,
  primary,
  expressions,
  items,
  fields,
  fieldName,
  entries,
  field,
  item,
  literal,
];

/** The grammar, with all its parts. */
export function grammar(): Rule {
  for (const one of rules) one.body();
  return whole;
}

const order = [
  endOfText,
  "'=='",
  "'!='",
  "'in'",
  "'<'",
  "'<='",
  "'>='",
  "'>'",
  "'&&'",
  "'||'",
  "'['",
  "']'",
  "'{'",
  "'}'",
  "'('",
  "')'",
  "'.'",
  "','",
  "'-'",
  "'!'",
  "'?'",
  "':'",
  "'+'",
  "'*'",
  "'/'",
  "'%'",
  "'true'",
  "'false'",
  "'null'",
  "NUM_FLOAT",
  "NUM_INT",
  "NUM_UINT",
  "STRING",
  "BYTES",
  "IDENTIFIER",
  "ESC_IDENTIFIER",
];

/** Tokens as faults list them. */
export function shownTokens(tokens: ReadonlySet<string>): string {
  const sorted = order.filter((one) => tokens.has(one));
  return sorted.length === 1 ? (sorted[0] ?? "") : `{${sorted.join(", ")}}`;
}
