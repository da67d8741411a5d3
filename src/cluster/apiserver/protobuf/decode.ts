/**
 * Kubernetes' protobuf bodies (`application/vnd.kubernetes.protobuf`) of native kinds, as typed clients (kubectl ≥ 1.32, client-go) send
 * them. Answers are JSON, which such clients also accept. Field numbers and JSON names: assets/kubernetes-1.34/protobuf.json.
 */
import { readFileSync } from "node:fs";
import { assetPath } from "../../../kernel/assets/index.js";
import { InputError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { parseApiVersion } from "../../../kernel/kinds/object.js";
import { asObject, isObject } from "../../../kernel/schema/index.js";
import { readFields } from "./wire.js";

/** Field number → JSON name (empty: the message's fields stand in its parent) and type. */
type MessageTable = ReadonlyMap<number, readonly [string, string]>;

const magic = [0x6b, 0x38, 0x73, 0x00];
const maxDepth = 64;
let tables: Map<string, MessageTable> | undefined;

/** Whether a body begins as Kubernetes' protobuf does. */
export function isProtobuf(body: Uint8Array): boolean {
  return magic.every((byte, index) => body[index] === byte);
}

/** The object in a protobuf body. Throws `InputError` when it is malformed or of a kind without a protobuf form. */
export function decodeProtobuf(body: Uint8Array): JsonObject {
  if (!isProtobuf(body)) throw new InputError("the body does not begin as Kubernetes' protobuf does");
  const envelope = bytesFields(body.subarray(magic.length));
  const type = bytesFields(envelope.get(1) ?? new Uint8Array());
  const apiVersion = text(type.get(1) ?? new Uint8Array());
  const kind = text(type.get(2) ?? new Uint8Array());
  const object: JsonObject = { apiVersion, kind };
  decodeInto(object, messageOf(apiVersion, kind), envelope.get(2) ?? new Uint8Array(), 0);
  return object;
}

/** The length-delimited fields of a message; of a repeated one the last, as protobuf has it. */
function bytesFields(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const result = new Map<number, Uint8Array>();
  for (const { number, value } of readFields(bytes)) {
    if (typeof value !== "bigint") result.set(number, value);
  }
  return result;
}

function messageOf(apiVersion: string, kind: string): MessageTable {
  tables ??= readTables();
  const { group, version } = parseApiVersion(apiVersion);
  const [folder = ""] = (group === "" ? "core" : group).split(".");
  const table = tables.get(`${folder}/${version}.${kind}`) ?? tables.get(`meta/v1.${kind}`);
  if (table === undefined) throw new InputError(`${kind} in ${apiVersion} has no protobuf form; send JSON`);
  return table;
}

function readTables(): Map<string, MessageTable> {
  const parsed: unknown = JSON.parse(readFileSync(assetPath("kubernetes-1.34", "protobuf.json"), "utf8"));
  const result = new Map<string, MessageTable>();
  for (const [name, fields] of Object.entries(isObject(parsed) ? parsed : {})) {
    const table = new Map<number, readonly [string, string]>();
    for (const [number, entry] of Object.entries(isObject(fields) ? fields : {})) {
      const [json, type] = Array.isArray(entry) ? entry : [];
      if (typeof json === "string" && typeof type === "string") table.set(Number(number), [json, type]);
    }
    result.set(name, table);
  }
  return result;
}

function decodeInto(target: JsonObject, table: MessageTable, bytes: Uint8Array, depth: number): void {
  if (depth > maxDepth) throw new InputError("the protobuf body is nested too deeply");
  for (const { number, value } of readFields(bytes)) {
    const field = table.get(number);
    if (field === undefined) continue;
    const [name, type] = field;
    if (name !== "") {
      decodeField(target, field, value, depth);
    } else if (type.startsWith("@") && typeof value !== "bigint") {
      decodeInto(target, tableOf(type), value, depth + 1);
    }
  }
}

function decodeField(
  target: JsonObject,
  [name, declared]: readonly [string, string],
  value: bigint | Uint8Array,
  depth: number,
): void {
  const omitsZero = declared.endsWith("?");
  const type = omitsZero ? declared.slice(0, -1) : declared;
  if (type.startsWith("[]")) {
    const list = target[name];
    const items =
      type === "[]int" && typeof value !== "bigint" ? [...packed(value)] : [decodeValue(type.slice(2), value, depth)];
    target[name] = [...(Array.isArray(list) ? list : []), ...items];
  } else if (type.startsWith("{}")) {
    target[name] = { ...asObject(target[name]), ...decodeEntry(type.slice(2), value, depth) };
  } else {
    const decoded = decodeValue(type, value, depth);
    if (!(omitsZero && isZero(decoded))) target[name] = decoded;
  }
}

function decodeEntry(type: string, value: bigint | Uint8Array, depth: number): JsonObject {
  if (typeof value === "bigint") throw wrongWire();
  let key = "";
  let item: Json = type.startsWith("()") ? [] : type === "string" || type === "bytes" ? "" : null;
  for (const field of readFields(value)) {
    if (field.number === 1 && typeof field.value !== "bigint") key = text(field.value);
    if (field.number === 2) item = decodeValue(type, field.value, depth);
  }
  return { [key]: item };
}

function decodeValue(type: string, value: bigint | Uint8Array, depth: number): Json {
  if (type === "int" || type === "bool") {
    if (typeof value !== "bigint") throw wrongWire();
    return type === "bool" ? value !== 0n : Number(value);
  }
  if (type === "double")
    return typeof value === "bigint" ? Buffer.from(new BigInt64Array([value]).buffer).readDoubleLE() : 0;
  if (typeof value === "bigint") throw wrongWire();
  if (type.startsWith("@")) {
    const object: JsonObject = {};
    decodeInto(object, tableOf(type), value, depth + 1);
    return object;
  }
  if (type.startsWith("()"))
    return [...readFields(value)].map((field) => decodeValue(type.slice(2), field.value, depth));
  return decodeSpecial(type, value);
}

/** Types whose JSON is not that of their fields. */
function decodeSpecial(type: string, value: Uint8Array): Json {
  switch (type) {
    case "string":
      return text(value);
    case "bytes":
      return Buffer.from(value).toString("base64");
    case "quantity":
      return firstText(value);
    case "time":
    case "microtime":
      return decodeTime(value, type === "microtime");
    case "duration":
      return `${Number(numbers(value).get(1) ?? 0n) / 1e9}s`;
    case "intOrString": {
      const fields = numbers(value);
      return (fields.get(1) ?? 0n) === 0n ? Number(fields.get(2) ?? 0n) : firstText(value, 3);
    }
    case "raw":
      return parseRaw(value);
    default:
      throw new InputError(`fields of type ${type} have no protobuf form here; send JSON`);
  }
}

function decodeTime(value: Uint8Array, micro: boolean): Json {
  const fields = numbers(value);
  if (fields.size === 0) return null;
  const ms = Number(fields.get(1) ?? 0n) * 1000;
  const nanos = Number(fields.get(2) ?? 0n);
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15)
    throw new InputError("a time in the protobuf body is out of range");
  const whole = new Date(ms).toISOString().slice(0, 19);
  return micro ? `${whole}.${String(Math.floor(nanos / 1000)).padStart(6, "0")}Z` : `${whole}Z`;
}

