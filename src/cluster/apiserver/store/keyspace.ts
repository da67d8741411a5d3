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

  set(stored: Stored): void {
    if (!this.objects.has(stored.key)) this.#added.push(stored.key);
    this.objects.set(stored.key, stored);
  }

  remove(key: string): void {
    if (this.objects.delete(key)) this.#hasRemoved = true;
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

  get(key: string): Stored | undefined {
    return this.#buckets.get(bucketOf(key))?.objects.get(key);
  }

  set(stored: Stored): void {
    this.#bucket(bucketOf(stored.key)).set(stored);
  }

  remove(key: string): void {
    this.#buckets.get(bucketOf(key))?.remove(key);
  }

  bucket(prefix: string): Bucket | undefined {
    return this.#buckets.get(bucketOf(prefix));
  }

  #bucket(name: string): Bucket {
    const known = this.#buckets.get(name);
    if (known !== undefined) return known;
    const made = new Bucket();
    this.#buckets.set(name, made);
    return made;
  }
}
