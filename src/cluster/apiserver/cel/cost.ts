import type { CelNode } from "./engine.unsafe.js";
import type { Shape } from "./shapes.js";

/** Most that rules may be estimated to cost: one rule with all its runs, and all rules of a definition. */
export const ruleCostLimit = 10_000_000;
export const totalCostLimit = 100_000_000;

/** How big a value can be: characters, bytes, elements. */
interface Size {
  readonly min: number;
  readonly max: number;
}

const unknown: Size = { min: 0, max: Number.POSITIVE_INFINITY };
const one: Size = { min: 1, max: 1 };

/** What is known of a part of an expression. */
interface Estimate {
  readonly cost: number;
  /** Where in the schema the value comes from: a variable, then names, `@items`, `@values` or `@keys`; empty: nowhere. */
  readonly path: readonly string[];
  readonly type: string;
  /** Absent: by the schema or the type. */
  readonly size?: Size;
  /** Of the elements of a list or map that the expression makes itself. */
  readonly elements?: Size;
}

const perCharacter = 0.1;
const perRegexCharacter = 0.25;

/** Without the nothing that is no number. */
const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);
const scaled = (size: number, factor: number): number => Math.ceil(times(size, factor));
const plus = (a: Size, b: Size): Size => ({ min: a.min + b.min, max: a.max + b.max });
const either = (a: Size, b: Size): Size => ({ min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) });

/** The most that an expression can cost, by the rules of cel-go and of Kubernetes' functions: one a step, a tenth a character, loops by their longest range. */
export function estimateCost(root: CelNode, shape: Shape): number {
  return new Coster(shape).estimate(root, new Map()).cost;
}

/** Values that a comprehension goes through, by the name of its variable. */
type Scope = ReadonlyMap<string, Estimate>;

/** Names under which functions are grouped: they are part of a function's name. */
const groups = new Set(["sets", "math", "strings", "ip", "format", "optional", "cel", "lists", "base64"]);
const scalars = new Set([
  "bool",
  "double",
  "int",
  "uint",
  "type",
  "google.protobuf.Timestamp",
  "google.protobuf.Duration",
]);

class Coster {
  readonly #root: Shape;

  constructor(root: Shape) {
    this.#root = root;
  }

  estimate(node: CelNode, scope: Scope): Estimate {
    if (node.alternate !== undefined) return this.estimate(node.alternate, scope);
    switch (node.op) {
      case "value":
        return { cost: 0, path: [], type: node.type, size: literalSize(node.args) };
      case "id":
        return this.#variable(node, scope);
      case "comprehension":
        return this.#comprehension(node, scope);
      case ".":
        return this.#select(node, scope);
      case "list":
      case "map":
        return this.#aggregate(node, scope);
      case "call":
      case "rcall":
        return this.#call(node, scope);
      default:
        return this.#operation(node, scope);
    }
  }

