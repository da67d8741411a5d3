import { InputError } from "../errors/index.js";

const compiled = new Map<string, RegExp>();
const cacheLimit = 2000;

/** A regular expression of a schema (RE2 syntax, as far as it means the same here: leading flags as `(?i)`, `\A`, `\z` and POSIX classes are translated). Throws `InputError` if it is none. */
export function compilePattern(pattern: string): RegExp {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const expression = translate(pattern);
  if (compiled.size >= cacheLimit) compiled.clear();
  compiled.set(pattern, expression);
  return expression;
}

const posixClasses: Readonly<Record<string, string>> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  digit: "0-9",
  lower: "a-z",
  upper: "A-Z",
  space: "\\t\\n\\v\\f\\r ",
  xdigit: "0-9A-Fa-f",
  word: "0-9A-Za-z_",
  punct: "!-\\/:-@\\[-`{-~",
};

function translate(pattern: string): RegExp {
  const leading = /^\(\?([ims]+)\)/.exec(pattern);
  const body = (leading === null ? pattern : pattern.slice(leading[0].length))
    .replaceAll("\\A", "^")
    .replaceAll("\\z", "$")
    .replaceAll("(?P<", "(?<")
    .replaceAll(/\[:([a-z]+):\]/g, (whole: string, name: string) => posixClasses[name] ?? whole);
  try {
    return new RegExp(body, leading?.[1] ?? "");
  } catch (cause) {
    throw new InputError(`${JSON.stringify(pattern)} is no regular expression`, { cause });
  }
}
