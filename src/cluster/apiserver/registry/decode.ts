import { formatQuantity, tryParseQuantity } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, isObject, setMember } from "../../../kernel/schema/index.js";
import { badRequest } from "../failures.js";
import type { Decoded } from "../types.js";
import type { FieldShape, Shape } from "./shape.js";
import { goTimeFault, normaliseTime } from "./times.js";

/** For error messages: `ConfigMap in version "v1" cannot be handled as a ConfigMap: …`. */
export interface DecodeTarget {
  readonly kind: string;
  readonly version: string;
  /** The object came from a merge, not from the wire: upstream converts it field by field, and words its refusals otherwise. */
  readonly isConverted?: boolean;
}

/** 400 of a body that is JSON but no object of the kind. */
export function undecodable(target: DecodeTarget, why: string): Error {
  return badRequest(`${target.kind} in version "${target.version}" cannot be handled as a ${target.kind}: ${why}`);
}

/** Reads JSON as a native kind as Go would: unknown fields are left out and reported, nulls and zero values vanish where they mean "none", structs that are always written appear. Throws a 400 `ApiError` for a value of the wrong type. */
export function decodeNative(shape: Shape, raw: JsonObject, target: DecodeTarget): Decoded {
  const decoder = new Decoder(target);
  const object = decoder.object(shape, raw, "", "");
  return { object, unknownFields: decoder.unknownFields };
}

/** What Go writes for an object of this shape with nothing in it. */
export function zeroObject(shape: Shape): JsonObject {
  const object: JsonObject = {};
  for (const field of shape.fields.values())
    if (field.default !== undefined) setMember(object, field.name, zeroOf(field));
  return object;
}

function zeroOf(field: FieldShape): Json {
  return field.shape.type === "object" ? zeroObject(field.shape) : cloneJson(field.default ?? null);
}

/** Where a value stands, in Go's terms. */
interface Place {
  readonly owner: string;
  readonly path: string;
  readonly named: string;
}

class Decoder {
  readonly unknownFields: string[] = [];
  readonly #target: DecodeTarget;

  constructor(target: DecodeTarget) {
    this.#target = target;
  }

  /** `path` is for unknown fields (with indexes), `goPath` for type errors (without). */
  object(shape: Shape, raw: JsonObject, path: string, goPath: string): JsonObject {
    const result: JsonObject = {};
    for (const name in raw) {
      const value = raw[name];
      const field = shape.fields.get(name);
      if (value === undefined) continue;
      if (field === undefined) {
        if (shape.open) setMember(result, name, value);
        else this.unknownFields.push(under(path, name));
      } else if (value !== null) {
        const go = { owner: shape.name, path: under(goPath, name), named: field.named };
        const decoded = this.#value(field.shape, value, under(path, name), go);
        if (!field.dropsZero || !isZero(decoded)) result[name] = decoded;
      }
    }
    addZeroes(shape, result);
    return result;
  }

  #value(shape: Shape, value: Json, path: string, go: Place): Json {
    switch (shape.type) {
      case "object":
        if (!isObject(value))
          throw this.#mismatch(value, go, shape.name === "" ? "map[string]interface {}" : `v1.${shape.name}`);
        return shape.fields.size === 0 && !shape.open && shape.name === ""
          ? value
          : this.object(shape, value, path, go.path);
      case "map":
        return this.#map(shape, value, path, go);
      case "list":
        return this.#list(shape, value, path, go);
      case "any":
        return value;
      default:
        return this.#scalar(shape, value, go);
    }
  }

  #map(shape: Shape, value: Json, path: string, go: Place): Json {
    const { values } = shape;
    if (!isObject(value))
      throw this.#mismatch(value, go, `map[string]${values === undefined ? "interface {}" : goType(values)}`);
    if (values === undefined) return value;
    const result: JsonObject = {};
    for (const key in value) {
      const present = value[key];
      if (present === undefined) continue;
      const decoded = present === null ? nullIn(values) : this.#value(values, present, `${path}.${key}`, go);
      if (decoded !== undefined) setMember(result, key, decoded);
    }
    return result;
  }

  #list(shape: Shape, value: Json, path: string, go: Place): Json {
    const { items } = shape;
    if (!Array.isArray(value))
      throw this.#mismatch(value, go, `[]${items === undefined ? "interface {}" : goType(items)}`);
    if (items === undefined) return value;
    return value.map((item, index) => {
      if (item === null) return nullIn(items) ?? null;
      return this.#value(items, item, `${path}[${index}]`, go);
    });
  }

  #scalar(shape: Shape, value: Json, go: Place): Json {
    switch (shape.type) {
      case "string":
        if (typeof value !== "string")
          throw this.#mismatch(value, go, shape.format === "date-time" ? "string" : "string");
        return shape.format === "" ? value : this.#formatted(shape, value);
      case "boolean":
        if (typeof value !== "boolean") throw this.#mismatch(value, go, "bool");
        return value;
      case "integer":
        return this.#integer(shape, value, go);
      case "number":
        if (typeof value !== "number") throw this.#mismatch(value, go, "float64");
        return value;
      case "quantity":
        return this.#quantity(value);
      default:
        if (typeof value !== "string" && !(typeof value === "number" && Number.isInteger(value)))
          throw this.#mismatch(value, go, "intstr.IntOrString");
        return value;
    }
  }

  #integer(shape: Shape, value: Json, go: Place): number {
    const type = shape.format === "int32" ? "int32" : "int64";
    if (typeof value !== "number") throw this.#mismatch(value, go, type);
    const fits = type === "int64" || (value >= -2_147_483_648 && value <= 2_147_483_647);
    if (!Number.isInteger(value) || !fits) throw this.#mismatch(value, go, type, ` ${value}`);
    return value;
  }

  #quantity(value: Json): string {
    const quantity = typeof value === "string" || typeof value === "number" ? tryParseQuantity(value) : undefined;
    if (
      quantity === undefined &&
      typeof value === "string" &&
      /^[+-]?(\d+\.?\d*|\.\d+)[eEinumkKMGTP]*[-+]?\d*$/.test(value)
    )
      throw undecodable(this.#target, "unable to parse quantity's suffix");
    if (quantity === undefined)
      throw undecodable(
        this.#target,
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
      );
    return formatQuantity(quantity);
  }

  #formatted(shape: Shape, value: string): string {
    if (shape.format === "date-time") {
      const isMicro = shape.name === "MicroTime";
      const time = normaliseTime(value, isMicro);
      if (time === undefined) throw undecodable(this.#target, goTimeFault(value, isMicro));
      return time;
    }
    if (shape.format !== "byte") return value;
    const fault = base64Fault(value);
    if (fault >= 0) throw undecodable(this.#target, `illegal base64 data at input byte ${fault}`);
    return value;
  }

  #mismatch(value: Json, go: Place, type: string, literal = ""): Error {
    if (this.#target.isConverted === true) return undecodable(this.#target, unconvertible(value, type));
    const got =
      value === null ? "null" : Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
    return undecodable(
      this.#target,
      `json: cannot unmarshal ${got}${literal} into Go struct field ${go.owner}.${go.path} of type ${named(type, go)}`,
    );
  }
}

