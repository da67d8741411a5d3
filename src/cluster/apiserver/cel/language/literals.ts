import { compilePattern } from "../../../../kernel/schema/index.js";
import type { Checked } from "./checker.js";
import type { Fault } from "./tokens.js";
import { type Expression, partsOf } from "./tree.js";
import { isSameType, type Type, withoutOptional } from "./types.js";
import { earliest, latest, readDuration, readTime } from "./values.js";

const isPattern = (text: string): boolean => {
  try {
    compilePattern(text);
    return true;
  } catch {
    return false;
  }
};

const checks: Readonly<Record<string, (value: unknown) => boolean>> = {
  duration: (value) => typeof value === "bigint" || (typeof value === "string" && readDuration(value) !== undefined),
  timestamp: (value) =>
    (typeof value === "bigint" && value >= earliest && value <= latest) ||
    (typeof value === "string" && readTime(value) !== undefined),
  matches: (value) => typeof value === "string" && isPattern(value),
};

/** Functions in whose arguments lists and maps may be of mixed types. */
const mixing = new Set(["format"]);

/** What is wrong with literals beyond their types: times, durations and patterns that are none; lists and maps of mixed types. */
export function literalFaults(checked: Checked): Fault[] {
  const all = [...walk(checked.root)];
  const faults: Fault[] = [];
  for (const [name, fits] of Object.entries(checks))
    for (const one of all) {
      if (one.kind !== "call" || checked.calls.get(one.id)?.name !== name) continue;
      const [first] = one.args;
      if (first?.kind === "literal" && !fits(first.value))
        faults.push({ message: `invalid ${name} argument`, at: first.at });
    }
  const strict = [...walk(checked.root, mixing)];
  for (const one of strict) if (one.kind === "list") faults.push(...mixedItems(one, checked));
  for (const one of strict) if (one.kind === "map") faults.push(...mixedEntries(one, checked));
  return faults;
}

/** All parts but what is below calls of some functions. */
export function* walk(expression: Expression, without: ReadonlySet<string> = new Set()): Generator<Expression> {
  yield expression;
  if (expression.kind === "call" && without.has(expression.name)) return;
  for (const part of partsOf(expression)) yield* walk(part, without);
}

const mismatch = ({ at }: Expression, wanted: Type, found: Type): Fault => ({
  message: `expected type '${wanted.shown}' but found '${found.shown}'`,
  at,
});

function mixedItems({ items, optional }: Extract<Expression, { kind: "list" }>, checked: Checked): Fault[] {
  let wanted: Type | undefined;
  for (const [index, item] of items.entries()) {
    const whole = checked.typeOf(item);
    const type = optional.has(index) ? withoutOptional(whole)[0] : whole;
    wanted ??= type;
    if (!isSameType(wanted, type)) return [mismatch(item, wanted, type)];
  }
  return [];
}

function mixedEntries({ entries }: Extract<Expression, { kind: "map" }>, checked: Checked): Fault[] {
  const faults: Fault[] = [];
  let keys: Type | undefined;
  let values: Type | undefined;
  for (const { key, value, isOptional } of entries) {
    const keyType = checked.typeOf(key);
    const whole = checked.typeOf(value);
    const valueType = isOptional ? withoutOptional(whole)[0] : whole;
    keys ??= keyType;
    values ??= valueType;
    if (!isSameType(keys, keyType)) faults.push(mismatch(key, keys, keyType));
    if (!isSameType(values, valueType)) faults.push(mismatch(value, values, valueType));
  }
  return faults;
}
