import { InputError } from "../errors/index.js";
import type { Json } from "../kinds/object.js";
import { endOfText, isDigits, memberOf, modifierOf, UNSUPPORTED_MODIFIERS } from "./parts.js";
import { endOfQuery, parseQuery, type Query } from "./query.js";
import { matchesWildcard } from "./wildcard.js";

/** A path that was understood. */
export interface GjsonPath {
  readonly text: string;
  /** What it leads to; `undefined` where there is nothing. `null` is something. */
  find(value: Json): Json | undefined;
}

/** What a part of a path makes of a value; `undefined` is nothing. */
export type Lookup = (value: Json | undefined) => Json | undefined;

const MAX_LENGTH = 4096;
const MAX_DEPTH = 32;

/**
 * Reads a GJSON path. Throws `InputError` naming the place of what is not understood: other modifiers, literals (`!`), `{a,b}`, lines (`..`).
 * Unlike GJSON itself it sees parsed JSON: of several members of one name the last one counts.
 * Source: the syntax that github.com/tidwall/gjson documents, v1.17; compared with its answers.
 */
export function compileGjson(text: string): GjsonPath {
  if (text === "") throw new InputError("the path is empty");
  if (text.length > MAX_LENGTH) throw new InputError(`the path is longer than ${MAX_LENGTH} characters`);
  if (text.startsWith("..")) throw new InputError("paths into lines (`..`) are not supported");
  const find = compileAt(text, 0);
  return { text, find: (value) => find(value) };
}

const fault = (what: string, path: string): InputError =>
  new InputError(`${what}, at \`${path.length > 60 ? `${path.slice(0, 60)}…` : path}\``);

/** Reads a path from its beginning; `depth` counts paths inside of paths. */
export function compileAt(path: string, depth: number): Lookup {
  if (depth > MAX_DEPTH) throw new InputError("the path is nested too deeply");
  const first = path[0];
  if (path.length > 1 && first === "@") {
    const made = compileModifier(path, depth);
    if (made !== undefined) return made;
  }
  if (path.length > 1 && first === "!") throw fault("literals (`!`) are not supported", path);
  if (first === "{") throw fault("objects of paths (`{…}`) are not supported; `[…]` is", path);
  if (first === "[") return compileSeveral(path, depth);
  if (first === "#") return compileHash(path, depth);
  return compileMember(path, depth);
}

function compileModifier(path: string, depth: number): Lookup | undefined {
  const end = path.search(/[.|:]/);
  const name = path.slice(1, end < 0 ? undefined : end);
  if (UNSUPPORTED_MODIFIERS.has(name)) throw fault(`the modifier @${name} is not supported`, path);
  const modify = modifierOf(name);
  if (modify === undefined) return undefined;
  if (end < 0) return modify;
  if (path[end] === ":") throw fault(`@${name} takes no argument`, path);
  const rest = compileAt(path.slice(end + 1), depth + 1);
  return (value) => rest(modify(value));
}

/** `[a,b]`: a list of what these paths lead to. */
function compileSeveral(path: string, depth: number): Lookup {
  const parts: string[] = [];
  let start = 1;
  let level = 1;
  let index = 1;
  for (; index < path.length && level > 0; index++) {
    const character = path[index];
    if (character === "\\") index++;
    else if (character === '"') index = endOfText(path, index);
    else if (character === "[" || character === "(" || character === "{") level++;
    else if (character === "]" || character === ")" || character === "}") level--;
    if ((character === "," && level === 1) || level === 0) {
      parts.push(path.slice(start, index));
      start = index + 1;
    }
  }
  if (level > 0) throw fault("`[` is not closed", path);
  const lookups = parts.map((part) => {
    if (part === "") throw fault("a path is missing between `[` and `]`", path);
    return compileAt(part, depth + 1);
  });
  const rest = path.slice(index);
  const then = rest === "" ? undefined : compileAfter(rest, "`]`", depth);
  return (value) => {
    const found = lookups.map((lookup) => lookup(value)).filter((each) => each !== undefined);
    return then === undefined ? found : then(found);
  };
}

function compileAfter(rest: string, what: string, depth: number): Lookup {
  if (rest[0] !== "." && rest[0] !== "|") throw fault(`after ${what} comes . or |`, rest);
  return compileAt(rest.slice(1), depth + 1);
}

function compileHash(path: string, depth: number): Lookup {
  if (path === "#" || path[1] === "|") {
    const then = path === "#" ? undefined : compileAt(path.slice(2), depth + 1);
    const count: Lookup = (value) => (Array.isArray(value) ? value.length : memberOf(value, "#"));
    return piped(count, then);
  }
  if (path[1] === ".") return compileEach(path, depth);
  if (path[1] === "(" || path[1] === "[") return compileQuery(path, depth);
  return compileMember(path, depth);
}

