/** Protobuf's wire format (protobuf.dev/programming-guides/encoding), read and written without copies of what is not needed. */
import { HttpError } from "../http1/index.js";

/** Wire types. */
export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

const malformed = (): HttpError => new HttpError(400, "the message is not well-formed protobuf");

/** Reads one message, or a part of one. Everything throws a 400 `HttpError` where the bytes end too early or make no sense. */
export class WireReader {
  readonly bytes: Buffer;
  readonly end: number;
  at: number;
  /** The last varint, as two halves without sign. */
  low = 0;
  high = 0;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  get isDone(): boolean {
    return this.at >= this.end;
  }

  /** Field number and wire type: `number * 8 + type`. */
  tag(): number {
    this.varint();
    if (this.high !== 0 || this.low < 8) throw malformed();
    return this.low;
  }

  /** Reads a varint into `low` and `high`. */
  varint(): void {
    const { bytes } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw malformed();
      const byte = bytes[this.at++] ?? 0;
      const part = byte & 127;
      if (shift < 28) low |= part << shift;
      else if (shift === 28) {
        low |= part << 28;
        high = part >> 4;
      } else high |= part << (shift - 32);
      if (byte < 128) {
        this.low = low >>> 0;
        this.high = high >>> 0;
        return;
      }
    }
    throw malformed();
  }

  /** A signed 64-bit varint; a bigint where a number would lose digits. */
  int64(): number | bigint {
    this.varint();
    const value = (this.high | 0) * 4_294_967_296 + this.low;
    return Number.isSafeInteger(value) ? value : BigInt.asIntN(64, (BigInt(this.high) << 32n) | BigInt(this.low));
  }

  /** An unsigned 64-bit varint; a bigint where a number would lose digits. */
  uint64(): number | bigint {
    this.varint();
    const value = this.high * 4_294_967_296 + this.low;
    return Number.isSafeInteger(value) ? value : (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  /** Where the length-delimited field that follows ends; `at` is then its start. */
  span(): number {
    this.varint();
    const end = this.at + this.low;
    if (this.high !== 0 || end > this.end) throw malformed();
    return end;
  }

  /** The bytes of a length-delimited field, shared with the message. */
  take(): Buffer {
    const end = this.span();
    const part = this.bytes.subarray(this.at, end);
    this.at = end;
    return part;
  }

  text(): string {
    const end = this.span();
    const value = this.bytes.toString("utf8", this.at, end);
    this.at = end;
    return value;
  }

  fixed(size: 4 | 8): number {
    const start = this.at;
    this.at += size;
    if (this.at > this.end) throw malformed();
    return start;
  }

  float(): number {
    return this.bytes.readFloatLE(this.fixed(4));
  }

  double(): number {
    return this.bytes.readDoubleLE(this.fixed(8));
  }

  /** Passes over a field that is not known. Groups are not spoken in proto3. */
  skip(wireType: number): void {
    if (wireType === VARINT) this.varint();
    else if (wireType === BYTES) this.at = this.span();
    else if (wireType === FIXED32) this.fixed(4);
    else if (wireType === FIXED64) this.fixed(8);
    else throw malformed();
  }
}

/** Writes a message; lengths of parts are filled in when they end. */
export class WireWriter {
  #bytes: Buffer;
  #at: number;

  /** `reserve` bytes are left at the beginning, for a frame's head. */
  constructor(reserve = 0) {
    this.#bytes = Buffer.allocUnsafe(512);
    this.#at = reserve;
  }

  #ensure(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + more));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  /** A number from 0, or below 0 as int32 and int64 are written; whole. */
  varint(value: number | bigint): void {
    if (typeof value === "bigint" || value < 0 || value > 4_294_967_295) {
      const all = BigInt.asUintN(64, BigInt(value));
      this.halves(Number(all & 0xffff_ffffn), Number(all >> 32n));
    } else this.halves(value, 0);
  }

  /** A varint from its two halves. */
  halves(low: number, high: number): void {
    this.#ensure(10);
    const bytes = this.#bytes;
    let at = this.#at;
    let small = low >>> 0;
    let big = high >>> 0;
    while (big !== 0 || small > 127) {
      bytes[at++] = (small & 127) | 128;
      small = ((small >>> 7) | (big << 25)) >>> 0;
      big >>>= 7;
    }
    bytes[at++] = small;
    this.#at = at;
  }

  tag(field: number, wireType: number): void {
    this.varint(field * 8 + wireType);
  }

  text(field: number, value: string): void {
    const length = Buffer.byteLength(value);
    this.tag(field, BYTES);
    this.varint(length);
    this.#ensure(length);
    this.#at += this.#bytes.write(value, this.#at, "utf8");
  }

  content(field: number, value: Uint8Array): void {
    this.tag(field, BYTES);
    this.varint(value.length);
    this.raw(value);
  }

  raw(value: Uint8Array): void {
    this.#ensure(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  float(value: number): void {
    this.#ensure(4);
    this.#at = this.#bytes.writeFloatLE(value, this.#at);
  }

  double(value: number): void {
    this.#ensure(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  /** Begins a length-delimited field; what is returned goes to `close`. */
  open(field: number): number {
    this.tag(field, BYTES);
    this.#ensure(1);
    return ++this.#at;
  }

  close(start: number): void {
    const length = this.#at - start;
    let more = 0;
    for (let rest = length >>> 7; rest > 0; rest >>>= 7) more++;
    if (more > 0) {
      this.#ensure(more);
      this.#bytes.copyWithin(start + more, start, this.#at);
    }
    const end = this.#at + more;
    this.#at = start - 1;
    this.varint(length);
    this.#at = end;
  }

  /** All that was written, with the reserved bytes. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}
