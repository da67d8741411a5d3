import { ending, grammar, type Reader, type Rule, type State, shownTokens, tokensAfter } from "./grammar.js";
import { predict } from "./predict.js";
import { endOfText, type Fault, type Token } from "./tokens.js";

/**
 * What is wrong with the words of a text that is no expression, as upstream tells it: its reader leaves out a token, thinks one up, or
 * goes on where a rule around may go on, and so finds more.
 */
export function syntaxFaults(tokens: readonly Token[], characters: readonly string[]): Fault[] {
  const recovering = new Recovering(tokens, characters);
  recovering.readAll();
  return recovering.faults;
}

/** A rule that is being read. */
interface Reading {
  /** Where the one who reads it goes on; absent: nowhere. */
  readonly follow: State | undefined;
  readonly precedence: number;
  readonly around: Reading | undefined;
}

/** The next token does not fit: the rule is given up. */
class Misfit {
  readonly message: string;
  readonly token: Token;

  constructor(message: string, token: Token) {
    this.message = message;
    this.token = token;
  }
}

/** It was recovered from too many faults. */
class GivenUp {}

const mostRecoveries = 30;

const quoted = (text: string): string =>
  `'${text.replaceAll("\t", "\\t").replaceAll("\n", "\\n").replaceAll("\r", "\\r")}'`;

class Recovering implements Reader {
  readonly faults: Fault[] = [];
  readonly #tokens: readonly Token[];
  readonly #characters: readonly string[];
  #at = 0;
  #reading: Reading = { follow: undefined, precedence: 0, around: undefined };
  #state: State | undefined;
  #isRecovering = false;
  #recoveries = 0;
  #lastAt = -1;
  #lastStates = new Set<State | undefined>();

  constructor(tokens: readonly Token[], characters: readonly string[]) {
    this.#tokens = tokens;
    this.#characters = characters;
  }

  readAll(): void {
    try {
      this.#read(grammar(), this.#reading);
    } catch (thrown) {
      if (!(thrown instanceof GivenUp)) throw thrown;
    }
  }

