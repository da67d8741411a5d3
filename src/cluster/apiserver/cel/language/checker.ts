import type { Environment, FunctionGroup, Overload } from "./environment.js";
import type { Fault } from "./tokens.js";
import { type Expression, type Of, partsOf } from "./tree.js";
import {
  isDyn,
  isDynOrError,
  isSameType,
  listOf,
  mapOf,
  mostGeneral,
  optionalOf,
  parameterOf,
  Substitutions,
  type Type,
  types,
  withoutOptional,
} from "./types.js";

/** What a call calls. */
export interface Resolved {
  readonly name: string;
  /** Those that its arguments fit, as far as is known. */
  readonly overloads: readonly Overload[];
  /** What stands before the name is part of it, no receiver. */
  readonly isQualified: boolean;
}

/** An expression whose types go together. */
export interface Checked {
  readonly root: Expression;
  typeOf(expression: Expression): Type;
  readonly calls: ReadonlyMap<number, Resolved>;
  /** Selections that are the name of one variable: `authorizer.requestResource`. */
  readonly names: ReadonlyMap<number, string>;
}

/** Checks types; every fault is told. */
export function check(root: Expression, environment: Environment): Checked | { readonly faults: readonly Fault[] } {
  const checker = new Checker(environment);
  checker.check(root);
  if (checker.faults.length > 0) return { faults: checker.faults };
  return {
    root,
    typeOf: (expression) => checker.finalTypeOf(expression),
    calls: checker.calls,
    names: checker.names,
  };
}

/** Names as they are written; `undefined`: no name. */
export function qualifiedName(expression: Expression): string | undefined {
  if (expression.kind === "identifier") return expression.name;
  if (expression.kind !== "select" || expression.isTest) return undefined;
  const before = qualifiedName(expression.operand);
  return before === undefined ? undefined : `${before}.${expression.field}`;
}

