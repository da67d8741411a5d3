import { type Budget, LuaError, type LuaValue } from "./values.js";

/** Where a pattern matched, and what its brackets hold. */
export interface Match {
  readonly start: number;
  readonly end: number;
  readonly captures: readonly LuaValue[];
}

const maxCaptures = 32;
const maxDepth = 200;
const OPEN = -1;
const POSITION = -2;

/** Finds a Lua pattern in a text from `start` on (from 0). Throws `LuaError` for what is no pattern. */
export function findPattern(text: string, pattern: string, start: number, budget: Budget): Match | undefined {
  const isAnchored = pattern.startsWith("^");
  for (let at = start; at <= text.length; at += 1) {
    const matcher = new Matcher(text, pattern, budget);
    const end = matcher.match(at, isAnchored ? 1 : 0);
    if (end !== undefined) return { start: at, end, captures: matcher.captures() };
    if (isAnchored) return undefined;
  }
  return undefined;
}

const CLASSES: Readonly<Record<string, RegExp>> = {
  a: /[A-Za-z]/,
  c: /\p{Cc}/u,
  d: /\d/,
  g: /[\u0021-\u007e]/,
  l: /[a-z]/,
  p: /[!-/:-@[-`{-~]/,
  s: /[ \t-\r]/,
  u: /[A-Z]/,
  w: /[A-Za-z0-9]/,
  x: /[0-9A-Fa-f]/,
};

function inClass(character: string, name: string): boolean {
  const known = CLASSES[name.toLowerCase()];
  if (known === undefined) return character === name;
  return known.test(character) === (name === name.toLowerCase());
}

class Matcher {
  readonly #text: string;
  readonly #pattern: string;
  readonly #budget: Budget;
  #groups: { readonly start: number; readonly length: number }[] = [];
  #depth = 0;

  constructor(text: string, pattern: string, budget: Budget) {
    this.#text = text;
    this.#pattern = pattern;
    this.#budget = budget;
  }

  captures(): LuaValue[] {
    return this.#groups.map(({ start, length }) => {
      if (length === OPEN) throw new LuaError("unfinished capture");
      return length === POSITION ? start + 1 : this.#text.slice(start, start + length);
    });
  }

  /** The end of a match of the pattern from `at` on; `undefined` when there is none. */
  match(from: number, pattern: number): number | undefined {
    this.#depth += 1;
    if (this.#depth > maxDepth) throw new LuaError("pattern too complex");
    try {
      return this.#steps(from, pattern);
    } finally {
      this.#depth -= 1;
    }
  }

  #steps(from: number, first: number): number | undefined {
    let [at, place] = [from, first];
    for (;;) {
      this.#budget.step();
      const rest = this.#rest(at, place);
      if (rest !== undefined) return rest.end;
      const special = this.#pattern.charAt(place) === "%" ? this.#special(at, place) : undefined;
      if (special !== undefined) {
        if (special.end === undefined) return undefined;
        [at, place] = [special.end, special.place];
        continue;
      }
      const end = this.#classEnd(place);
      const repeat = this.#pattern.charAt(end);
      if (repeat === "*" || repeat === "+" || repeat === "-" || repeat === "?")
        return this.#repeated(at, place, { end, repeat });
      if (!this.#single(at, place, end)) return undefined;
      [at, place] = [at + 1, end];
    }
  }

  /** How all of the rest ends, where it is nothing, an end of the text, or begins with a mark of a group. */
  #rest(at: number, place: number): { readonly end: number | undefined } | undefined {
    if (place >= this.#pattern.length) return { end: at };
    const character = this.#pattern.charAt(place);
    if (character === "(") return { end: this.#open(at, place) };
    if (character === ")") return { end: this.#close(at, place) };
    if (character === "$" && place + 1 === this.#pattern.length)
      return { end: at === this.#text.length ? at : undefined };
    return undefined;
  }

  /** `%b`, `%f` and captures by number; `undefined` for other escapes. */
  #special(at: number, place: number): { readonly end: number | undefined; readonly place: number } | undefined {
    const kind = this.#pattern.charAt(place + 1);
    if (kind === "b") return { end: this.#balanced(at, place + 2), place: place + 4 };
    if (kind === "f") {
      const end = this.#classEnd(place + 2);
      const before = at === 0 ? "\u0000" : this.#text.charAt(at - 1);
      const isEdge =
        !this.#inSet(before, place + 2, end) && this.#inSet(this.#text.charAt(at) || "\u0000", place + 2, end);
      return { end: isEdge ? at : undefined, place: end };
    }
    if (!/\d/.test(kind)) return undefined;
    const group = this.#groups[Number(kind) - 1];
    if (group === undefined || group.length < 0) throw new LuaError("invalid capture index");
    const held = this.#text.slice(group.start, group.start + group.length);
    return { end: this.#text.startsWith(held, at) ? at + held.length : undefined, place: place + 2 };
  }

  #open(at: number, place: number): number | undefined {
    const isPosition = this.#pattern.charAt(place + 1) === ")";
    if (this.#groups.length >= maxCaptures) throw new LuaError("too many captures");
    const before = this.#groups;
    this.#groups = [...before, { start: at, length: isPosition ? POSITION : OPEN }];
    const end = this.match(at, place + (isPosition ? 2 : 1));
    if (end === undefined) this.#groups = before;
    return end;
  }

  #close(at: number, place: number): number | undefined {
    const index = this.#groups.findLastIndex(({ length }) => length === OPEN);
    const group = this.#groups[index];
    if (group === undefined) throw new LuaError("invalid pattern capture");
    const before = this.#groups;
    this.#groups = before.with(index, { start: group.start, length: at - group.start });
    const end = this.match(at, place + 1);
    if (end === undefined) this.#groups = before;
    return end;
  }

  #repeated(
    at: number,
    place: number,
    { end, repeat }: { readonly end: number; readonly repeat: string },
  ): number | undefined {
    if (repeat === "?") {
      const taken = this.#single(at, place, end) ? this.match(at + 1, end + 1) : undefined;
      return taken ?? this.match(at, end + 1);
    }
    if (repeat === "-") {
      for (let next = at; ; next += 1) {
        const found = this.match(next, end + 1);
        if (found !== undefined) return found;
        if (!this.#single(next, place, end)) return undefined;
      }
    }
    let count = 0;
    while (this.#single(at + count, place, end)) count += 1;
    for (const least = repeat === "+" ? 1 : 0; count >= least; count -= 1) {
      const found = this.match(at + count, end + 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #balanced(at: number, place: number): number | undefined {
    const [open, close] = [this.#pattern.charAt(place), this.#pattern.charAt(place + 1)];
    if (close === "") throw new LuaError("missing arguments to '%b'");
    if (this.#text.charAt(at) !== open) return undefined;
    let depth = 1;
    for (let next = at + 1; next < this.#text.length; next += 1) {
      this.#budget.step();
      const character = this.#text.charAt(next);
      if (character === close) depth -= 1;
      else if (character === open) depth += 1;
      if (depth === 0) return next + 1;
    }
    return undefined;
  }

  /** Where the single class that begins at `place` ends. */
  #classEnd(place: number): number {
    const character = this.#pattern.charAt(place);
    if (character === "%") {
      if (place + 1 >= this.#pattern.length) throw new LuaError("malformed pattern (ends with '%')");
      return place + 2;
    }
    if (character !== "[") return place + 1;
    let next = place + 1;
    if (this.#pattern.charAt(next) === "^") next += 1;
    do {
      if (next >= this.#pattern.length) throw new LuaError("malformed pattern (missing ']')");
      next += this.#pattern.charAt(next) === "%" ? 2 : 1;
    } while (this.#pattern.charAt(next) !== "]");
    return next + 1;
  }

  #single(at: number, place: number, end: number): boolean {
    this.#budget.step();
    if (at >= this.#text.length) return false;
    return this.#inSet(this.#text.charAt(at), place, end);
  }

  #inSet(character: string, place: number, end: number): boolean {
    const first = this.#pattern.charAt(place);
    if (first === ".") return true;
    if (first === "%") return inClass(character, this.#pattern.charAt(place + 1));
    if (first !== "[") return first === character;
    const isNegated = this.#pattern.charAt(place + 1) === "^";
    return this.#among(character, place + (isNegated ? 2 : 1), end - 1) !== isNegated;
  }

  #among(character: string, from: number, end: number): boolean {
    for (let next = from; next < end; next += 1) {
      const one = this.#pattern.charAt(next);
      if (one === "%") {
        next += 1;
        if (inClass(character, this.#pattern.charAt(next))) return true;
      } else if (this.#pattern.charAt(next + 1) === "-" && next + 2 < end) {
        if (one <= character && character <= this.#pattern.charAt(next + 2)) return true;
        next += 2;
      } else if (one === character) return true;
    }
    return false;
  }
}