  #read(rule: Rule, reading: Reading): void {
    const around = this.#reading;
    this.#reading = reading;
    try {
      rule.body().read(this);
    } catch (thrown) {
      if (!(thrown instanceof Misfit)) throw thrown;
      this.#report(thrown.message, thrown.token);
      this.#recover();
    } finally {
      this.#reading = around;
    }
  }

  #ahead(by = 0): Token {
    const token = this.#tokens[Math.min(this.#at + by, this.#tokens.length - 1)];
    return token ?? { kind: endOfText, text: endOfText, at: 0, end: 0 };
  }

  #consume(): void {
    if (this.#ahead().kind !== endOfText) this.#at += 1;
  }

  #report(message: string, { at }: Token): void {
    if (this.#isRecovering) return;
    this.#isRecovering = true;
    this.faults.push({ message: `Syntax error: ${message}`, at });
  }

  #matched(): void {
    this.#isRecovering = false;
    this.#lastStates = new Set();
    this.#lastAt = -1;
  }

  /** Tokens that may come, in the rules around too. */
  #expected(from: State): Set<string> {
    const tokens = new Set(tokensAfter(from));
    let isEnding = tokens.delete(ending);
    for (let at: Reading | undefined = this.#reading; isEnding && at?.follow !== undefined; at = at.around) {
      for (const one of tokensAfter(at.follow)) tokens.add(one);
      isEnding = tokens.delete(ending);
    }
    if (isEnding) tokens.add(endOfText);
    return tokens;
  }

  isNext(tokens: ReadonlySet<string>): boolean {
    return tokens.has(this.#ahead().kind);
  }

  token(state: State, tokens: ReadonlySet<string>): void {
    this.#state = state;
    if (this.isNext(tokens)) this.#matched();
    else if (!this.#withoutOne(state)) {
      this.#thoughtUp(state);
      return;
    }
    this.#consume();
  }

  call(state: State, rule: Rule, precedence: number): void {
    this.#state = state;
    this.#read(rule, { follow: state.edges[0]?.to, precedence, around: this.#reading });
    this.#state = state;
  }

  guard(state: State, precedence: number): void {
    this.#state = state;
    if (precedence < this.#reading.precedence) throw new Misfit("rule failed predicate", this.#ahead());
  }

  predict(state: State): number {
    const found = predict(state, this.#tokens, {
      at: this.#at,
      precedence: this.#reading.precedence,
      stops: stopsOf(),
    });
    if ("way" in found) return found.way;
    const start = this.#ahead();
    const { stuckAt } = found;
    const text = this.#characters.slice(start.at, stuckAt.end).join("");
    const shown = start.kind === endOfText ? endOfText : text;
    throw new Misfit(reworded(`no viable alternative at input ${quoted(shown)}`), stuckAt);
  }

  sync(state: State): void {
    this.#state = state;
    if (this.#isRecovering) return;
    const tokens = tokensAfter(state);
    if (tokens.has(ending) || this.isNext(tokens)) return;
    if (state.kind === "block") {
      if (!this.#withoutOne(state)) throw this.#mismatch(state);
    } else if (state.kind === "loop back") {
      this.#reportUnwanted(state);
      this.#skipTo(new Set([...this.#expected(state), ...this.#followers()]));
    }
  }

  #mismatch(state: State): Misfit {
    const token = this.#ahead();
    return new Misfit(`mismatched input ${quoted(token.text)} expecting ${shownTokens(this.#expected(state))}`, token);
  }

  #reportUnwanted(state: State): void {
    const token = this.#ahead();
    this.#report(`extraneous input ${quoted(token.text)} expecting ${shownTokens(this.#expected(state))}`, token);
  }

  #count(): void {
    if (this.#recoveries === mostRecoveries) {
      this.faults.push({
        message: `Syntax error: error recovery attempt limit exceeded: ${mostRecoveries}`,
        at: this.#ahead().at,
      });
      throw new GivenUp();
    }
    this.#recoveries += 1;
  }

  /** Leaves out the next token, if the one after it fits. */
  #withoutOne(state: State): boolean {
    if (!this.#expected(state).has(this.#ahead(1).kind)) return false;
    this.#reportUnwanted(state);
    this.#consume();
    this.#matched();
    return true;
  }

  /** Goes on as if the wanted token were there, if the next one could come after it. */
  #thoughtUp(state: State): void {
    this.#count();
    const token = this.#ahead();
    const next = state.edges[0]?.to;
    if (next === undefined || !this.#expected(next).has(token.kind)) throw this.#mismatch(state);
    this.#report(`missing ${shownTokens(this.#expected(state))} at ${quoted(token.text)}`, token);
  }

  /** Tokens with which any of the rules around may go on. */
  #followers(): Set<string> {
    const tokens = new Set<string>();
    for (let at: Reading | undefined = this.#reading; at?.follow !== undefined; at = at.around)
      for (const one of tokensAfter(at.follow)) tokens.add(one);
    tokens.delete(ending);
    return tokens;
  }

  #recover(): void {
    this.#count();
    // The same fault once more: at least one token is left behind.
    if (this.#lastAt === this.#at && this.#lastStates.has(this.#state)) this.#consume();
    this.#lastAt = this.#at;
    this.#lastStates.add(this.#state);
    this.#skipTo(this.#followers());
  }

  #skipTo(tokens: ReadonlySet<string>): void {
    while (this.#ahead().kind !== endOfText && !this.isNext(tokens)) this.#consume();
  }
}

let stops: ReadonlyMap<State, Rule> | undefined;

function stopsOf(): ReadonlyMap<State, Rule> {
  if (stops !== undefined) return stops;
  const found = new Map<State, Rule>();
  const rest = [grammar()];
  for (let rule = rest.pop(); rule !== undefined; rule = rest.pop()) {
    if (found.has(rule.stop)) continue;
    found.set(rule.stop, rule);
    rest.push(...rulesBelow(rule.start));
  }
  stops = found;
  return found;
}

function rulesBelow(from: State): Rule[] {
  const seen = new Set<State>();
  const rest = [from];
  const found: Rule[] = [];
  for (let at = rest.pop(); at !== undefined; at = rest.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    for (const { to, rule } of at.edges) {
      if (rule !== undefined) found.push(rule);
      rest.push(to);
    }
  }
  return found;
}

/** A word of the language where a name is wanted has words of its own. */
const reworded = (message: string): string =>
  message.replace(/no viable alternative at input '.(true|false|null)'/, "mismatched input '$1' expecting IDENTIFIER");