class Checker {
  readonly faults: Fault[] = [];
  readonly calls = new Map<number, Resolved>();
  readonly names = new Map<number, string>();
  readonly #environment: Environment;
  readonly #types = new Map<number, Type>();
  readonly #substitutions = new Substitutions();
  readonly #locals: ReadonlyMap<string, Type>[] = [];
  #fresh = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  finalTypeOf({ id }: Expression): Type {
    return this.#substitutions.apply(this.#types.get(id) ?? types.dyn, true);
  }

  #fault({ at }: { readonly at: number }, message: string): void {
    this.faults.push({ message, at });
  }

  #typeOf({ id }: Expression): Type {
    return this.#types.get(id) ?? types.error;
  }

  #mismatch(at: Expression, wanted: Type, found: Type): void {
    this.#fault(at, `expected type '${wanted.shown}' but found '${found.shown}'`);
  }

  #newParameter(): Type {
    this.#fresh += 1;
    return parameterOf(`_var${this.#fresh - 1}`);
  }

  #lookUp(name: string): Type | undefined {
    for (let index = this.#locals.length - 1; index >= 0; index -= 1) {
      const local = this.#locals[index]?.get(name);
      if (local !== undefined) return local;
    }
    return this.#environment.typeOfName(name);
  }

  /** Checks a part and what is below it; its type. */
  check(expression: Expression): Type {
    const type = this.#check(expression);
    this.#types.set(expression.id, type);
    return type;
  }

  #check(expression: Expression): Type {
    switch (expression.kind) {
      case "literal":
        return types[expression.type];
      case "identifier":
        return this.#lookUp(expression.name) ?? this.#undeclared(expression, expression.name);
      case "select":
        return this.#select(expression);
      case "call":
        return this.#call(expression);
      case "list":
        return this.#list(expression);
      case "map":
        return this.#map(expression);
      case "struct":
        return this.#struct(expression);
      case "loop":
        return this.#loop(expression);
      default:
        return types.error;
    }
  }

  #undeclared(at: Expression, name: string): Type {
    this.#fault(at, `undeclared reference to '${name}' (in container '')`);
    return types.error;
  }

  #select(expression: Of<"select">): Type {
    const name = qualifiedName(expression);
    const type = name === undefined ? undefined : this.#lookUp(name);
    if (name !== undefined && type !== undefined) {
      this.names.set(expression.id, name);
      return type;
    }
    const result = this.#field(expression, expression.operand, expression.field, false);
    return expression.isTest ? types.bool : this.#substitutions.apply(result);
  }

  #field(at: Expression, operand: Expression, field: string, isOptional: boolean): Type {
    const [target, wasOptional] = withoutOptional(this.#substitutions.apply(this.check(operand)));
    const result = this.#fieldType(at, target, field);
    return wasOptional || isOptional ? optionalOf(result) : result;
  }

  #fieldType(at: Expression, target: Type, field: string): Type {
    switch (target.kind) {
      case "map":
        return target.parameters[1] ?? types.dyn;
      case "struct": {
        const fields = this.#environment.fieldsOf(target.name);
        const type = fields?.get(field);
        if (type !== undefined) return type;
        this.#fault(
          at,
          fields === undefined ? `unexpected failed resolution of '${target.name}'` : `undefined field '${field}'`,
        );
        return types.error;
      }
      case "parameter":
        this.#substitutions.assign([types.dyn], [target]);
        return types.dyn;
      default:
        if (!isDynOrError(target)) this.#fault(at, `type '${target.shown}' does not support field selection`);
        return types.dyn;
    }
  }

  #call(expression: Of<"call">): Type {
    const { name, args, target } = expression;
    if (name === "_?._" && target === undefined) return this.#optionalSelect(expression);
    for (const arg of args) this.check(arg);
    const before = target === undefined ? undefined : qualifiedName(target);
    const qualified = before === undefined ? undefined : this.#environment.functionOf(`${before}.${name}`);
    if (qualified !== undefined) return this.#resolve(expression, qualified, { target: undefined, isQualified: true });
    if (target !== undefined) this.check(target);
    const group = this.#environment.functionOf(name);
    if (group === undefined) return this.#undeclared(expression, name);
    return this.#resolve(expression, group, { target, isQualified: false });
  }

  #optionalSelect(expression: Of<"call">): Type {
    const [operand, field] = expression.args;
    if (operand === undefined || field?.kind !== "literal") return types.error;
    return this.#substitutions.apply(this.#field(expression, operand, String(field.value), true));
  }

  #resolve(
    expression: Of<"call">,
    group: FunctionGroup,
    { target, isQualified }: { readonly target: Expression | undefined; readonly isQualified: boolean },
  ): Type {
    if (group.name === "_&&_" || group.name === "_||_") return this.#logic(expression, group);
    const given = [...(target === undefined ? [] : [target]), ...expression.args];
    const argTypes = given.map((arg) => this.#typeOf(arg));
    const found: Overload[] = [];
    let result: Type | undefined;
    for (const overload of group.overloads) {
      if (overload.isMember !== (target !== undefined)) continue;
      const [resultType, ...wanted] = this.#instance(overload);
      if (resultType === undefined || !this.#substitutions.assign(argTypes, wanted)) continue;
      found.push(overload);
      const one = this.#substitutions.apply(resultType);
      if (result === undefined) result = one;
      else if (!isDyn(result) && !isSameType(one, result)) result = types.dyn;
    }
    if (result === undefined)
      return this.#noOverload(expression, group.name, { argTypes, isMember: target !== undefined });
    this.calls.set(expression.id, { name: group.name, overloads: found, isQualified });
    return result;
  }

  #logic(expression: Of<"call">, { name, overloads }: FunctionGroup): Type {
    let isRight = true;
    for (const arg of expression.args) {
      const type = this.#typeOf(arg);
      if (this.#substitutions.assign([type], [types.bool])) continue;
      this.#mismatch(arg, types.bool, type);
      isRight = false;
    }
    this.calls.set(expression.id, { name, overloads, isQualified: false });
    return isRight ? types.bool : types.error;
  }

  #noOverload(
    at: Expression,
    name: string,
    { argTypes, isMember }: { argTypes: readonly Type[]; isMember: boolean },
  ): Type {
    const shown = argTypes.map((type) => this.#substitutions.apply(type, true).shown);
    const receiver = isMember ? `${shown.shift() ?? ""}.` : "";
    this.#fault(at, `found no matching overload for '${name}' applied to '${receiver}(${shown.join(", ")})'`);
    return types.error;
  }

  /** The result and the arguments of an overload, with parameters of their own. */
  #instance({ result, args, parameters }: Overload): Type[] {
    if (parameters.length === 0) return [result, ...args];
    const fresh = new Map(parameters.map((name) => [name, this.#newParameter()]));
    return [result, ...args].map((type) => withParameters(type, fresh));
  }

  #list(expression: Of<"list">): Type {
    let joined: Type | undefined;
    for (const [index, item] of expression.items.entries()) {
      this.check(item);
      const type = expression.optional.has(index) ? this.#optionalEntry(item) : this.#typeOf(item);
      joined = this.#join(joined, type);
    }
    return listOf(joined ?? this.#newParameter());
  }

  #optionalEntry(item: Expression): Type {
    const [type, isOptional] = withoutOptional(this.#typeOf(item));
    if (!isOptional && !isDyn(type)) this.#mismatch(item, optionalOf(type), type);
    return type;
  }

  #join(before: Type | undefined, now: Type): Type {
    if (before === undefined) return now;
    return this.#substitutions.assign([before], [now]) ? mostGeneral(before, now) : types.dyn;
  }

  #map(expression: Of<"map">): Type {
    let keys: Type | undefined;
    let values: Type | undefined;
    for (const { key, value, isOptional } of expression.entries) {
      this.check(key);
      keys = this.#join(keys, this.#typeOf(key));
      this.check(value);
      values = this.#join(values, isOptional ? this.#optionalEntry(value) : this.#typeOf(value));
    }
    return mapOf(keys ?? this.#newParameter(), values ?? this.#newParameter());
  }

  /** No type can be made by its name here. */
  #struct(expression: Of<"struct">): Type {
    const type = this.#lookUp(expression.name);
    if (type === undefined) return this.#undeclared(expression, expression.name);
    const [made = type] = type.parameters;
    if (type.kind !== "type") this.#fault(expression, `'${type.text}' is not a type`);
    else this.#fault(expression, `'${made.text}' is not a message type`);
    for (const { value } of expression.fields) this.check(value);
    return types.error;
  }

  #loop(expression: Of<"loop">): Type {
    const { range, start, condition, step, result, variable, second, gathered } = expression;
    this.check(range);
    this.check(start);
    const rangeType = this.#substitutions.apply(this.#typeOf(range));
    const [one, two] = this.#turnTypes(range, rangeType, second !== undefined);
    const gatheredType = this.#typeOf(start);
    this.#locals.push(new Map([[gathered, gatheredType]]));
    this.#locals.push(new Map([[variable, one], ...(second === undefined ? [] : [[second, two] as const])]));
    this.check(condition);
    this.#assert(condition, types.bool);
    this.check(step);
    this.#assert(step, gatheredType);
    this.#locals.pop();
    this.check(result);
    this.#locals.pop();
    return this.#substitutions.apply(this.#typeOf(result));
  }

  /** Types of a loop's variables. */
  #turnTypes(range: Expression, type: Type, isDouble: boolean): readonly [Type, Type] {
    const [first = types.dyn, second = types.dyn] = type.parameters;
    switch (type.kind) {
      case "list":
        return isDouble ? [types.int, first] : [first, first];
      case "map":
        return [first, second];
      case "dyn":
      case "error":
      case "parameter":
        this.#substitutions.assign([types.dyn], [type]);
        return [types.dyn, types.dyn];
      default:
        this.#fault(
          range,
          `expression of type '${type.shown}' cannot be range of a comprehension (must be list, map, or dynamic)`,
        );
        return [types.error, types.error];
    }
  }

  #assert(expression: Expression, wanted: Type): void {
    const type = this.#typeOf(expression);
    if (!this.#substitutions.assign([wanted], [type])) this.#mismatch(expression, wanted, type);
  }
}

function withParameters(type: Type, fresh: ReadonlyMap<string, Type>): Type {
  if (type.kind === "parameter") return fresh.get(type.name) ?? type;
  const parameters = type.parameters.map((one) => withParameters(one, fresh));
  if (parameters.length === 0) return type;
  const [first = types.dyn, second = types.dyn] = parameters;
  if (type.kind === "list") return listOf(first);
  if (type.kind === "map") return mapOf(first, second);
  return type.kind === "type"
    ? { ...type, parameters, shown: `type(${first.shown})`, text: `type(${first.text})` }
    : optionalOf(first);
}

/** Whether an expression names a variable anywhere. */
export function mentions(expression: Expression, name: string): boolean {
  return (
    (expression.kind === "identifier" && expression.name === name) ||
    partsOf(expression).some((part) => mentions(part, name))
  );
}