/** The type of a field as Go names it: `v1.Protocol` rather than `string`. */
function named(type: string, go: Place): string {
  if (type !== "string" && type !== "[]string") return type;
  return go.named === "" ? type : type.replace("string", go.named);
}

function unconvertible(value: Json, type: string): string {
  if (type.startsWith("[]") && type !== "[]uint8") return `cannot restore slice from ${goKind(value)}`;
  if (type.startsWith("map[")) return `cannot restore map from ${goKind(value)}`;
  if (type === "intstr.IntOrString") return `json: cannot unmarshal ${typeof value} into Go value of type ${type}`;
  if (type.includes(".")) return `cannot restore struct from: ${goKind(value)}`;
  // Go converts numbers to texts, which is no conversion that JSON knows.
  if (type === "string" && goKind(value) === "int64") return "cannot convert int64 to string";
  return `unrecognized type: ${type}`;
}

function goKind(value: Json): string {
  if (Array.isArray(value)) return "slice";
  if (typeof value === "number") return Number.isInteger(value) ? "int64" : "float64";
  if (typeof value === "boolean") return "bool";
  return typeof value === "string" ? "string" : "map";
}

function under(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

/** Fields that Go always writes. */
function addZeroes(shape: Shape, object: JsonObject): void {
  for (const field of shape.fields.values())
    if (field.default !== undefined && object[field.name] === undefined) object[field.name] = zeroOf(field);
}

function goType(shape: Shape): string {
  switch (shape.type) {
    case "integer":
      return shape.format === "int32" ? "int32" : "int64";
    case "boolean":
      return "bool";
    case "string":
      return shape.format === "byte" ? "[]uint8" : "string";
    case "list":
      return `[]${shape.items === undefined ? "interface {}" : goType(shape.items)}`;
    default:
      return shape.name === "" ? "interface {}" : `v1.${shape.name}`;
  }
}

/** What Go makes of null inside a list or a map. */
function nullIn(shape: Shape): Json | undefined {
  switch (shape.type) {
    case "object":
      return zeroObject(shape);
    case "string":
      return "";
    case "integer":
    case "number":
      return 0;
    case "boolean":
      return false;
    case "quantity":
      return "0";
    default:
      return undefined;
  }
}

function isZero(value: Json): boolean {
  if (value === "" || value === 0 || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  if (!isObject(value)) return false;
  for (const _ in value) return false;
  return true;
}

/** Index of the first byte that is wrong in base64, or -1. */
function base64Fault(value: string): number {
  const wrong = value.search(/[^A-Za-z0-9+/=\r\n]/);
  if (wrong >= 0) return wrong - (wrong % 4);
  const compact = value.replaceAll(/[\r\n]/g, "");
  const padding = compact.indexOf("=");
  if (compact.length % 4 !== 0) return compact.length - (compact.length % 4);
  if (padding >= 0 && (padding < compact.length - 2 || /=[^=]/.test(compact))) return padding;
  return -1;
}
