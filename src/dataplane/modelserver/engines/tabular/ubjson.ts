/** UBJSON (draft 12), as XGBoost writes its models in it. */
import { ModelError } from "../../failures.js";
import type { DocumentValue, NumberArray } from "./document.js";

const MAX_DEPTH = 64;

/** Reads a document. Throws `ModelError` with the offset where it is none; lengths that lie are refused before memory is taken for them. */
export function parseUbjson(bytes: Buffer): DocumentValue {
  const reader = new UbjsonReader(bytes);
  return reader.value(reader.marker(), 0);
}

class UbjsonReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  marker(): string {
    return String.fromCharCode(this.#take(1)[0] ?? 0);
  }

  value(marker: string, depth: number): DocumentValue {
    if (depth > MAX_DEPTH) throw this.#broken("nested too deep");
    switch (marker) {
      case "Z":
        return null;
      case "T":
      case "F":
        return marker === "T";
      case "S":
        return this.#text();
      case "C":
        return this.marker();
      case "{":
        return this.#map(depth);
      case "[":
        return this.#list(depth);
      default:
        return this.#number(marker);
    }
  }

  #number(marker: string): number {
    switch (marker) {
      case "i":
        return this.#take(1).readInt8();
      case "U":
        return this.#take(1).readUInt8();
      case "I":
        return this.#take(2).readInt16BE();
      case "l":
        return this.#take(4).readInt32BE();
      case "L":
        return Number(this.#take(8).readBigInt64BE());
      case "d":
        return this.#take(4).readFloatBE();
      case "D":
        return this.#take(8).readDoubleBE();
      default:
        throw this.#broken(`the marker ${JSON.stringify(marker)} is not known`);
    }
  }

  #length(): number {
    const length = this.#number(this.marker());
    if (!Number.isSafeInteger(length) || length < 0) throw this.#broken(`a length of ${length}`);
    return length;
  }

  #text(): string {
    return this.#take(this.#length()).toString("utf8");
  }

  #map(depth: number): { [key: string]: DocumentValue } {
    const entries: [string, DocumentValue][] = [];
    let left = Number.POSITIVE_INFINITY;
    if (this.#next("#")) left = this.#length();
    for (; left > 0; left--) {
      if (left === Number.POSITIVE_INFINITY && this.#next("}")) break;
      const key = this.#text();
      entries.push([key, this.value(this.marker(), depth + 1)]);
    }
    return Object.fromEntries(entries);
  }

  #list(depth: number): DocumentValue {
    if (this.#next("$")) {
      const type = this.marker();
      if (!this.#next("#")) throw this.#broken("a typed list without a length");
      return this.#typed(type, this.#length());
    }
    const list: DocumentValue[] = [];
    if (this.#next("#")) {
      const length = this.#length();
      if (length > this.#bytes.length - this.#at) throw this.#broken(`a list of ${length}`);
      for (let index = 0; index < length; index++) list.push(this.value(this.marker(), depth + 1));
      return list;
    }
    while (!this.#next("]")) list.push(this.value(this.marker(), depth + 1));
    return list;
  }

  #typed(type: string, length: number): NumberArray | DocumentValue[] {
    const sizes: Readonly<Record<string, number>> = { i: 1, U: 1, I: 2, l: 4, L: 8, d: 4, D: 8 };
    const size = sizes[type];
    if (size === undefined) throw this.#broken(`a list of type ${JSON.stringify(type)}`);
    if (length * size > this.#bytes.length - this.#at) throw this.#broken(`a list of ${length}`);
    const into =
      type === "d" ? new Float32Array(length) : type === "l" ? new Int32Array(length) : new Float64Array(length);
    for (let index = 0; index < length; index++) into[index] = this.#number(type);
    return into;
  }

  #next(marker: string): boolean {
    if (this.#bytes[this.#at] !== marker.charCodeAt(0)) return false;
    this.#at++;
    return true;
  }

  #take(count: number): Buffer {
    if (count > this.#bytes.length - this.#at) throw this.#broken("it is cut short");
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  #broken(why: string): ModelError {
    return new ModelError("ModelLoadFailed", `not UBJSON at byte ${this.#at}: ${why}`);
  }
}
