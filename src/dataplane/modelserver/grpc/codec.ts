/** Messages as plain values, by their schema; for everything that is not asked a thousand times a second. */
import { HttpError } from "../../../kernel/http1/index.js";
import { BYTES, FIXED32, FIXED64, VARINT, WireReader, WireWriter } from "../../../kernel/protobuf/index.js";
import type { FieldSchema, FileSchema, MessageSchema, Scalar } from "./schema.js";

/** A value of a field: enums as numbers or names, 64-bit integers as bigint where a number would lose digits, maps as objects. */
export type ProtoValue =
  | string
  | number
  | bigint
  | boolean
  | Uint8Array
  | readonly ProtoValue[]
  | { readonly [key: string]: ProtoValue | undefined };

/** A message as a plain object by field names. */
export type ProtoMessage = { readonly [field: string]: ProtoValue | undefined };

/** Reads and writes the messages of some files. */
export interface Codec {
  /** Absent scalars outside of a oneof have their default, repeated ones are empty, messages are left out. Throws a 400 `HttpError`. */
  decode(type: string, bytes: Buffer): ProtoMessage;
  /** Fields that the schema lacks are left out, and those with a default value. */
  encode(type: string, message: ProtoMessage): Buffer;
}

const MAX_DEPTH = 32;

/** A codec for these files' messages. */
export function createCodec(files: readonly FileSchema[]): Codec {
  const messages = new Map(files.flatMap((file) => [...file.messages]));
  const enums = new Map(files.flatMap((file) => [...file.enums]));
  const codec = new SchemaCodec(messages, enums);
  return {
    decode: (type, bytes) => codec.decode(type, new WireReader(bytes), 0),
    encode(type, message) {
      const writer = new WireWriter();
      codec.encode(type, message, writer);
      return writer.finish();
    },
  };
}

class SchemaCodec {
  readonly #messages: ReadonlyMap<string, MessageSchema>;
  readonly #enums: ReadonlyMap<string, readonly (readonly [string, number])[]>;

  constructor(
    messages: ReadonlyMap<string, MessageSchema>,
    enums: ReadonlyMap<string, readonly (readonly [string, number])[]>,
  ) {
    this.#messages = messages;
    this.#enums = enums;
  }

  #of(type: string): MessageSchema {
    const schema = this.#messages.get(type);
    if (schema === undefined) throw new HttpError(500, `message ${type} is not declared`);
    return schema;
  }

  decode(type: string, reader: WireReader, depth: number): ProtoMessage {
    if (depth > MAX_DEPTH) throw new HttpError(400, `the message is nested more than ${MAX_DEPTH} deep`);
    const schema = this.#of(type);
    const lists = new Map<FieldSchema, ProtoValue[]>();
    const out: Record<string, ProtoValue> = {};
    for (const field of schema.fields) {
      if (field.isRepeated) lists.set(field, []);
      else if (field.oneof === undefined && typeof field.type === "string") out[field.name] = zeroOf(field.type);
      else if (typeof field.type === "object" && "enum" in field.type) out[field.name] = 0;
    }
    while (!reader.isDone) {
      const tag = reader.tag();
      const field = schema.fields.find(({ number }) => number === tag >>> 3);
      if (field === undefined) reader.skip(tag & 7);
      else if (!field.isRepeated) out[field.name] = this.#value(field, tag & 7, reader, depth);
      else this.#values(field, tag & 7, { reader, depth, into: lists.get(field) ?? [] });
    }
    for (const [field, list] of lists) out[field.name] = field.isMap ? asMap(list) : list;
    return out;
  }

  #values(
    field: FieldSchema,
    wireType: number,
    { reader, depth, into }: { reader: WireReader; depth: number; into: ProtoValue[] },
  ): void {
    const isPackable = field.type !== "string" && field.type !== "bytes" && !isMessage(field);
    if (!isPackable || wireType !== BYTES) {
      into.push(this.#value(field, wireType, reader, depth));
      return;
    }
    const end = reader.span();
    const inner = new WireReader(reader.bytes, reader.at, end);
    while (!inner.isDone) into.push(this.#value(field, wireTypeOf(field), inner, depth));
    reader.at = end;
  }

  #value(field: FieldSchema, wireType: number, reader: WireReader, depth: number): ProtoValue {
    if (wireType !== wireTypeOf(field)) throw new HttpError(400, `field ${field.name} has a wire type of another kind`);
    if (typeof field.type === "object") {
      if ("enum" in field.type) return Number(reader.int64());
      const end = reader.span();
      const inner = new WireReader(reader.bytes, reader.at, end);
      reader.at = end;
      return this.decode(field.type.message, inner, depth + 1);
    }
    return READ[field.type](reader);
  }

  encode(type: string, message: ProtoMessage, writer: WireWriter): void {
    for (const field of this.#of(type).fields) {
      const value = message[field.name];
      if (value === undefined) continue;
      if (field.isMap) for (const [key, item] of entriesOf(value)) this.#write(field, { key, value: item }, writer);
      else if (field.isRepeated) for (const item of Array.isArray(value) ? value : []) this.#write(field, item, writer);
      else if (field.oneof !== undefined || !isZero(value)) this.#write(field, value, writer);
    }
  }

  #write(field: FieldSchema, value: ProtoValue, writer: WireWriter): void {
    const { type, number } = field;
    if (typeof type === "object" && "message" in type) {
      const start = writer.open(number);
      if (isPlain(value)) this.encode(type.message, value, writer);
      writer.close(start);
    } else if (typeof type === "object") {
      const named = this.#enums.get(type.enum)?.find(([name]) => name === value)?.[1];
      writer.tag(number, VARINT);
      writer.varint(named ?? Number(value));
    } else writeScalar(type, number, value, writer);
  }
}

