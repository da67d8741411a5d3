import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../fields.js";

/** Texts of values that many objects share, and that nobody changes. */
const texts = new WeakMap<object, string>();

/** Keeps the JSON text of a value that many objects will have (the fields that a manager owns), so that it is written once. It must not change. */
export function keepText(value: JsonObject): void {
  texts.set(value, JSON.stringify(value));
}

/** Node cuts small buffers from shared pieces of 8 KiB; what outlives its neighbours and is larger than this would hold much more than itself. */
const smallBytes = 1024;

/** JSON text of a value as bytes. */
export function encodeJson(value: unknown): Uint8Array {
  return bytesOf([JSON.stringify(value)]);
}

/** The same of an object of the API: kind, apiVersion and metadata first. What it shares with others is not written anew. */
export function encodeObject(object: JsonObject): Uint8Array {
  return bytesOf(piecesOf(object));
}

/** Not put together before: every text that is would be copied once more. */
function bytesOf(pieces: readonly string[]): Uint8Array {
  let size = 0;
  for (const piece of pieces) size += Buffer.byteLength(piece, "utf8");
  const bytes = size <= smallBytes ? Buffer.allocUnsafe(size) : Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (const piece of pieces) at += bytes.write(piece, at, "utf8");
  return bytes;
}

function piecesOf(object: JsonObject): string[] {
  const { kind, apiVersion, metadata, ...body } = object;
  if (!isObject(metadata) || typeof kind !== "string" || typeof apiVersion !== "string")
    return [JSON.stringify(object)];
  const { managedFields, ...rest } = metadata;
  if (!Array.isArray(managedFields) || !managedFields.some(hasText)) return [JSON.stringify(object)];
  const own = JSON.stringify(rest);
  const pieces = [
    `{"kind":${JSON.stringify(kind)},"apiVersion":${JSON.stringify(apiVersion)},"metadata":`,
    own.slice(0, -1),
    own === "{}" ? '"managedFields":[' : ',"managedFields":[',
  ];
  for (const [index, entry] of managedFields.entries()) addEntry(pieces, entry, index === 0 ? "" : ",");
  const others = JSON.stringify(body);
  pieces.push(others === "{}" ? "]}" : "]},", others.slice(1));
  return pieces;
}

function hasText(entry: unknown): boolean {
  return isObject(entry) && isObject(entry["fieldsV1"]) && texts.has(entry["fieldsV1"]);
}

function addEntry(pieces: string[], entry: unknown, separator: string): void {
  if (!isObject(entry)) {
    pieces.push(separator, JSON.stringify(entry));
    return;
  }
  const { fieldsV1, ...rest } = entry;
  const text = isObject(fieldsV1) ? texts.get(fieldsV1) : undefined;
  if (text === undefined) pieces.push(separator, JSON.stringify(entry));
  else pieces.push(separator, JSON.stringify(rest).slice(0, -1), ',"fieldsV1":', text, "}");
}
