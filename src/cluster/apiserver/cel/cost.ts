import { callEstimate, type Known } from "./cost-calls.js";
import { add, either, fixed, multiply, nothing, type Range, unknown } from "./cost-ranges.js";
import { type Checked, type Expression, lengthOf, type Of, type Type } from "./language/index.js";
import { keySize, type Shape } from "./shapes.js";

/** Most that rules may be estimated to cost: one rule with all its runs, and all rules of a definition. */
export const ruleCostLimit = 10_000_000;
export const totalCostLimit = 100_000_000;

/** The sizes of what is in a list or map. */
interface Members {
  readonly kind: "list" | "map";
  readonly key: Range;
  readonly value: Range;
}

/** What a name stands for: a place in the schema, empty where it is made by the expression. */
interface Local {
  readonly path: readonly string[];
  readonly size: Range | undefined;
  readonly members: Members | undefined;
}

/** The most that an expression can cost, by the rules of cel-go and of Kubernetes' functions: one a step, a tenth a character, loops by their longest range. */
export function estimateCost(checked: Checked, shape: Shape): number {
  return new Coster(checked, shape).cost(checked.root).max;
}

const stepCost = fixed(1);
const scalars = new Set(["bool", "double", "duration", "int", "timestamp", "uint"]);

function isScalar(type: Type): boolean {
  const [inner] = type.parameters;
  return scalars.has(type.kind) || (type.name === "optional_type" && inner !== undefined && isScalar(inner));
}

function ownSize(expression: Expression): Range | undefined {
  switch (expression.kind) {
    case "literal": {
      const { value } = expression;
      return fixed(typeof value === "string" ? lengthOf(value) : value instanceof Uint8Array ? value.length : 1);
    }
    case "list":
      return fixed(expression.items.length);
    case "map":
      return fixed(expression.entries.length);
    default:
      return undefined;
  }
}

class Coster {
  readonly #checked: Checked;
  readonly #root: Shape;
  readonly #paths = new Map<number, readonly string[]>();
  readonly #sizes = new Map<number, Range>();
  readonly #members = new Map<number, Members>();
  readonly #locals: { readonly name: string; readonly local: Local }[] = [];

  constructor(checked: Checked, root: Shape) {
    this.#checked = checked;
    this.#root = root;
  }

  cost(expression: Expression): Range {
    switch (expression.kind) {
      case "identifier":
        this.#paths.set(expression.id, this.#localOf(expression.name)?.path ?? [expression.name]);
        return stepCost;
      case "select":
        return this.#select(expression);
      case "call":
        return this.#call(expression);
      case "list":
        return this.#list(expression);
      case "map":
        return this.#map(expression);
      case "loop":
        return this.#isBinding(expression) ? this.#binding(expression) : this.#loop(expression);
      default:
        return nothing;
    }
  }

