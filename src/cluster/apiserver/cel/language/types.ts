/** What a type is, in the large. */
export type Kind =
  | "bool"
  | "bytes"
  | "double"
  | "dyn"
  | "duration"
  | "error"
  | "int"
  | "list"
  | "map"
  | "null"
  | "opaque"
  | "parameter"
  | "string"
  | "struct"
  | "timestamp"
  | "type"
  | "uint";

/** A type of the language. */
export interface Type {
  readonly kind: Kind;
  readonly name: string;
  readonly parameters: readonly Type[];
  /** As faults of checks show it. */
  readonly shown: string;
  /** As results that are of the wrong type are shown. */
  readonly text: string;
}

function make(kind: Kind, name: string, parameters: readonly Type[] = [], word = name): Type {
  const list = (words: readonly string[], of: string): string =>
    words.length === 0 ? of : `${of}(${words.join(", ")})`;
  return {
    kind,
    name,
    parameters,
    shown: list(
      parameters.map(({ shown }) => shown),
      word,
    ),
    text: list(
      parameters.map(({ text }) => text),
      name,
    ),
  };
}

export const types = {
  bool: make("bool", "bool"),
  bytes: make("bytes", "bytes"),
  double: make("double", "double"),
  dyn: make("dyn", "dyn"),
  duration: make("duration", "google.protobuf.Duration", [], "duration"),
  error: make("error", "error", [], "!error!"),
  int: make("int", "int"),
  null: make("null", "null_type", [], "null"),
  string: make("string", "string"),
  timestamp: make("timestamp", "google.protobuf.Timestamp", [], "timestamp"),
  type: make("type", "type"),
  uint: make("uint", "uint"),
} as const;

export const listOf = (item: Type): Type => make("list", "list", [item]);
export const mapOf = (key: Type, value: Type): Type => make("map", "map", [key, value]);
export const optionalOf = (value: Type): Type => make("opaque", "optional_type", [value]);
export const typeOf = (type: Type): Type => make("type", "type", [type]);
export const structOf = (name: string): Type => make("struct", name);
export const opaqueOf = (name: string): Type => make("opaque", name);
export const parameterOf = (name: string): Type => make("parameter", name);

const plain: Readonly<Record<string, Type>> = {
  bool: types.bool,
  bytes: types.bytes,
  double: types.double,
  dyn: types.dyn,
  int: types.int,
  null: types.null,
  string: types.string,
  type: types.type,
  uint: types.uint,
  "google.protobuf.Timestamp": types.timestamp,
  "google.protobuf.Duration": types.duration,
  "net.IP": opaqueOf("net.IP"),
  "net.CIDR": opaqueOf("net.CIDR"),
};

/** A type from its text: `int`, `list<T>`, `map<string, dyn>`, `optional<int>`; one capital letter is a parameter, other names are objects. */
export function readType(text: string): Type {
  const known = Object.hasOwn(plain, text) ? plain[text] : undefined;
  if (known !== undefined) return known;
  const [, outer = "", inner = ""] = /^(list|map|optional|type)<(.*)>$/.exec(text) ?? [];
  const [first = types.dyn, second = types.dyn] = outer === "" ? [] : splitTypes(inner).map(readType);
  if (outer === "list") return listOf(first);
  if (outer === "map") return mapOf(first, second);
  if (outer === "optional") return optionalOf(first);
  if (outer === "type") return typeOf(first);
  return /^[A-Z]$/.test(text) ? parameterOf(text) : structOf(text);
}

/** Types between commas; those of inner types stay together. */
export function splitTypes(text: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let from = 0;
  for (let index = 0; index <= text.length; index += 1) {
    const sign = text[index];
    if (sign === "<") depth += 1;
    else if (sign === ">") depth -= 1;
    else if ((sign === "," && depth === 0) || index === text.length) {
      const part = text.slice(from, index).trim();
      if (part !== "") found.push(part);
      from = index + 1;
    }
  }
  return found;
}

/** The names of the parameters in a type. */
export function parametersOf(type: Type): string[] {
  return type.kind === "parameter" ? [type.name] : type.parameters.flatMap(parametersOf);
}

export function isSameType(a: Type, b: Type): boolean {
  return (
    a.kind === b.kind &&
    a.name === b.name &&
    a.parameters.length === b.parameters.length &&
    a.parameters.every((one, index) => isSameType(one, b.parameters[index] ?? types.error))
  );
}

