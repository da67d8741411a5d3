/** Header compression (RFC 7541): a decoder with its table, and an encoder that keeps none. */
import { decodeHuffman } from "./huffman.js";

/** A field of a header. */
export type Field = readonly [name: string, value: string];

const STATIC: readonly Field[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  ...["200", "204", "206", "304", "400", "404", "500"].map((status): Field => [":status", status]),
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ...[
    ...["accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization"],
    ...["cache-control", "content-disposition", "content-encoding", "content-language", "content-length"],
    ...["content-location", "content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from"],
    ...["host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified"],
    ...["link", "location", "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh"],
    ...["retry-after", "server", "set-cookie", "strict-transport-security", "transfer-encoding", "user-agent", "vary"],
    ...["via", "www-authenticate"],
  ].map((name): Field => [name, ""]),
];
const STATIC_NAMES = new Map(STATIC.map(([name], index) => [name, index + 1] as const).reverse());

/** What an entry takes up beside its text (RFC 7541 4.1). */
const ENTRY_OVERHEAD = 32;
const TABLE_BYTES = 4096;

/** Reads the header blocks of one connection, in their order. */
export class HeaderDecoder {
  /** Newest first. */
  #table: Field[] = [];
  #size = 0;
  #limit = TABLE_BYTES;
  #bytes: Uint8Array = new Uint8Array();
  #at = 0;

  /** The fields of a block; `undefined` where it is not well-formed or larger than `maxBytes` in all: the connection cannot go on. */
  decode(block: Uint8Array, maxBytes: number): Field[] | undefined {
    this.#bytes = block;
    this.#at = 0;
    const fields: Field[] = [];
    let left = maxBytes;
    while (this.#at < block.length) {
      const byte = block[this.#at] ?? 0;
      if ((byte & 0xe0) === 0x20) {
        const size = this.#integer(5);
        // Changes of the table stand before all fields.
        if (size === undefined || size > TABLE_BYTES || fields.length > 0) return undefined;
        this.#limit = size;
        this.#shrink(0);
        continue;
      }
      const field = (byte & 0x80) !== 0 ? this.#entry(this.#integer(7)) : this.#literal((byte & 0x40) !== 0);
      if (field === undefined) return undefined;
      left -= field[0].length + field[1].length + ENTRY_OVERHEAD;
      if (left < 0) return undefined;
      fields.push(field);
    }
    return fields;
  }

  #literal(isKept: boolean): Field | undefined {
    const index = this.#integer(isKept ? 6 : 4);
    if (index === undefined) return undefined;
    const name = index === 0 ? this.#text() : this.#entry(index)?.[0];
    const value = this.#text();
    if (name === undefined || value === undefined) return undefined;
    const field: Field = [name, value];
    if (isKept) this.#keep(field);
    return field;
  }

