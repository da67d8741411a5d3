/** Who waits in a queue. */
export interface Waiting {
  readonly tenant: string;
  /** What it takes of its tenant's share; at least 1. */
  readonly cost: number;
  /** Memory that it holds meanwhile. */
  readonly bytes: number;
}

/** What a tenant may take each time it has its turn. */
const QUANTUM = 1;
/** Beyond so many, tenants share the places that their names fall on, so that invented names gain nothing. */
const MAX_TENANTS = 256;

class Line<T> {
  readonly waiting = new Set<T>();
  deficit = 0;
}

/** A queue that is fair to tenants (deficit round robin): each gets the same share of what is handed out, however many wait for it. */
export class FairQueue<T extends Waiting> {
  readonly #lines = new Map<string, Line<T>>();
  readonly #lineOf = new Map<T, string>();
  /** Tenants with somebody waiting, the next one first. */
  #turns: string[] = [];
  #bytes = 0;

  get size(): number {
    return this.#lineOf.size;
  }

  /** Memory that all of them hold. */
  get bytes(): number {
    return this.#bytes;
  }

  add(one: T): void {
    const name = this.#nameFor(one.tenant);
    let line = this.#lines.get(name);
    if (line === undefined) {
      line = new Line();
      this.#lines.set(name, line);
      this.#turns.push(name);
    }
    line.waiting.add(one);
    this.#lineOf.set(one, name);
    this.#bytes += one.bytes;
  }

  /** Takes one out wherever it stands; false when it does not wait. */
  remove(one: T): boolean {
    const name = this.#lineOf.get(one);
    if (name === undefined) return false;
    this.#lineOf.delete(one);
    this.#bytes -= one.bytes;
    const line = this.#lines.get(name);
    line?.waiting.delete(one);
    if (line?.waiting.size === 0) {
      this.#lines.delete(name);
      this.#turns = this.#turns.filter((turn) => turn !== name);
    }
    return true;
  }

  /** Takes out whose turn it is. */
  next(): T | undefined {
    for (;;) {
      const name = this.#turns[0];
      const line = name === undefined ? undefined : this.#lines.get(name);
      if (name === undefined || line === undefined) return undefined;
      const [first] = line.waiting;
      if (first === undefined) return undefined;
      if (line.deficit < first.cost) {
        line.deficit += QUANTUM;
        if (line.deficit < first.cost) {
          this.#pass(name);
          continue;
        }
      }
      line.deficit -= first.cost;
      if (line.deficit < first.cost) this.#pass(name);
      this.remove(first);
      return first;
    }
  }

  #pass(name: string): void {
    this.#turns.shift();
    this.#turns.push(name);
  }

  /** For a tenant that comes to a full queue: the last one of the longest line, if that line is longer than the tenant's would be. */
  lastOfLongest(tenant: string): T | undefined {
    const own = this.#lines.get(this.#nameFor(tenant))?.waiting.size ?? 0;
    let longest: Line<T> | undefined;
    for (const line of this.#lines.values()) if (line.waiting.size > (longest?.waiting.size ?? own + 1)) longest = line;
    let last: T | undefined;
    for (const one of longest?.waiting ?? []) last = one;
    return last;
  }

  #nameFor(tenant: string): string {
    if (this.#lines.has(tenant) || this.#lines.size < MAX_TENANTS) return tenant;
    let sum = 0;
    for (let index = 0; index < tenant.length; index++) sum = (sum * 31 + tenant.charCodeAt(index)) % MAX_TENANTS;
    let place = 0;
    for (const name of this.#lines.keys()) if (place++ === sum) return name;
    return tenant;
  }

  /** Everyone, in no order. */
  all(): readonly T[] {
    return [...this.#lineOf.keys()];
  }
}
