import { faultAt, type Machine } from "./scope.js";
import { isTrue, LuaTable, type LuaValue, numberIn, textOf, typeName } from "./values.js";

/** How tightly operators bind, to the left and to the right. */
export const PRIORITY: Readonly<Record<string, readonly [number, number]>> = {
  or: [1, 1],
  and: [2, 2],
  "<": [3, 3],
  ">": [3, 3],
  "<=": [3, 3],
  ">=": [3, 3],
  "~=": [3, 3],
  "==": [3, 3],
  "..": [5, 4],
  "+": [6, 6],
  "-": [6, 6],
  "*": [7, 7],
  "/": [7, 7],
  "%": [7, 7],
  "^": [10, 9],
};
/** How tightly `not`, `#` and `-` bind. */
export const UNARY_PRIORITY = 8;

const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  "%": (a, b) => a - Math.floor(a / b) * b,
  "^": (a, b) => a ** b,
};

/** An operator with both sides worked out; `and` and `or` are not among them. */
export function binary(
  machine: Machine,
  operator: string,
  [a, b]: readonly [LuaValue, LuaValue],
  line: number,
): LuaValue {
  machine.budget.step();
  const compute = ARITHMETIC[operator];
  if (compute !== undefined) {
    const [left, right] = [numberIn(a), numberIn(b)];
    if (left === undefined || right === undefined)
      throw faultAt(line, `cannot perform ${operator} operation between ${typeName(a)} and ${typeName(b)}`);
    return compute(left, right);
  }
  if (operator === "..") return concatenated(machine, a, b, line);
  if (operator === "==") return a === b;
  if (operator === "~=") return a !== b;
  return compared(operator, a, b, line);
}

function concatenated(machine: Machine, a: LuaValue, b: LuaValue, line: number): string {
  const isText = (value: LuaValue): boolean => typeof value === "string" || typeof value === "number";
  if (!isText(a) || !isText(b))
    throw faultAt(line, `cannot perform concat operation between ${typeName(a)} and ${typeName(b)}`);
  const [left, right] = [textOf(a), textOf(b)];
  machine.budget.take(left.length + right.length);
  return left + right;
}

function compared(operator: string, a: LuaValue, b: LuaValue, line: number): boolean {
  const isSwapped = operator === ">" || operator === ">=";
  const [left, right] = isSwapped ? [b, a] : [a, b];
  const orEqual = operator.length === 2;
  if (typeof left === "number" && typeof right === "number") return orEqual ? left <= right : left < right;
  if (typeof left === "string" && typeof right === "string") return orEqual ? left <= right : left < right;
  throw faultAt(line, `attempt to compare ${typeName(a)} with ${typeName(b)}`);
}

/** `not`, `#` and `-`. */
export function unary(machine: Machine, operator: string, value: LuaValue, line: number): LuaValue {
  machine.budget.step();
  if (operator === "not") return !isTrue(value);
  if (operator === "#") {
    if (typeof value === "string" || value instanceof LuaTable) return value.length;
    throw faultAt(line, `attempt to get length of a ${typeName(value)} value`);
  }
  const number = numberIn(value);
  if (number === undefined) throw faultAt(line, `attempt to perform arithmetic on a ${typeName(value)} value`);
  return -number;
}
