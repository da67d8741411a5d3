/** Server reflection: what services and messages there are, as the descriptors that protoc would make. */

import { WireWriter } from "../../../kernel/protobuf/index.js";
import { isPlain, type ProtoMessage } from "./codec.js";
import { type FieldSchema, type FileSchema, type MessageSchema, typeNumber } from "./schema.js";
import { GRPC } from "./status.js";

const TYPE_MESSAGE = 11;
const TYPE_ENUM = 14;
const LABEL_OPTIONAL = 1;
const LABEL_REPEATED = 3;

/** Answers the requests of a reflection stream. `services` are those that are told of. */
export function createReflection(
  files: readonly FileSchema[],
  services: readonly string[],
): (request: ProtoMessage) => ProtoMessage {
  const descriptors = new Map(files.map((file) => [file.file, describeFile(file)]));
  const fileOf = (symbol: string): FileSchema | undefined =>
    files.find((file) => [...symbolsOf(file)].some((name) => name === symbol));
  const give = (file: string | undefined, what: string): ProtoMessage => {
    const descriptor = file === undefined ? undefined : descriptors.get(file);
    if (descriptor === undefined)
      return { error_response: { error_code: GRPC.NOT_FOUND, error_message: `there is no ${what.slice(0, 200)}` } };
    return { file_descriptor_response: { file_descriptor_proto: [descriptor] } };
  };
  return (request) => {
    const { file_by_filename: byName, file_containing_symbol: symbol } = request;
    const head = { valid_host: request["host"], original_request: request };
    if (request["list_services"] !== undefined)
      return { ...head, list_services_response: { service: services.map((name) => ({ name })) } };
    if (typeof byName === "string") return { ...head, ...give(byName, `file ${byName}`) };
    if (typeof symbol === "string") return { ...head, ...give(fileOf(symbol)?.file, `symbol ${symbol}`) };
    const type = request["all_extension_numbers_of_type"];
    if (typeof type === "string" && fileOf(type) !== undefined)
      return { ...head, all_extension_numbers_response: { base_type_name: type } };
    const extension = request["file_containing_extension"];
    const what = isPlain(extension) ? "such extension" : typeof type === "string" ? `type ${type}` : "such request";
    return { ...head, ...give(undefined, what) };
  };
}

function* symbolsOf({ messages, enums, services }: FileSchema): Generator<string> {
  for (const [name, { fields, isMapEntry }] of messages) {
    if (!isMapEntry) yield name;
    for (const field of fields) yield `${name}.${field.name}`;
  }
  for (const name of enums.keys()) yield name;
  for (const [name, methods] of services) {
    yield name;
    for (const method of methods) yield `${name}.${method.name}`;
  }
}

/** A `FileDescriptorProto` (google/protobuf/descriptor.proto). */
function describeFile(file: FileSchema): Buffer {
  const writer = new WireWriter();
  writer.text(1, file.file);
  writer.text(2, file.package);
  for (const message of file.messages.values()) {
    if (message.isMapEntry) continue;
    const start = writer.open(4);
    describeMessage(writer, message, file);
    writer.close(start);
  }
  for (const [name, values] of file.enums) {
    const start = writer.open(5);
    writer.text(1, shortName(name));
    for (const [value, number] of values) {
      const entry = writer.open(2);
      writer.text(1, value);
      writer.tag(2, 0);
      writer.varint(number);
      writer.close(entry);
    }
    writer.close(start);
  }
  for (const [name, methods] of file.services) {
    const start = writer.open(6);
    writer.text(1, shortName(name));
    for (const method of methods) {
      const entry = writer.open(2);
      writer.text(1, method.name);
      writer.text(2, `.${method.input}`);
      writer.text(3, `.${method.output}`);
      if (method.streamsIn) writeFlag(writer, 5);
      if (method.streamsOut) writeFlag(writer, 6);
      writer.close(entry);
    }
    writer.close(start);
  }
  writer.text(12, "proto3");
  return writer.finish();
}

function writeFlag(writer: WireWriter, field: number): void {
  writer.tag(field, 0);
  writer.varint(1);
}

const shortName = (name: string): string => name.slice(name.lastIndexOf(".") + 1);

function describeMessage(writer: WireWriter, message: MessageSchema, file: FileSchema): void {
  writer.text(1, shortName(message.name));
  for (const field of message.fields) {
    const start = writer.open(2);
    describeField(writer, field, message);
    writer.close(start);
  }
  for (const entry of file.messages.values()) {
    if (!entry.isMapEntry || !entry.name.startsWith(`${message.name}.`)) continue;
    const start = writer.open(3);
    describeMessage(writer, entry, file);
    const options = writer.open(7);
    writeFlag(writer, 7);
    writer.close(options);
    writer.close(start);
  }
  for (const oneof of message.oneofs) {
    const start = writer.open(8);
    writer.text(1, oneof);
    writer.close(start);
  }
}

function describeField(writer: WireWriter, field: FieldSchema, message: MessageSchema): void {
  const { type } = field;
  const number = typeof type === "string" ? typeNumber(type) : "enum" in type ? TYPE_ENUM : TYPE_MESSAGE;
  writer.text(1, field.name);
  for (const [key, value] of [
    [3, field.number],
    [4, field.isRepeated ? LABEL_REPEATED : LABEL_OPTIONAL],
    [5, number],
  ] as const) {
    writer.tag(key, 0);
    writer.varint(value);
  }
  if (typeof type === "object") writer.text(6, `.${"enum" in type ? type.enum : type.message}`);
  if (field.oneof !== undefined) {
    writer.tag(9, 0);
    writer.varint(message.oneofs.indexOf(field.oneof));
  }
}
