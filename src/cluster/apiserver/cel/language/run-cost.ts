import { sizeOf } from "./sizes.js";
import { Opaque } from "./values.js";

const perCharacter = 0.1;
const perPatternCharacter = 0.25;

const share = (size: number, factor: number): number => Math.ceil(size * factor);
const read = (value: unknown): number => share(sizeOf(value), perCharacter);
const search = (text: unknown, pattern: unknown): number =>
  share(sizeOf(text) + 1, perCharacter) * share(sizeOf(pattern), perPatternCharacter);

/** What going through all of a value costs. */
function traversal(value: unknown): number {
  if (typeof value === "string" || value instanceof Uint8Array) return Math.floor(value.length * perCharacter);
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + traversal(item), 0);
  if (!(value instanceof Map)) return 1;
  let sum = 0;
  for (const [key, member] of value) sum += traversal(key) + traversal(member);
  return sum;
}

type Cost = (values: readonly unknown[], result: unknown) => number;

const first: Cost = ([value]) => read(value);
const twice: Cost = ([value]) => share(sizeOf(value), 2 * perCharacter);
const smaller: Cost = ([a, b]) => (a instanceof Opaque ? 1 : share(Math.min(sizeOf(a), sizeOf(b)), perCharacter));
const whole: Cost = ([value]) => traversal(value);
const pattern: Cost = ([text, expression]) => search(text, expression);

const costs: Readonly<Record<string, Cost>> = {
  check: () => 350_000,
  isSorted: whole,
  sum: whole,
  max: whole,
  min: whole,
  indexOf: whole,
  lastIndexOf: whole,
  url: first,
  lowerAscii: first,
  upperAscii: first,
  substring: first,
  trim: first,
  replace: twice,
  split: twice,
  join: (_values, result) => share(sizeOf(result), 2 * perCharacter),
  find: pattern,
  findAll: pattern,
  matches: pattern,
  cidr: first,
  ip: first,
  isIP: first,
  isCIDR: first,
  "ip.isCanonical": twice,
  quantity: first,
  isQuantity: first,
  semver: first,
  isSemver: first,
  containsIP: ([, other]) => 4 + (typeof other === "string" ? read(other) : 0),
  containsCIDR: ([, other]) => 7 + (typeof other === "string" ? read(other) : 0),
  validate: ([, text]) => share(sizeOf(text) + 1, perCharacter) * 32,
  startsWith: first,
  endsWith: first,
  format: first,
  "strings.quote": first,
  contains: ([text, part]) => read(text) * read(part),
  "@in": ([, list]) => (Array.isArray(list) ? list.length : 1),
  "_==_": smaller,
  "_+_": ([a, b]) =>
    typeof a === "string" || a instanceof Uint8Array ? share(sizeOf(a) + sizeOf(b), perCharacter) : 1,
};
const comparison: Cost = (values, result) =>
  typeof values[0] === "string" || values[0] instanceof Uint8Array ? smaller(values, result) : 1;

/** What a call costs once its arguments are known. */
export function callCost(name: string, values: readonly unknown[], result?: unknown): number {
  if (name === "_<_" || name === "_<=_" || name === "_>_" || name === "_>=_") return comparison(values, result);
  return (Object.hasOwn(costs, name) ? costs[name] : undefined)?.(values, result) ?? 1;
}
