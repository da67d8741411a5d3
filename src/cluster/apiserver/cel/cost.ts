import type { CelNode } from "./engine.unsafe.js";
import type { Shape } from "./shapes.js";

/** Most that rules may be estimated to cost: one rule with all its runs, and all rules of a definition. */
export const ruleCostLimit = 10_000_000;
export const totalCostLimit = 100_000_000;

interface Estimate {
  readonly cost: number;
  /** What is known of the result; absent: nothing, it may be big. */
  readonly shape: Shape | undefined;
  /** Most elements or characters of the result. */
  readonly size: number;
}

type Scope = ReadonlyMap<string, Shape | undefined>;

const unknownSize = 3 * 1024 * 1024;
const perCharacter = 0.1;

/** The most that an expression can cost, counted as cel-go counts: one a step, a tenth a character, loops by their longest range. */
export function estimateCost(root: CelNode, variables: Scope): number {
  return Math.ceil(estimate(root, variables).cost);
}

function leaf(cost: number, size = 0): Estimate {
  return { cost, shape: undefined, size };
}

function ofShape(cost: number, shape: Shape | undefined): Estimate {
  return { cost, shape, size: shape?.max ?? unknownSize };
}

function estimate(node: CelNode, scope: Scope): Estimate {
  if (node.alternate !== undefined) return estimate(node.alternate, scope);
  switch (node.op) {
    case "value":
      return leaf(0, typeof node.args === "string" ? node.args.length : 0);
    case "id":
      return ofShape(1, scope.get(String(node.args)));
    case "comprehension":
      return comprehension(node, scope);
    case ".":
    case ".?": {
      const [base] = operands(node, scope);
      const field = Array.isArray(node.args) ? String(node.args[1]) : "";
      return ofShape((base?.cost ?? 0) + 1, base?.shape?.fields?.get(field) ?? base?.shape?.values);
    }
    case "[]":
    case "[?]": {
      const [base, index] = operands(node, scope);
      return ofShape((base?.cost ?? 0) + (index?.cost ?? 0) + 1, base?.shape?.items ?? base?.shape?.values);
    }
    default:
      return operation(node, scope);
  }
}

function operands(node: CelNode, scope: Scope): Estimate[] {
  return node.parts.map((part) => estimate(part, scope));
}

function comprehension(node: CelNode, scope: Scope): Estimate {
  const [iterable, step] = node.parts;
  if (iterable === undefined || step === undefined) return leaf(1);
  const range = estimate(iterable, scope);
  const { args } = node;
  const name = typeof args === "object" && args !== null && "iterVarName" in args ? String(args.iterVarName) : "";
  const body = estimate(step, new Map(scope).set(name, range.shape?.items));
  return { cost: range.cost + 1 + range.size * (body.cost + 1), shape: range.shape, size: range.size };
}

function operation(node: CelNode, scope: Scope): Estimate {
  const parts = operands(node, scope);
  const below = parts.reduce((sum, part) => sum + part.cost, 0);
  const sizes = parts.map((part) => part.size);
  const biggest = Math.max(0, ...sizes);
  switch (node.op) {
    case "list":
      return leaf(below + 10, parts.length);
    case "map":
      return leaf(below + 30, parts.length / 2);
    case "==":
    case "!=":
      return leaf(below + 1 + Math.min(...sizes) * perCharacter);
    case "in":
      return leaf(below + 1 + (sizes[1] ?? 0));
    case "+":
      return leaf(below + 1 + sumOf(sizes) * perCharacter, sumOf(sizes));
    case "?:":
      return { cost: below, shape: parts[1]?.shape, size: biggest };
    case "call":
    case "rcall":
      return call(node, below, parts);
    default:
      return leaf(below + 1);
  }
}

const sumOf = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + size, 0);
const constant = new Set([
  "size",
  "has",
  "hasValue",
  "type",
  "startsWith",
  "endsWith",
  "int",
  "dyn",
  "duration",
  "timestamp",
]);

function call(node: CelNode, below: number, parts: readonly Estimate[]): Estimate {
  const name = Array.isArray(node.args) ? String(node.args[0]) : "";
  const size = parts[0]?.size ?? 0;
  if (name === "value" || name === "orValue" || name === "or") return { cost: below + 1, shape: parts[0]?.shape, size };
  if (constant.has(name)) return leaf(below + 1);
  const others = sumOf(parts.slice(1).map((part) => part.size));
  // Searching looks at every pair; what is left reads its operands once.
  const isSearch = name === "contains" || name === "matches" || name === "find" || name === "findAll";
  const pairs = size * perCharacter * (isSearch ? Math.max(1, others * 0.25) : 1);
  return { cost: below + 1 + pairs, shape: undefined, size: size + others };
}

/** How far a cost is above its limit, in upstream's words. */
export function costWords(name: string, cost: number, limit: number): string {
  const factor = cost / limit;
  const shown = factor > 100 ? "more than 100x" : factor < 1.5 ? `${factor.toFixed(6)}x` : `${factor.toFixed(1)}x`;
  return `${name} exceeds budget by factor of ${shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
}
