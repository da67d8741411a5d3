import type { Stored } from "../types.js";
import { bucketOf } from "./keys.js";

/** The first index in a sorted list whose item's key is not before `key`. */
export function lowerBound(items: readonly { readonly key: string }[], key: string): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = items[middle];
    if (item !== undefined && item.key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Order of objects in lists. */
export const byKey = (a: Stored, b: Stored): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

/** Past every key that starts with `prefix`: keys hold no code unit this high. */
export const endOf = (prefix: string): string => `${prefix}\uffff`;

/** The live objects of one resource. New ones find their place in the order when someone asks for it, not on each write. */
export class Bucket {
  readonly objects = new Map<string, Stored>();
  #sorted: Stored[] = [];
  /** Keys of objects that are not in `#sorted`; some may be gone again. */
  #added = new Set<string>();

  /** Returns what it replaces. */
  set(stored: Stored): Stored | undefined {
    const { key } = stored;
    const before = this.objects.get(key);
    this.objects.set(key, stored);
    if (before === undefined) this.#added.add(key);
    else if (!this.#added.has(key)) this.#sorted[lowerBound(this.#sorted, key)] = stored;
    return before;
  }

  /** Returns what was there. */
  remove(key: string): Stored | undefined {
    const before = this.objects.get(key);
    if (before === undefined) return undefined;
    this.objects.delete(key);
    if (!this.#added.delete(key)) this.#sorted.splice(lowerBound(this.#sorted, key), 1);
    return before;
  }

  /** All objects by key. Changes with the next write: take what you need at once. */
  sorted(): readonly Stored[] {
    if (this.#added.size > 0) {
      const added: Stored[] = [];
      for (const key of this.#added) {
        const stored = this.objects.get(key);
        if (stored !== undefined) added.push(stored);
      }
      this.#sorted = mergeSorted(this.#sorted, added.sort(byKey));
      this.#added.clear();
    }
    return this.#sorted;
  }
}

/** Merges two sorted lists that have no key in common. */
function mergeSorted(a: readonly Stored[], b: readonly Stored[]): Stored[] {
  const out: Stored[] = [];
  let i = 0;
  for (const next of b) {
    for (let item = a[i]; item !== undefined && item.key < next.key; item = a[i]) {
      out.push(item);
      i++;
    }
    out.push(next);
  }
  return out.concat(a.slice(i));
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
