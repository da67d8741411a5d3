import { apiVersionOf, type JsonObject } from "../../../kernel/kinds/object.js";
import { encodeJson } from "../store/index.js";
import type { ResourceType, Stored } from "../types.js";
import { type Form, partialMetadata, tableOf, tableRow, withoutKind } from "./forms.js";

/** What a list says besides its items. */
export interface ListFacts {
  /** For ages in tables; milliseconds since the epoch. */
  readonly now: number;
  readonly metadata: JsonObject;
}

/** A whole list of objects in the form that was asked for. */
export function listOf(type: ResourceType, values: readonly JsonObject[], form: Form, facts: ListFacts): JsonObject {
  if (form.kind === "Table") return tableOf(type, values, form, { ...facts, withColumns: true });
  const { metadata } = facts;
  if (form.kind === "PartialObjectMetadata") {
    const items = values.map((value) => partialMetadata(value, form.version));
    return { kind: "PartialObjectMetadataList", apiVersion: `meta.k8s.io/${form.version}`, metadata, items };
  }
  const items = values.map((value) => (type.custom ? value : withoutKind(value)));
  return { kind: type.listKind, apiVersion: apiVersionOf(type), metadata, items };
}

const pieceBytes = 128 * 1024;
const comma = Buffer.from(",");
const brace = Buffer.from("{");
const close = Buffer.from("]}");

/** The bytes of a list of stored objects, in pieces. Plain items are copied from the bytes of their objects. */
export function* listPieces(
  type: ResourceType,
  items: readonly Stored[],
  form: Form,
  facts: ListFacts,
): Generator<Uint8Array> {
  const piece = new Piece();
  const empty = JSON.stringify(listOf(type, [], form, facts));
  // The list of items or rows comes last.
  piece.add(Buffer.from(empty.slice(0, -2)));
  const add = adderOf(type, form, facts);
  let isFirst = true;
  for (const stored of items) {
    if (!isFirst) piece.add(comma);
    isFirst = false;
    add(piece, stored);
    if (piece.size >= pieceBytes) yield piece.take();
  }
  piece.add(close);
  yield piece.take();
}

type Adder = (piece: Piece, stored: Stored) => void;

function adderOf(type: ResourceType, form: Form, { now }: ListFacts): Adder {
  if (form.kind === "Table") return (piece, { value }) => piece.add(encodeJson(tableRow(type, value, form, now)));
  if (form.kind === "PartialObjectMetadata")
    return (piece, { value }) => piece.add(encodeJson(partialMetadata(value, form.version)));
  if (type.custom) return (piece, { bytes }) => piece.add(bytes);
  // Items of native kinds leave out kind and apiVersion: cut off where they come first, as they mostly do.
  const opening = Buffer.from(
    `{"kind":${JSON.stringify(type.kind)},"apiVersion":${JSON.stringify(apiVersionOf(type))},`,
  );
  return (piece, stored) => {
    if (!beginsWith(stored.bytes, opening)) return piece.add(encodeJson(withoutKind(stored.value)));
    piece.add(brace);
    piece.add(stored.bytes, opening.length);
  };
}

/** A loop is faster than a call into native code for so few bytes. */
function beginsWith(bytes: Uint8Array, opening: Uint8Array): boolean {
  for (let index = 0; index < opening.length; index++) if (bytes[index] !== opening[index]) return false;
  return true;
}

/** Bytes that are gathered until there are enough to send. */
class Piece {
  size = 0;
  #buffer = Buffer.allocUnsafe(pieceBytes + 4096);

  /** Appends `bytes` from an offset on. */
  add(bytes: Uint8Array, from = 0): void {
    const size = this.size + bytes.length - from;
    if (size > this.#buffer.length) this.#grow(size);
    if (Buffer.isBuffer(bytes)) bytes.copy(this.#buffer, this.size, from);
    else this.#buffer.set(bytes.subarray(from), this.size);
    this.size = size;
  }

  #grow(size: number): void {
    const larger = Buffer.allocUnsafe(size + pieceBytes);
    this.#buffer.copy(larger, 0, 0, this.size);
    this.#buffer = larger;
  }

  /** What was gathered; begins anew. */
  take(): Uint8Array {
    const taken = this.#buffer.subarray(0, this.size);
    this.#buffer = Buffer.allocUnsafe(pieceBytes + 4096);
    this.size = 0;
    return taken;
  }
}
