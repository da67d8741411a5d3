import type { Stored } from "../types.js";
import { bucketOf } from "./keys.js";

/** The first index in a sorted list whose item is not before `key`. */
export function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = keys[middle];
    if (item !== undefined && item < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Past every key that starts with `prefix`: keys hold no code unit this high. */
export const endOf = (prefix: string): string => `${prefix}\uffff`;

/** The live objects of one resource. Key order is restored when someone asks for it, not on each write. */
export class Bucket {
  readonly objects = new Map<string, Stored>();
  #keys: string[] = [];
  #added: string[] = [];
  #hasRemoved = false;

  /** Returns what it replaces. */
  set(stored: Stored): Stored | undefined {
    const before = this.objects.get(stored.key);
    if (before === undefined) this.#added.push(stored.key);
    this.objects.set(stored.key, stored);
    return before;
  }

  /** Returns what was there. */
  remove(key: string): Stored | undefined {
    const before = this.objects.get(key);
    if (this.objects.delete(key)) this.#hasRemoved = true;
    return before;
  }

  /** All keys, sorted. */
  sortedKeys(): readonly string[] {
    if (this.#hasRemoved) {
      this.#keys = this.#keys.filter((key) => this.objects.has(key));
      this.#added = this.#added.filter((key) => this.objects.has(key));
      this.#hasRemoved = false;
    }
    if (this.#added.length > 0) {
      this.#keys = mergeSorted(this.#keys, this.#added.sort(byText));
      this.#added = [];
    }
    return this.#keys;
  }
}

/** Merges two sorted lists; a key in both appears once. */
function mergeSorted(a: readonly string[], b: readonly string[]): string[] {
  const out: string[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const x = a[i];
    const y = b[j];
    const next = y === undefined || (x !== undefined && x <= y) ? x : y;
    if (next === undefined) break;
    if (x === next) i++;
    else j++;
    if (out.at(-1) !== next) out.push(next);
  }
  return out;
}

/** All live objects, by resource. */
export class Keyspace {
  readonly #buckets = new Map<string, Bucket>();
  /** The one asked for last: mostly it is the next one too. */
  #last: { readonly name: string; readonly bucket: Bucket } | undefined;
  #bytes = 0;

  /** Encoded size of all objects. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): Stored | undefined {
    return this.bucket(key)?.objects.get(key);
  }

  set(stored: Stored): void {
    const bucket = this.bucket(stored.key) ?? this.#make(bucketOf(stored.key));
    this.#bytes += stored.bytes.byteLength - (bucket.set(stored)?.bytes.byteLength ?? 0);
  }

  remove(key: string): void {
    this.#bytes -= this.bucket(key)?.remove(key)?.bytes.byteLength ?? 0;
  }

  /** Of a key, or of a prefix that names at least the resource. */
  bucket(prefix: string): Bucket | undefined {
    if (this.#last !== undefined && prefix.startsWith(this.#last.name)) return this.#last.bucket;
    const name = bucketOf(prefix);
    const bucket = this.#buckets.get(name);
    if (bucket !== undefined) this.#last = { name, bucket };
    return bucket;
  }

  #make(name: string): Bucket {
    const made = new Bucket();
    this.#buckets.set(name, made);
    return made;
  }
}