/** `#.a`: what `a` leads to from each item. */
function compileEach(path: string, depth: number): Lookup {
  const [own, pipe] = splitAtPipe(path.slice(2));
  const each = compileAt(own, depth + 1);
  const then = pipe === undefined ? undefined : compileAt(pipe, depth + 1);
  const collect: Lookup = (value) =>
    Array.isArray(value) ? value.map((item) => each(item)).filter((found) => found !== undefined) : undefined;
  return piped(collect, then);
}

/** `#(a==b)`: the first item of which that holds; with another `#`, all of them. */
function compileQuery(path: string, depth: number): Lookup {
  const end = endOfQuery(path);
  if (end === undefined) throw fault("the query is not closed", path);
  const query = parseQuery(path.slice(2, end), (inner) => compileAt(inner, depth + 1));
  const isAll = path[end + 1] === "#";
  const rest = path.slice(end + (isAll ? 2 : 1));
  if (rest !== "" && rest[0] !== "." && rest[0] !== "|") throw fault("after a query comes . or |", rest);
  const [own, pipe] =
    rest[0] === "." ? splitAtPipe(rest.slice(1)) : [undefined, rest === "" ? undefined : rest.slice(1)];
  const inner = own === undefined ? undefined : compileAt(own, depth + 1);
  const then = pipe === undefined ? undefined : compileAt(pipe, depth + 1);
  return piped((value) => select(value, query, isAll, inner), then);
}

function select(value: Json | undefined, query: Query, isAll: boolean, inner: Lookup | undefined): Json | undefined {
  if (!Array.isArray(value)) return undefined;
  const led = (item: Json): Json | undefined => (inner === undefined ? item : inner(item));
  if (isAll)
    return value
      .filter((item) => query.holds(item))
      .map(led)
      .filter((found) => found !== undefined);
  const found = value.find((item) => query.holds(item));
  return found === undefined ? undefined : led(found);
}

/** What comes after a pipe is asked of what came before it, even of nothing, where there was something to look into. */
function piped(before: Lookup, then: Lookup | undefined): Lookup {
  if (then === undefined) return before;
  return (value) => (typeof value === "object" && value !== null ? then(before(value)) : undefined);
}

/** Splits at the first pipe that is not inside of a query or a list of paths, nor escaped. */
function splitAtPipe(path: string): [own: string, pipe: string | undefined] {
  for (let index = 0; index < path.length; index++) {
    if (path[index] === "\\") index++;
    else if (path[index] === "#" && (path[index + 1] === "(" || path[index + 1] === "["))
      index += endOfQuery(path.slice(index)) ?? 0;
    else if (path[index] === "[") index += (endOfQuery(`#${path.slice(index)}`) ?? 1) - 1;
    else if (path[index] === "|") return [path.slice(0, index), path.slice(index + 1)];
  }
  return [path, undefined];
}

function compileMember(path: string, depth: number): Lookup {
  let end = 0;
  while (end < path.length && path[end] !== "." && path[end] !== "|") end += path[end] === "\\" ? 2 : 1;
  const raw = path.slice(0, end);
  const rest = path.slice(end + 1);
  const isWild = /(?<!\\)(?:\\\\)*[*?]/.test(raw);
  const name = raw.replaceAll(/\\(.)/g, "$1");
  const isPiped = path[end] === "|" || beginsAnew(rest);
  const then = end >= path.length ? undefined : compileAt(rest, depth + 1);
  const inside = isPiped ? undefined : then;
  const member: Lookup = (value) => {
    if (Array.isArray(value)) {
      const item = isDigits(raw) ? value[Number(raw)] : undefined;
      return item === undefined || inside === undefined ? item : inside(item);
    }
    if (!isWild) {
      const found = memberOf(value, name);
      return found === undefined || inside === undefined ? found : inside(found);
    }
    return wildMember(value, raw, inside);
  };
  return isPiped ? piped(member, then) : member;
}

/** The first member of which name and rest of the path fit. */
function wildMember(value: Json | undefined, pattern: string, inside: Lookup | undefined): Json | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  for (const [key, found] of Object.entries(value)) {
    if (found === undefined || !matchesWildcard(key, pattern)) continue;
    const led = inside === undefined ? found : inside(found);
    if (led !== undefined) return led;
  }
  return undefined;
}

/** After a dot a modifier or a list of paths is about the whole result. */
function beginsAnew(rest: string): boolean {
  if (rest[0] === "[") return true;
  const name = /^@([^.|:]*)/.exec(rest)?.[1];
  return name !== undefined && (modifierOf(name) !== undefined || UNSUPPORTED_MODIFIERS.has(name));
}
