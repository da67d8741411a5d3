import { add, either, fixed, multiply, type Range, scaled } from "./cost-ranges.js";
import type { Overload, Type } from "./language/index.js";

/** What is known of an argument. */
export interface Known {
  readonly size: Range;
  readonly type: Type;
  /** Its value, if it stands in the text. */
  readonly literal: unknown;
  /** Of a list's items, by the schema. */
  itemSize(): Range;
}

interface Call {
  readonly target: Known | undefined;
  readonly args: readonly Known[];
  readonly overloads: readonly Overload[];
}

/** What a call costs besides its arguments, and how big its result is. */
export interface CallEstimate {
  readonly cost: Range;
  readonly size?: Range;
}

const perCharacter = 0.1;
const perPatternCharacter = 0.25;
const one = fixed(1);

const read = (size: Range): Range => scaled(size, perCharacter);
const search = (text: Range, pattern: Range): Range =>
  multiply(read(add(text, one)), scaled(pattern, perPatternCharacter));

type Estimate = (call: Call, first: Range) => CallEstimate | undefined;

const readFirst: Estimate = (_call, first) => ({ cost: read(first) });
const readTarget: Estimate = ({ target }) =>
  target === undefined ? undefined : { cost: read(target.size), size: target.size };

const perItem: Estimate = ({ target }) => {
  if (target === undefined) return undefined;
  const [item] = target.type.parameters;
  if (item === undefined) return { cost: read(target.size) };
  const isText = item.kind === "string" || item.kind === "bytes";
  return { cost: multiply(target.size, isText ? add(one, read(target.itemSize())) : one) };
};

/** Whether a call may be one whose argument is of a kind, as far as its types tell. */
const mayTake = ({ overloads }: Call, index: number, kind: string): boolean =>
  overloads.some(({ args }) => args[index]?.kind === kind);

const withAddress =
  (base: number): Estimate =>
  (call, first) => ({ cost: mayTake(call, 1, "string") ? add(fixed(base), read(first)) : fixed(base) });

const replaced: Estimate = ({ target, args }) => {
  const [what, by] = args;
  if (target === undefined || what === undefined || by === undefined) return undefined;
  return { cost: scaled(target.size, 2 * perCharacter), size: replacedSize(target.size, what.size, by.size) };
};

/** How long a text can get by replacing parts of it. */
function replacedSize(text: Range, what: Range, by: Range): Range {
  const grown = (size: number, part: number, isOutgrown: boolean): readonly [number, number] => {
    if (part === 0) return [size + 1, size];
    return isOutgrown ? [0, size] : [Math.ceil(size / part), 0];
  };
  const [most, kept] = grown(text.max, what.min, by.max <= what.min);
  const [least, left] = grown(text.min, what.max, what.max <= by.min);
  return add(multiply({ min: least, max: most }, by), { min: left, max: kept });
}

const split: Estimate = ({ target, args }) => {
  if (target === undefined) return undefined;
  const limit = args[1]?.literal;
  const max = typeof limit === "bigint" ? (limit < 0n ? Number.POSITIVE_INFINITY : Number(limit)) : target.size.max;
  return { cost: scaled(target.size, 2 * perCharacter), size: { min: 0, max } };
};

const join: Estimate = ({ target, args: [separator] }) => {
  if (target === undefined) return undefined;
  const count = target.size;
  let size = multiply(count, target.itemSize());
  if (separator !== undefined)
    size = add(size, multiply(separator.size, { min: Math.max(count.min - 1, 0), max: Math.max(count.max - 1, 0) }));
  return { cost: read(size), size };
};

const find: Estimate = ({ target }, first) =>
  target === undefined ? undefined : { cost: search(target.size, first), size: { min: 0, max: target.size.max } };

/** Equality and order of what has a size: as far as the shorter one goes. */
const shorter: Estimate = ({ args: [a, b] }) => {
  if (a === undefined || b === undefined) return undefined;
  const max = Math.min(a.size.max, b.size.max);
  return { cost: read({ min: max > 0 ? 1 : 0, max }) };
};

const own = new Set(["kubernetes.Quantity", "kubernetes.Semver", "net.IP", "net.CIDR"]);

const equal: Estimate = (call, first) => {
  const [a, b] = call.args;
  if (a === undefined || b === undefined || a.type.shown !== b.type.shown) return shorter(call, first);
  if (own.has(a.type.name) || a.type.name.startsWith("kubernetes.authorization.")) return { cost: one };
  if (a.type.name === "kubernetes.NamedFormat") return { cost: read({ min: 1, max: 64 }) };
  return a.type.name === "kubernetes.URL" ? { cost: read(either(one, a.size)) } : shorter(call, first);
};

