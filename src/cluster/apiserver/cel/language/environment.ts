import { parametersOf, readType, splitTypes, type Type, typeOf, types } from "./types.js";

/** One way to call a function. */
export interface Overload {
  readonly isMember: boolean;
  /** The receiver first. */
  readonly args: readonly Type[];
  readonly result: Type;
  /** The parameters in its types. */
  readonly parameters: readonly string[];
  run(...values: readonly unknown[]): unknown;
}

/** A function with all ways to call it. */
export interface FunctionGroup {
  readonly name: string;
  readonly overloads: readonly Overload[];
}

const typeNames = [
  "bool",
  "bytes",
  "double",
  "int",
  "string",
  "uint",
  "google.protobuf.Timestamp",
  "google.protobuf.Duration",
  "net.IP",
  "net.CIDR",
] as const;

const typeVariables = new Map<string, Type>([
  ...typeNames.map((name) => [name, typeOf(readType(name))] as const),
  ["list", typeOf(readType("list<A>"))],
  ["map", typeOf(readType("map<A, B>"))],
  ["null_type", typeOf(types.null)],
  ["type", typeOf(types.type)],
  ["optional_type", typeOf(readType("optional<V>"))],
]);

/** The types, variables and functions that expressions may name. A child sees its parent's and has its own. */
export class Environment {
  readonly #parent: Environment | undefined;
  readonly #variables = new Map<string, Type>();
  readonly #structs = new Map<string, ReadonlyMap<string, Type>>();
  readonly #opaque = new Set<string>();
  readonly #functions = new Map<string, FunctionGroup>();

  constructor(parent?: Environment) {
    this.#parent = parent;
  }

  declareVariable(name: string, type: Type): void {
    this.#variables.set(name, type);
  }

  declareStruct(name: string, fields: ReadonlyMap<string, Type>): void {
    this.#structs.set(name, fields);
  }

  declareOpaque(name: string): void {
    this.#opaque.add(name);
  }

  /** `signature`: `find(string): string` of anybody, `string.find(string): string` of a receiver; what stands before the point is a receiver if it is a type. */
  declareFunction(signature: string, run: Overload["run"]): void {
    const [, path = "", given = "", result = ""] = /^(.+?)\((.*)\): ?(.+)$/.exec(signature) ?? [];
    const dot = path.lastIndexOf(".");
    const receiver = dot < 0 ? "" : path.slice(0, dot);
    const isMember = receiver !== "" && this.#isType(receiver);
    const name = isMember ? path.slice(dot + 1) : path;
    const args = [...(isMember ? [receiver] : []), ...splitTypes(given)].map(readType);
    const resultType = readType(result);
    const parameters = [...new Set([...args, resultType].flatMap(parametersOf))];
    const known = this.functionOf(name)?.overloads ?? [];
    this.#functions.set(name, {
      name,
      overloads: [...known, { isMember, args, result: resultType, parameters, run }],
    });
  }

  #isType(name: string): boolean {
    if (/^(list|map|optional)</.test(name) || typeVariables.has(name) || this.fieldsOf(name) !== undefined) return true;
    return this.#opaque.has(name) || this.#isTypeAbove(name);
  }

  #isTypeAbove(name: string): boolean {
    return this.#parent === undefined ? false : this.#parent.#isType(name);
  }

  /** The type of a variable, or of the name of a type. */
  typeOfName(name: string): Type | undefined {
    const plain = name.startsWith(".") ? name.slice(1) : name;
    return this.#variableOf(plain) ?? typeVariables.get(plain);
  }

  /** Whether a name is a type's and no variable's. */
  isTypeName(name: string): boolean {
    return this.#variableOf(name) === undefined && typeVariables.has(name);
  }

  #variableOf(name: string): Type | undefined {
    return this.#variables.get(name) ?? (this.#parent === undefined ? undefined : this.#parent.#variableOf(name));
  }

  /** Fields of an object's type; `undefined`: there is no such type. */
  fieldsOf(name: string): ReadonlyMap<string, Type> | undefined {
    return this.#structs.get(name) ?? this.#parent?.fieldsOf(name);
  }

  functionOf(name: string): FunctionGroup | undefined {
    const plain = name.startsWith(".") ? name.slice(1) : name;
    return this.#functions.get(plain) ?? this.#parent?.functionOf(plain);
  }
}