const isMessage = (field: FieldSchema): boolean => typeof field.type === "object" && "message" in field.type;

const zeroOf = (scalar: Scalar): ProtoValue =>
  scalar === "string" ? "" : scalar === "bytes" ? new Uint8Array() : scalar === "bool" ? false : 0;

const isZero = (value: ProtoValue): boolean =>
  value === 0 || value === 0n || value === "" || value === false || (value instanceof Uint8Array && value.length === 0);

function wireTypeOf({ type }: FieldSchema): number {
  if (typeof type === "object") return "enum" in type ? VARINT : BYTES;
  if (type === "string" || type === "bytes") return BYTES;
  return type === "float" ? FIXED32 : type === "double" ? FIXED64 : VARINT;
}

const READ: Readonly<Record<Scalar, (reader: WireReader) => ProtoValue>> = {
  double: (reader) => reader.double(),
  float: (reader) => reader.float(),
  int64: (reader) => reader.int64(),
  uint64: (reader) => reader.uint64(),
  int32: (reader) => {
    reader.varint();
    return reader.low | 0;
  },
  uint32: (reader) => {
    reader.varint();
    return reader.low;
  },
  bool: (reader) => {
    reader.varint();
    return reader.low !== 0 || reader.high !== 0;
  },
  string: (reader) => reader.text(),
  bytes: (reader) => reader.take(),
};

const scalarText = (value: ProtoValue): string => (typeof value === "object" ? "" : String(value));

function writeScalar(type: Scalar, number: number, value: ProtoValue, writer: WireWriter): void {
  if (type === "string") writer.text(number, scalarText(value));
  else if (type === "bytes")
    writer.content(number, value instanceof Uint8Array ? value : Buffer.from(scalarText(value)));
  else if (type === "float") {
    writer.tag(number, FIXED32);
    writer.float(Number(value));
  } else if (type === "double") {
    writer.tag(number, FIXED64);
    writer.double(Number(value));
  } else {
    writer.tag(number, VARINT);
    writer.varint(typeof value === "bigint" ? value : Math.trunc(Number(value)));
  }
}

/** Whether a value is an object by names. */
export const isPlain = (value: ProtoValue | undefined): value is ProtoMessage =>
  typeof value === "object" && !Array.isArray(value) && !(value instanceof Uint8Array);

const entriesOf = (value: ProtoValue): [string, ProtoValue][] =>
  isPlain(value) ? Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[key, item]])) : [];

function asMap(entries: readonly ProtoValue[]): ProtoMessage {
  const pairs = entries.filter(isPlain).map(({ key, value }) => [scalarText(key ?? ""), value] as const);
  return Object.fromEntries(pairs);
}