/** Order of texts costs more than that of numbers. */
const order: Estimate = (call, first) => {
  const isText = mayTake(call, 0, "string") || mayTake(call, 0, "bytes");
  const isOther = call.overloads.some(({ args: [type] }) => type?.kind !== "string" && type?.kind !== "bytes");
  const texts = isText ? (shorter(call, first)?.cost ?? one) : one;
  return { cost: isOther ? either(texts, one) : texts };
};

const sum: Estimate = (call) => {
  const [a, b] = call.args;
  if (a === undefined || b === undefined) return undefined;
  const size = add(a.size, b.size);
  const isText = mayTake(call, 0, "string") || mayTake(call, 0, "bytes");
  const isList = mayTake(call, 0, "list");
  if (!isText) return isList ? { cost: one, size } : { cost: one };
  return { cost: call.overloads.length > 1 ? either(read(size), one) : read(size), size };
};

const bytes: Estimate = (call, first) =>
  mayTake(call, 0, "string") ? { cost: read(first), size: { min: first.min, max: first.max * 4 } } : { cost: one };
const text: Estimate = (call, first) =>
  mayTake(call, 0, "bytes")
    ? {
        cost: call.overloads.length > 1 ? either(read(first), one) : read(first),
        size: { min: first.min / 4, max: first.max },
      }
    : { cost: one };

const estimates: Readonly<Record<string, Estimate>> = {
  check: () => ({ cost: fixed(350_000) }),
  fieldSelector: (_call, first) => ({ cost: selectorCost(first) }),
  labelSelector: (_call, first) => ({ cost: selectorCost(first) }),
  isSorted: perItem,
  sum: perItem,
  max: perItem,
  min: perItem,
  indexOf: perItem,
  lastIndexOf: perItem,
  url: (_call, first) => ({ cost: read(first), size: first }),
  lowerAscii: readTarget,
  upperAscii: readTarget,
  substring: readTarget,
  trim: readTarget,
  replace: replaced,
  split,
  join,
  find,
  findAll: find,
  cidr: readFirst,
  isIP: readFirst,
  isCIDR: readFirst,
  ip: ({ target }, first) => ({ cost: target === undefined ? read(first) : one }),
  "ip.isCanonical": (_call, first) => ({ cost: scaled(first, 2 * perCharacter) }),
  containsIP: withAddress(4),
  containsCIDR: withAddress(7),
  quantity: readFirst,
  isQuantity: readFirst,
  semver: readFirst,
  isSemver: readFirst,
  validate: (_call, first) => ({ cost: scaled(read(first), 128 * perPatternCharacter) }),
  format: ({ target }) => (target === undefined ? undefined : { cost: read(target.size) }),
  bytes,
  string: text,
  "strings.quote": (_call, first) => ({ cost: read(first), size: { min: first.min + 2, max: first.max * 2 + 2 } }),
  startsWith: readFirst,
  endsWith: readFirst,
  matches: ({ target }, first) => (target === undefined ? undefined : { cost: search(target.size, first) }),
  contains: ({ target }, first) =>
    target === undefined ? undefined : { cost: multiply(read(target.size), read(first)) },
  "@in": (call) =>
    mayTake(call, 1, "list")
      ? { cost: either(call.args[1]?.size ?? one, mayTake(call, 1, "map") ? one : (call.args[1]?.size ?? one)) }
      : undefined,
  "_==_": equal,
  "_!=_": shorter,
  "_<_": order,
  "_<=_": order,
  "_>_": order,
  "_>=_": order,
  "_+_": sum,
  "sets.contains": ({ args: [a, b] }) => ({ cost: add(multiply(a?.size ?? one, b?.size ?? one), one) }),
  "sets.intersects": ({ args: [a, b] }) => ({ cost: add(multiply(a?.size ?? one, b?.size ?? one), one) }),
  "sets.equivalent": ({ args: [a, b] }) => ({
    cost: add(multiply(multiply(a?.size ?? one, b?.size ?? one), fixed(2)), one),
  }),
};

const selectorCost = (length: Range): Range => add(add(fixed(10), read(length)), scaled(scaled(length, 0.5), 50));

/** The most that a function costs, in the way upstream estimates it. */
export function callEstimate(name: string, call: Call): CallEstimate {
  const estimate = Object.hasOwn(estimates, name) ? estimates[name] : undefined;
  return estimate?.(call, call.args[0]?.size ?? { min: 0, max: Number.POSITIVE_INFINITY }) ?? { cost: one };
}