  #entry(index: number | undefined): Field | undefined {
    if (index === undefined || index === 0) return undefined;
    return index <= STATIC.length ? STATIC[index - 1] : this.#table[index - STATIC.length - 1];
  }

  #keep(field: Field): void {
    const size = field[0].length + field[1].length + ENTRY_OVERHEAD;
    this.#shrink(size);
    if (size > this.#limit) return;
    this.#table.unshift(field);
    this.#size += size;
  }

  #shrink(room: number): void {
    while (this.#size + room > this.#limit) {
      const last = this.#table.pop();
      if (last === undefined) return;
      this.#size -= last[0].length + last[1].length + ENTRY_OVERHEAD;
    }
  }

  #integer(bits: number): number | undefined {
    const mask = (1 << bits) - 1;
    let value = (this.#bytes[this.#at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) return undefined;
      value += (byte & 127) << shift;
      if (byte < 128) return value;
    }
    return undefined;
  }

  #text(): string | undefined {
    const isCoded = ((this.#bytes[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    const start = this.#at;
    if (length === undefined || start + length > this.#bytes.length) return undefined;
    this.#at += length;
    if (isCoded) return decodeHuffman(this.#bytes, start, this.#at);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, length).toString("latin1");
  }
}

/** Longest block that `HeaderEncoder` makes: that of one frame. */
const MAX_BLOCK = 16_384;

/** Writes the header blocks of one connection, in their order: what is said with every request is kept in the other side's table. */
export class HeaderEncoder {
  /** By name and value: how many were kept before it. */
  readonly #kept = new Map<string, Map<string, number>>();
  #count = 0;
  /** Bytes of the table that are free; nothing that is in it ever goes out again. */
  #left = TABLE_BYTES;
  #isShrunk = false;
  readonly #block = Buffer.allocUnsafe(MAX_BLOCK);
  #at = 0;

  /** What the other side says that its table may hold. One that is smaller than usual is not used at all. */
  limit(bytes: number): void {
    if (bytes >= TABLE_BYTES || this.#isShrunk) return;
    this.#kept.clear();
    this.#left = 0;
    this.#isShrunk = true;
    this.#count = -1;
  }

  /** `undefined`: too long for a frame. Names are in small letters; values are latin1; what is `passing` is not kept. */
  encode(fields: readonly Field[], passing: ReadonlySet<string>): Buffer | undefined {
    const longest = fields.reduce((sum, [name, value]) => sum + name.length + value.length + 12, 1);
    if (longest > MAX_BLOCK) return undefined;
    this.#at = 0;
    if (this.#count < 0) {
      this.#block[this.#at++] = 0x20;
      this.#count = 0;
    }
    for (const field of fields) this.#write(field, passing.has(field[0]));
    return Buffer.from(this.#block.subarray(0, this.#at));
  }

  #write(field: Field, isPassing: boolean): void {
    const [name, value] = field;
    const before = this.#kept.get(name)?.get(value);
    const size = name.length + value.length + ENTRY_OVERHEAD;
    if (before !== undefined) this.#integer(0x80, 7, STATIC.length + this.#count - before);
    else if (isPassing || size > this.#left) this.#literal(0, 4, field);
    else {
      this.#literal(0x40, 6, field);
      this.#left -= size;
      const values = this.#kept.get(name);
      if (values === undefined) this.#kept.set(name, new Map([[value, this.#count]]));
      else values.set(value, this.#count);
      this.#count++;
    }
  }

  #literal(mark: number, bits: number, [name, value]: Field): void {
    const index = STATIC_NAMES.get(name) ?? 0;
    this.#integer(mark, bits, index);
    if (index === 0) this.#text(name);
    this.#text(value);
  }

  #text(text: string): void {
    this.#integer(0, 7, text.length);
    this.#at += this.#block.write(text, this.#at, "latin1");
  }

  #integer(mark: number, bits: number, value: number): void {
    const mask = (1 << bits) - 1;
    const block = this.#block;
    if (value < mask) {
      block[this.#at++] = mark | value;
      return;
    }
    block[this.#at++] = mark | mask;
    let rest = value - mask;
    for (; rest > 127; rest = Math.floor(rest / 128)) block[this.#at++] = (rest % 128) | 128;
    block[this.#at++] = rest;
  }
}

/** A header block without references to a table. Names are in small letters; values are latin1. */
export function encodeHeaders(fields: readonly Field[]): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of fields) {
    const whole = STATIC.findIndex((field) => field[0] === name && field[1] === value && value !== "");
    if (whole >= 0) parts.push(Buffer.of(0x80 | (whole + 1)));
    else {
      const index = STATIC_NAMES.get(name) ?? 0;
      parts.push(
        index === 0 ? Buffer.concat([Buffer.of(0), encodeText(name)]) : encodeInteger(index, 4),
        encodeText(value),
      );
    }
  }
  return Buffer.concat(parts);
}

function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([encodeInteger(bytes.length, 7), bytes]);
}

function encodeInteger(value: number, bits: number): Buffer {
  const mask = (1 << bits) - 1;
  if (value < mask) return Buffer.of(value);
  const bytes = [mask];
  let rest = value - mask;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}