  #localOf(name: string): Local | undefined {
    return this.#locals.findLast((one) => one.name === name)?.local;
  }

  #pathOf(expression: Expression): readonly string[] {
    const local = expression.kind === "identifier" ? this.#localOf(expression.name) : undefined;
    return local?.path ?? this.#paths.get(expression.id) ?? [];
  }

  #select({ id, operand, field, isTest }: Of<"select">): Range {
    const below = this.cost(operand);
    if (isTest) return below;
    this.#paths.set(id, [...this.#pathOf(operand), field]);
    const { kind } = this.#checked.typeOf(operand);
    return kind === "map" || kind === "struct" || kind === "parameter" ? add(below, stepCost) : below;
  }

  #list({ id, items }: Of<"list">): Range {
    let sum = fixed(10);
    let value: Range = { min: items.length === 0 ? 0 : Number.POSITIVE_INFINITY, max: 0 };
    for (const item of items) {
      sum = add(sum, this.cost(item));
      value = either(value, this.#sizeOrUnknown(item));
    }
    this.#members.set(id, { kind: "list", key: fixed(1), value });
    return sum;
  }

  #map({ id, entries }: Of<"map">): Range {
    let sum = fixed(30);
    const start: Range = { min: entries.length === 0 ? 0 : Number.POSITIVE_INFINITY, max: 0 };
    let [key, value] = [start, start];
    for (const entry of entries) {
      sum = add(add(sum, this.cost(entry.key)), this.cost(entry.value));
      key = either(key, this.#sizeOrUnknown(entry.key));
      value = either(value, this.#sizeOrUnknown(entry.value));
    }
    this.#members.set(id, { kind: "map", key, value });
    return sum;
  }

  #sizeOrUnknown(expression: Expression): Range {
    return this.#size(expression) ?? unknown;
  }

  /** `undefined`: nothing is known of it. */
  #size(expression: Expression): Range | undefined {
    const known = this.#sizes.get(expression.id) ?? ownSize(expression);
    if (known !== undefined) return known;
    const declared = this.#declaredSize(this.#pathOf(expression));
    if (declared !== undefined) {
      this.#sizes.set(expression.id, declared);
      return declared;
    }
    if (isScalar(this.#checked.typeOf(expression))) return fixed(1);
    return expression.kind === "identifier" ? this.#localOf(expression.name)?.size : undefined;
  }

  /** What the schema says of the size of what stands at a path. */
  #declaredSize([variable, ...path]: readonly string[]): Range | undefined {
    if (variable === undefined || variable === "@result") return undefined;
    let shape: Shape | undefined = this.#root;
    for (const name of path) {
      if (name === "@items" || name === "@values") shape = shape?.items ?? shape?.values;
      else if (name === "@keys") return shape?.values === undefined ? undefined : { min: 0, max: keySize };
      else shape = shape?.fields?.get(name);
    }
    return shape === undefined ? undefined : { min: 0, max: shape.max };
  }

  #membersOf(expression: Expression): Members | undefined {
    const known = this.#members.get(expression.id);
    if (known !== undefined || expression.kind !== "identifier") return known;
    return this.#localOf(expression.name)?.members;
  }

  #push(name: string, path: readonly string[], rest: Partial<Local> = {}): void {
    this.#locals.push({ name, local: { path, size: rest.size, members: rest.members } });
  }

  #pushGathered(name: string, start: Expression): void {
    this.#push(name, this.#pathOf(start), { size: this.#size(start), members: this.#membersOf(start) });
  }

  #isBinding({ range, condition, gathered }: Of<"loop">): boolean {
    const isOff = condition.kind === "literal" && condition.value === false;
    return range.kind === "list" && range.items.length === 0 && isOff && gathered !== "@result";
  }

  #binding({ id, range, start, gathered, result }: Of<"loop">): Range {
    const before = add(this.cost(range), this.cost(start));
    this.#pushGathered(gathered, start);
    const sum = add(before, this.cost(result));
    this.#locals.pop();
    this.#copy(id, result);
    return sum;
  }

  #copy(to: number, from: Expression): void {
    const [size, members] = [this.#size(from), this.#membersOf(from)];
    if (size !== undefined) this.#sizes.set(to, size);
    if (members !== undefined) this.#members.set(to, members);
  }

  #pushTurns({ range, variable, second }: Of<"loop">): void {
    const members = this.#membersOf(range);
    const isList = (members?.kind ?? this.#checked.typeOf(range).kind) === "list";
    const path = this.#pathOf(range);
    const at = (name: string): readonly string[] => [...path, name];
    if (second === undefined) {
      this.#push(variable, at(isList ? "@items" : "@keys"), { size: isList ? members?.value : members?.key });
      return;
    }
    this.#push(variable, at(isList ? "@indices" : "@keys"), { size: members?.key });
    this.#push(second, at(isList ? "@items" : "@values"), { size: members?.value });
  }

  #loop(loop: Of<"loop">): Range {
    const { id, range, start, condition, step, result, gathered, second } = loop;
    let sum = add(this.cost(range), this.cost(start));
    this.#pushGathered(gathered, start);
    this.#pushTurns(loop);
    const turn = add(this.cost(condition), this.cost(step));
    this.#locals.length -= second === undefined ? 1 : 2;
    sum = add(sum, this.cost(result));
    this.#locals.pop();
    const count = this.#sizeOrUnknown(range);
    if (start.kind === "literal") this.#sizes.set(id, this.#sizeOrUnknown(start));
    else this.#sizes.set(id, count);
    const made = start.kind === "literal" ? undefined : this.#membersOf(step);
    if (made !== undefined) this.#members.set(id, made);
    return add(sum, multiply(count, turn));
  }

  #known(expression: Expression): Known {
    const size = this.#size(expression);
    const type = this.#checked.typeOf(expression);
    const path = this.#pathOf(expression);
    return {
      size: size ?? unknown,
      type,
      literal: expression.kind === "literal" ? expression.value : undefined,
      itemSize: () => this.#declaredSize(path.length === 0 ? [] : [...path, "@items"]) ?? unknown,
    };
  }

  #call(expression: Of<"call">): Range {
    const { id, name, args, target } = expression;
    const resolved = this.#checked.calls.get(id);
    if (name === "dyn" && args[0] !== undefined) {
      const sum = add(this.cost(args[0]), fixed(1));
      this.#copy(id, args[0]);
      return sum;
    }
    const argCosts = args.map((arg) => this.cost(arg));
    if (resolved === undefined && name !== "_?._") return nothing;
    const receiver = target === undefined || resolved?.isQualified === true ? undefined : target;
    const before = receiver === undefined ? nothing : this.cost(receiver);
    const logic = this.#logic(expression, argCosts);
    if (logic !== undefined) return add(before, logic);
    const whole = argCosts.reduce(add, before);
    if (name === "_[_]") return add(whole, this.#index(expression));
    const known = args.map((arg) => this.#known(arg));
    const found = callEstimate(resolved?.name ?? name, {
      target: receiver === undefined ? undefined : this.#known(receiver),
      args: known,
      overloads: resolved?.overloads ?? [],
    });
    this.#remember(expression, found.size);
    return add(whole, found.cost);
  }

  #remember(expression: Of<"call">, size: Range | undefined): void {
    const [first, second] = expression.args;
    if (expression.name === "_+_" && first !== undefined && second !== undefined)
      this.#join(expression.id, first, second);
    const known = size ?? this.#size(expression);
    if (known !== undefined) this.#sizes.set(expression.id, known);
  }

  #join(id: number, a: Expression, b: Expression): void {
    const [x, y] = [this.#membersOf(a), this.#membersOf(b)];
    if (x !== undefined && y !== undefined)
      this.#members.set(id, { kind: x.kind, key: either(x.key, y.key), value: either(x.value, y.value) });
  }

  /** Operators that do not compute all that they are given. */
  #logic({ id, name, args }: Of<"call">, costs: readonly Range[]): Range | undefined {
    const [first = nothing, second = nothing, third = nothing] = costs;
    if (name === "_&&_" || name === "_||_") return { min: first.min, max: add(first, second).max };
    const [, yes, no] = args;
    if (name !== "_?_:_" || yes === undefined || no === undefined) return undefined;
    const size = either(this.#sizeOrUnknown(yes), this.#sizeOrUnknown(no));
    this.#join(id, yes, no);
    this.#sizes.set(id, size);
    return add(first, either(second, third));
  }

  #index(expression: Of<"call">): Range {
    const [holder] = expression.args;
    if (holder === undefined) return stepCost;
    const step = this.#checked.typeOf(holder).kind === "map" ? "@values" : "@items";
    const { kind } = this.#checked.typeOf(holder);
    if (kind === "map" || kind === "list" || kind === "dyn")
      this.#paths.set(expression.id, [...this.#pathOf(holder), kind === "dyn" ? "@values" : step]);
    const size = this.#membersOf(holder)?.value ?? this.#size(expression);
    if (size !== undefined) this.#sizes.set(expression.id, size);
    return stepCost;
  }
}

/** How far a cost is above its limit, in upstream's words. */
export function costWords(name: string, cost: number, limit: number): string {
  const factor = cost / limit;
  const shown = factor > 100 ? "more than 100x" : factor < 1.5 ? `${factor.toFixed(6)}x` : `${factor.toFixed(1)}x`;
  return `${name} exceeds budget by factor of ${shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
}