  #sizeOf({ size, path, type }: Estimate): Size {
    if (size !== undefined) return size;
    const shape = path.length === 0 ? undefined : this.#shapeAt(path);
    if (shape !== undefined) return { min: 0, max: shape.max };
    return scalars.has(type) ? one : unknown;
  }

  #shapeAt([, ...path]: readonly string[]): Shape | undefined {
    let shape: Shape | undefined = this.#root;
    for (const name of path) {
      if (name === "@items" || name === "@values") shape = shape?.items ?? shape?.values;
      else if (name === "@keys") shape = shape?.values === undefined ? undefined : keyShape;
      else shape = shape?.fields?.get(name);
    }
    return shape;
  }

  #variable(node: CelNode, scope: Scope): Estimate {
    const name = String(node.args);
    const local = scope.get(name);
    if (local !== undefined) return { ...local, cost: 1, type: node.type };
    return { cost: 1, path: [name], type: node.type };
  }

  #select(node: CelNode, scope: Scope): Estimate {
    const [operand] = node.parts;
    const field = Array.isArray(node.args) ? String(node.args[1]) : "";
    if (operand === undefined) return { cost: 1, path: [], type: node.type };
    const base = this.estimate(operand, scope);
    const step = base.type === "dyn" || base.type.startsWith("optional<") ? 0 : 1;
    return { cost: base.cost + step, path: [...base.path, field], type: node.type };
  }

  #aggregate(node: CelNode, scope: Scope): Estimate {
    const parts = node.parts.map((part) => this.estimate(part, scope));
    const isMap = node.op === "map";
    const values = isMap ? parts.filter((_, index) => index % 2 === 1) : parts;
    const sizes = values.map((part) => this.#sizeOf(part));
    const count = isMap ? parts.length / 2 : parts.length;
    return {
      cost: costOf(parts) + (isMap ? 30 : 10),
      path: [],
      type: node.type,
      size: { min: count, max: count },
      elements: sizes.length === 0 ? { min: 0, max: 0 } : sizes.reduce(either),
    };
  }

  /** What a loop's variable stands for. */
  #element(range: Estimate): Estimate {
    const isList = !range.type.startsWith("map<");
    const type = /^list<(.*)>$/.exec(range.type)?.[1] ?? (isList ? "dyn" : "string");
    const path = [...range.path, isList ? "@items" : "@keys"];
    return { cost: 1, path, type, ...(range.elements === undefined || !isList ? {} : { size: range.elements }) };
  }

  #comprehension(node: CelNode, scope: Scope): Estimate {
    const loop = loopOf(node);
    if (loop === undefined) return { cost: 1, path: [], type: node.type };
    const range = this.estimate(loop.range, scope);
    const inner = new Map(scope).set(loop.variable, this.#element(range));
    const predicate = loop.predicate === undefined ? undefined : this.estimate(loop.predicate, inner);
    const transform = loop.transform === undefined ? undefined : this.estimate(loop.transform, inner);
    const size = this.#sizeOf(range);
    const turns = (cost: number): number => times(size.max, cost);
    const test = predicate?.cost ?? 0;
    const result = { path: [], type: node.type };
    switch (loop.kind) {
      case "all":
        return { ...result, cost: range.cost + turns(test + 3) + 1, size: one };
      case "exists":
        return { ...result, cost: range.cost + turns(test + 4) + 1, size: one };
      case "exists_one":
        return { ...result, cost: range.cost + turns(test + 2) + 2, size: one };
      case "filter":
        return {
          ...result,
          ...withElements(this.#element(range).size),
          cost: range.cost + 10 + turns(test + 13) + 1,
          size,
        };
      default: {
        const step = 12 + (transform?.cost ?? 0);
        const elements = transform === undefined ? undefined : this.#sizeOf(transform);
        return { ...result, ...withElements(elements), cost: range.cost + 10 + turns(test + step) + 1, size };
      }
    }
  }

  #operation(node: CelNode, scope: Scope): Estimate {
    const parts = node.parts.map((part) => this.estimate(part, scope));
    const [left, right] = parts;
    const below = costOf(parts);
    const result = { path: [], type: node.type };
    if (left === undefined) return { ...result, cost: below + 1 };
    switch (node.op) {
      case "&&":
      case "||":
        return { ...result, cost: below };
      case "?:":
        return this.#choice(node, parts);
      case ".?":
        return { ...result, cost: below + 1 };
      case "[]": {
        const step = left.type.startsWith("map<") ? "@values" : "@items";
        const size = left.elements === undefined ? {} : { size: left.elements };
        return { ...result, ...size, cost: below + 1, path: left.type === "dyn" ? [] : [...left.path, step] };
      }
      default:
        return right === undefined ? { ...result, cost: below + 1 } : this.#binary(node, [left, right], below);
    }
  }

  #choice(node: CelNode, parts: readonly Estimate[]): Estimate {
    const [test, yes, no] = parts;
    if (test === undefined || yes === undefined || no === undefined) return { cost: 1, path: [], type: node.type };
    const size = either(this.#sizeOf(yes), this.#sizeOf(no));
    return { cost: test.cost + Math.max(yes.cost, no.cost), path: [], type: node.type, size };
  }

  #binary(node: CelNode, [left, right]: readonly [Estimate, Estimate], below: number): Estimate {
    const result = { path: [], type: node.type };
    const [a, b] = [this.#sizeOf(left), this.#sizeOf(right)];
    const isText = left.type === "string" || left.type === "bytes";
    switch (node.op) {
      case "==":
      case "!=":
        return { ...result, cost: below + scaled(Math.min(a.max, b.max), perCharacter) };
      case "<":
      case "<=":
      case ">":
      case ">=":
        return { ...result, cost: below + (isText ? scaled(Math.min(a.max, b.max), perCharacter) : 1) };
      case "in":
        return { ...result, cost: below + (right.type.startsWith("map<") ? 1 : b.max) };
      case "+":
        if (isText) return { ...result, cost: below + scaled(a.max + b.max, perCharacter), size: plus(a, b) };
        if (!left.type.startsWith("list")) return { ...result, cost: below + 1 };
        return { ...result, ...withElements(left.elements ?? right.elements), cost: below + 1, size: plus(a, b) };
      default:
        return { ...result, cost: below + 1 };
    }
  }

  #call(node: CelNode, scope: Scope): Estimate {
    const name = Array.isArray(node.args) ? String(node.args[0]) : "";
    if (name === "has") return this.#presence(node, scope);
    const [first, ...rest] = node.parts;
    const isGrouped =
      node.op === "rcall" && first?.op === "id" && groups.has(String(first.args)) && !scope.has(String(first.args));
    const isMember = node.op === "rcall" && !isGrouped;
    const target = isMember && first !== undefined ? this.estimate(first, scope) : undefined;
    const given = node.op === "rcall" ? rest : node.parts;
    const args = given.map((part) => this.estimate(part, scope));
    const below = costOf(args) + (target?.cost ?? 0);
    const full = isGrouped ? `${String(first?.args)}.${name}` : name;
    const [only] = args;
    if (full === "dyn" && only !== undefined) return { ...only, cost: only.cost + 1, type: node.type };
    const found = this.#function(full, target, { args, nodes: given });
    return {
      cost: below + (found?.cost ?? 1),
      path: [],
      type: node.type,
      ...(found?.size === undefined ? {} : { size: found.size }),
    };
  }

  /** To look whether something is there costs nothing; to come there does. */
  #presence(node: CelNode, scope: Scope): Estimate {
    const operand = node.parts[0]?.parts[0];
    const cost = operand === undefined ? 0 : this.estimate(operand, scope).cost;
    return { cost, path: [], type: "bool", size: one };
  }

  #function(
    name: string,
    target: Estimate | undefined,
    { args, nodes }: { readonly args: readonly Estimate[]; readonly nodes: readonly CelNode[] },
  ): { readonly cost: number; readonly size?: Size } | undefined {
    const own = target === undefined ? unknown : this.#sizeOf(target);
    const sizes = args.map((arg) => this.#sizeOf(arg));
    const first = sizes[0] ?? unknown;
    const read = (size: Size): number => scaled(size.max, perCharacter);
    switch (name) {
      case "check":
        return { cost: 350_000 };
      case "isSorted":
      case "sum":
      case "max":
      case "min":
      case "indexOf":
      case "lastIndexOf":
        return {
          cost: target?.type.startsWith("list<") === true ? times(own.max, this.#comparison(target)) : read(own),
        };
      case "url":
        return { cost: read(first), size: first };
      case "lowerAscii":
      case "upperAscii":
      case "substring":
      case "trim":
        return { cost: read(own), size: own };
      case "replace":
        return { cost: scaled(own.max, 2 * perCharacter), size: replacedSize(own, first, sizes[1] ?? unknown) };
      case "split": {
        const limit = nodes[1]?.op === "value" ? Number(nodes[1].args) : own.max;
        return { cost: scaled(own.max, 2 * perCharacter), size: { min: 0, max: limit } };
      }
      case "join":
        return target === undefined ? undefined : this.#join(target, sizes[0]);
      case "find":
      case "findAll":
        return {
          cost: times(scaled(own.max + 1, perCharacter), scaled(first.max, perRegexCharacter)),
          size: { min: 0, max: own.max },
        };
      case "matches": {
        const [text, pattern] = target === undefined ? [first, sizes[1] ?? unknown] : [own, first];
        return { cost: times(scaled(text.max + 1, perCharacter), scaled(pattern.max, perRegexCharacter)) };
      }
      case "contains":
        return { cost: times(read(own), read(first)) };
      case "startsWith":
      case "endsWith":
        return { cost: read(first) };
      default:
        return this.#rareFunction(name, { own, first, second: sizes[1] ?? unknown, type: args[0]?.type ?? "" });
    }
  }

  #rareFunction(
    name: string,
    { own, first, second, type }: { own: Size; first: Size; second: Size; type: string },
  ): { readonly cost: number; readonly size?: Size } | undefined {
    const read = (size: Size): number => scaled(size.max, perCharacter);
    switch (name) {
      case "cidr":
      case "ip":
      case "isIP":
      case "isCIDR":
      case "quantity":
      case "isQuantity":
      case "semver":
      case "isSemver":
        return { cost: read(first) };
      case "ip.isCanonical":
        return { cost: scaled(first.max, 2 * perCharacter) };
      case "containsIP":
        return { cost: 4 + (type === "string" ? read(first) : 0) };
      case "containsCIDR":
        return { cost: 7 + (type === "string" ? read(first) : 0) };
      case "validate":
        return { cost: scaled(read(first), 128 * perRegexCharacter) };
      case "format":
        return { cost: read(own) };
      case "strings.quote":
        return { cost: read(first), size: { min: first.min + 2, max: first.max * 2 + 2 } };
      case "bytes":
        return type === "string" ? { cost: read(first), size: { min: first.min, max: first.max * 4 } } : undefined;
      case "string":
        return type === "bytes" ? { cost: read(first), size: { min: first.min / 4, max: first.max } } : undefined;
      case "sets.contains":
      case "sets.intersects":
        return { cost: times(first.max, second.max) + 1 };
      case "sets.equivalent":
        return { cost: times(times(first.max, second.max), 2) + 1 };
      default:
        return undefined;
    }
  }

  /** What it costs to compare one element of a list. */
  #comparison(list: Estimate): number {
    const element = /^list<(.*)>$/.exec(list.type)?.[1] ?? "";
    if (element !== "string" && element !== "bytes") return 1;
    return 1 + scaled(this.#elementSize(list).max, perCharacter);
  }

  /** By the schema alone, as upstream. */
  #elementSize(list: Estimate): Size {
    const shape = list.path.length === 0 ? undefined : this.#shapeAt([...list.path, "@items"]);
    return shape === undefined ? unknown : { min: 0, max: shape.max };
  }

  #join(list: Estimate, separator: Size | undefined): { readonly cost: number; readonly size: Size } {
    const count = this.#sizeOf(list);
    const element = this.#elementSize(list);
    const texts: Size = { min: times(count.min, element.min), max: times(count.max, element.max) };
    const between = (of: number, size: number): number => times(Math.max(of - 1, 0), size);
    const size =
      separator === undefined
        ? texts
        : plus(texts, { min: between(count.min, separator.min), max: between(count.max, separator.max) });
    return { cost: scaled(size.max, perCharacter), size };
  }
}