export const isDyn = ({ kind }: Type): boolean => kind === "dyn";
export const isDynOrError = ({ kind }: Type): boolean => kind === "dyn" || kind === "error";

/** The type inside an optional; the type itself otherwise. */
export function withoutOptional(type: Type): readonly [Type, boolean] {
  return type.kind === "opaque" && type.name === "optional_type"
    ? [type.parameters[0] ?? types.dyn, true]
    : [type, false];
}

function isGiven(to: Type, from: Type): boolean {
  if (to === from || isDyn(to)) return true;
  return (
    to.kind === from.kind &&
    to.name === from.name &&
    to.parameters.length === from.parameters.length &&
    to.parameters.every((one, index) => isGiven(one, from.parameters[index] ?? types.error))
  );
}

function isMoreGeneral(a: Type, b: Type): boolean {
  if (isDyn(a) || a.kind === "parameter") return true;
  if (isDyn(b) || b.kind === "parameter" || a.kind !== b.kind) return false;
  if (a.kind === "type") return true;
  if (a.kind !== "opaque" && a.kind !== "list" && a.kind !== "map") return isSameType(a, b);
  return (
    a.name === b.name &&
    a.parameters.length === b.parameters.length &&
    a.parameters.every((one, index) => isMoreGeneral(one, b.parameters[index] ?? types.error))
  );
}

/** The more general of two types that go together. */
export const mostGeneral = (a: Type, b: Type): Type => (isMoreGeneral(a, b) ? a : b);

const nullable = new Set<Kind>(["opaque", "struct", "duration", "timestamp", "null"]);

/** What the parameters of types stand for, as far as an expression has told. */
export class Substitutions {
  #known = new Map<string, Type>();

  /** A type with its parameters filled in. `isFinal`: those of which nothing is known become `dyn`. */
  apply(type: Type, isFinal = false): Type {
    const known = this.#known.get(type.shown);
    if (known !== undefined) return this.apply(known, isFinal);
    if (type.kind === "parameter") return isFinal ? types.dyn : type;
    if (type.parameters.length === 0 || type.kind === "struct") return type;
    const parameters = type.parameters.map((one) => this.apply(one, isFinal));
    return make(type.kind, type.name, parameters);
  }

  /** Whether values of `from` may stand where `to` is wanted; learns what parameters are, if so. */
  assign(to: readonly Type[], from: readonly Type[]): boolean {
    const before = this.#known;
    this.#known = new Map(before);
    if (this.#all(to, from)) return true;
    this.#known = before;
    return false;
  }

  #all(a: readonly Type[], b: readonly Type[]): boolean {
    return a.length === b.length && a.every((one, index) => this.#one(one, b[index] ?? types.error));
  }

  #one(a: Type, b: Type): boolean {
    if (b.kind === "parameter") {
      const [isValid, isKnown] = this.#stands(a, b);
      if (isValid || isKnown) return isValid;
    }
    if (a.kind === "parameter") return this.#stands(b, a)[0];
    if (isDynOrError(a) || isDynOrError(b)) return true;
    if (a.kind === "null" || b.kind === "null") return nullable.has(a.kind === "null" ? b.kind : a.kind);
    switch (a.kind) {
      case "type":
        return b.kind === "type";
      case "opaque":
      case "list":
      case "map":
        return a.kind === b.kind && a.name === b.name && this.#all(a.parameters, b.parameters);
      default:
        return isGiven(b, a);
    }
  }

  /** Whether `type` may be what the parameter `of` stands for, and whether something is known of it already. */
  #stands(type: Type, of: Type): readonly [boolean, boolean] {
    if (isSameType(type, of)) return [true, true];
    const known = this.#known.get(of.shown);
    if (known === undefined) {
      if (!this.#isFree(of, type)) return [false, false];
      this.#known.set(of.shown, type);
      return [true, false];
    }
    if (isSameType(type, known)) return [true, true];
    if (!this.#one(type, known)) return [false, true];
    const general = mostGeneral(type, known);
    if (this.#isFree(of, general)) this.#known.set(of.shown, general);
    return [true, true];
  }

  /** Whether a parameter is no part of a type. */
  #isFree(parameter: Type, type: Type): boolean {
    if (isSameType(parameter, type)) return false;
    if (type.kind !== "parameter") return type.parameters.every((one) => this.#isFree(parameter, one));
    const known = this.#known.get(type.shown);
    return known === undefined || this.#isFree(parameter, known);
  }
}