function parseRaw(value: Uint8Array): Json {
  for (const field of readFields(value)) {
    if (field.number === 1 && typeof field.value !== "bigint") {
      try {
        return JSON.parse(text(field.value));
      } catch (error) {
        throw new InputError("an embedded object in the protobuf body is no JSON", { cause: error });
      }
    }
  }
  return null;
}

function* packed(value: Uint8Array): Generator<number> {
  // A packed list is a row of varints; each is read as if it were a field's value.
  let result = 0n;
  let shift = 0n;
  for (const byte of value) {
    result |= BigInt(byte & 0x7f) << shift;
    shift += 7n;
    if (byte < 0x80) {
      yield Number(BigInt.asIntN(64, result));
      result = 0n;
      shift = 0n;
    }
  }
}

function numbers(value: Uint8Array): Map<number, bigint> {
  const result = new Map<number, bigint>();
  for (const field of readFields(value)) if (typeof field.value === "bigint") result.set(field.number, field.value);
  return result;
}

function firstText(value: Uint8Array, number = 1): string {
  for (const field of readFields(value))
    if (field.number === number && typeof field.value !== "bigint") return text(field.value);
  return "";
}

function tableOf(type: string): MessageTable {
  const table = tables?.get(type.slice(1));
  if (table === undefined) throw new InputError(`message ${type.slice(1)} has no protobuf form here; send JSON`);
  return table;
}

/** What Go's `omitempty` leaves out; an object without members is one that a typed client left empty. */
function isZero(value: Json): boolean {
  return (
    value === "" ||
    value === 0 ||
    value === false ||
    value === null ||
    (isObject(value) && Object.keys(value).length === 0)
  );
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

function wrongWire(): InputError {
  return new InputError("a field of the protobuf body has another type than its kind declares");
}