const costOf = (parts: readonly Estimate[]): number => parts.reduce((sum, part) => sum + part.cost, 0);
const withElements = (elements: Size | undefined): { elements?: Size } => (elements === undefined ? {} : { elements });

/** Keys of maps may be as long as a request. */
const keyShape: Shape = { type: "string", convert: (value) => value, max: 3 * 1024 * 1024 - 2, minBytes: 2 };

function literalSize(value: unknown): Size {
  const size = typeof value === "string" ? Array.from(value).length : value instanceof Uint8Array ? value.length : 1;
  return { min: size, max: size };
}

/** How long a text can get by replacing parts of it. */
function replacedSize(text: Size, what: Size, by: Size): Size {
  const longest =
    what.min === 0
      ? times(text.max + 1, by.max) + text.max
      : by.max <= what.min
        ? text.max
        : times(Math.ceil(text.max / what.min), by.max);
  const shortest =
    what.max === 0
      ? times(text.min + 1, by.min) + text.min
      : what.max <= by.min
        ? text.min
        : times(Math.ceil(text.min / what.max), by.min);
  return { min: shortest, max: longest };
}

interface Loop {
  readonly kind: "all" | "exists" | "exists_one" | "filter" | "map";
  readonly range: CelNode;
  readonly variable: string;
  readonly predicate: CelNode | undefined;
  readonly transform: CelNode | undefined;
}

