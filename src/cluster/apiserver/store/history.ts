import type { Stored, StoreEvent } from "../types.js";

/** How much of the past is kept for watches and lists that come late. */
export interface Retention {
  readonly ageMs: number;
  readonly revisions: number;
  /** Encoded size of superseded states. */
  readonly bytes: number;
}

/** As etcd compacts behind a kube-apiserver (five minutes), bounded in size too. */
export const defaultRetention: Retention = { ageMs: 300_000, revisions: 100_000, bytes: 16 * 1024 * 1024 };

interface Past {
  readonly event: StoreEvent;
  readonly time: number;
  readonly size: number;
}

/** The latest events, oldest first. */
export class History {
  /** Events up to this revision are gone. */
  compacted: number;
  #events: Past[] = [];
  #start = 0;
  #bytes = 0;
  readonly #superseded = new Set<number>();
  readonly #retention: Retention;

  constructor(compacted: number, retention: Retention) {
    this.compacted = compacted;
    this.#retention = retention;
  }

  push(event: StoreEvent, time: number): void {
    const size = event.old === undefined ? 0 : event.old.bytes.byteLength;
    this.#events.push({ event, time, size });
    this.#bytes += size;
    if (event.old !== undefined) this.#superseded.add(event.old.revision);
  }

  /** Whether the state of this revision is kept though it is superseded. */
  remembers(revision: number): boolean {
    return this.#superseded.has(revision);
  }

  /** Drops what is too old or too much. */
  compact(now: number): void {
    const { ageMs, revisions, bytes } = this.#retention;
    for (;;) {
      const first = this.#events[this.#start];
      if (first === undefined) break;
      const isKept =
        now - first.time <= ageMs && this.#events.length - this.#start <= revisions && this.#bytes <= bytes;
      if (isKept) break;
      this.#drop(first);
    }
    this.#shrink();
  }

  /** Drops everything up to a revision. */
  compactTo(revision: number): void {
    for (;;) {
      const first = this.#events[this.#start];
      if (first === undefined || first.event.now.revision > revision) break;
      this.#drop(first);
    }
    this.compacted = Math.max(this.compacted, revision);
    this.#shrink();
  }

  #drop(past: Past): void {
    const { event } = past;
    this.#start++;
    this.#bytes -= past.size;
    this.compacted = event.now.revision;
    if (event.old !== undefined) this.#superseded.delete(event.old.revision);
  }

  #shrink(): void {
    if (this.#start < 1024 || this.#start * 2 < this.#events.length) return;
    this.#events = this.#events.slice(this.#start);
    this.#start = 0;
  }

  /** Events after a revision, oldest first, of keys under a prefix. */
  *after(revision: number, prefix: string): Iterable<StoreEvent> {
    for (let index = this.#firstAfter(revision); index < this.#events.length; index++) {
      const event = this.#events[index]?.event;
      if (event?.now.key.startsWith(prefix) === true) yield event;
    }
  }

  /** What keys under a prefix held at a revision, for those that changed since; `undefined`: it was not there. */
  statesAt(revision: number, prefix: string): Map<string, Stored | undefined> {
    const states = new Map<string, Stored | undefined>();
    for (const event of this.after(revision, prefix)) {
      if (!states.has(event.now.key)) states.set(event.now.key, event.old);
    }
    return states;
  }

  #firstAfter(revision: number): number {
    let low = this.#start;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const past = this.#events[middle];
      if (past !== undefined && past.event.now.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