/** What a macro became, read back. */
function loopOf(node: CelNode): Loop | undefined {
  const [range, step] = node.parts;
  const { args } = node;
  if (range === undefined || step === undefined || typeof args !== "object" || args === null) return undefined;
  const variable = "iterVarName" in args ? String(args.iterVarName) : "";
  const init = "init" in args && typeof args.init === "object" && args.init !== null ? args.init : {};
  const start = "op" in init && init.op === "value" && "args" in init ? init.args : undefined;
  const [predicate, push] = step.op === "?:" ? step.parts : [undefined, step];
  const loop = { range, variable, predicate };
  if (start !== undefined)
    return { ...loop, kind: start === true ? "all" : start === false ? "exists" : "exists_one", transform: undefined };
  const transform = push?.parts[0];
  const isFilter = predicate !== undefined && transform?.op === "id" && transform.args === variable;
  return { ...loop, kind: isFilter ? "filter" : "map", transform: isFilter ? undefined : transform };
}

/** How far a cost is above its limit, in upstream's words. */
export function costWords(name: string, cost: number, limit: number): string {
  const factor = cost / limit;
  const shown = factor > 100 ? "more than 100x" : factor < 1.5 ? `${factor.toFixed(6)}x` : `${factor.toFixed(1)}x`;
  return `${name} exceeds budget by factor of ${shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
}
