import type { Clock } from "../../../kernel/clock/index.js";
import { ArgosyError, messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import {
  alreadyExists,
  conflict,
  expired,
  insufficientStorage,
  internalError,
  notFound,
  unavailable,
} from "../failures.js";
import type { Journal, JournalEntry, Retained } from "../journal/types.js";
import type { Store, Stored, StoreEvent, WatchHandle, WatchHandlers } from "../types.js";
import { defaultRetention, History, type Retention } from "./history.js";
import { parseKey } from "./keys.js";
import { byKey, endOf, Keyspace, lowerBound } from "./keyspace.js";
import { restamped, Snapshot, stamped } from "./snapshot.js";
import { Watchers } from "./watchers.js";

/** What a store needs. */
export interface StoreOptions {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly retention?: Retention;
}

/** A store whose past can be cut off by hand. */
export interface CompactableStore extends Store {
  /** Forgets what was before the current revision: watches and lists from there answer 410. */
  compact(): void;
}

type ListOptions = NonNullable<Parameters<Store["list"]>[1]>;
type ListResult = ReturnType<Store["list"]>;

/** A write that is not durable yet. */
interface PendingWrite {
  readonly event: StoreEvent;
  readonly resolve: (stored: Stored) => void;
  readonly reject: (error: Error) => void;
  /** Resolves when the write is durable or has failed. */
  readonly settled: Promise<unknown>;
}

/** Reads the journal and opens the store over it. Throws `JournalError` when it cannot be read. */
export function openStore(options: StoreOptions): CompactableStore {
  return new MvccStore(options);
}

/**
 * One writer: writes are checked against memory, get their revision, and wait in a queue; each turn of the event loop the
 * queue goes to the journal in one commit, and only then is it seen by readers and watchers.
 */
class MvccStore implements CompactableStore {
  readonly #clock: Clock;
  readonly #journal: Journal;
  readonly #live = new Keyspace();
  readonly #history: History;
  readonly #watchers: Watchers;
  readonly #pending = new Map<string, PendingWrite>();
  #queue: PendingWrite[] = [];
  #flushing: Promise<void> | undefined;
  #scheduled = false;
  #closed = false;
  #revision: number;
  #nextRevision: number;

  constructor(options: StoreOptions) {
    this.#clock = options.clock;
    this.#watchers = new Watchers(options.clock);
    this.#journal = options.journal;
    const { compacted, entries } = options.journal.load();
    this.#history = new History(compacted, options.retention ?? defaultRetention);
    this.#revision = compacted;
    for (const entry of entries) this.#restore(entry);
    this.#nextRevision = this.#revision + 1;
  }

  get revision(): number {
    return this.#revision;
  }

  #restore(entry: JournalEntry): void {
    const { key, revision, bytes } = entry;
    this.#revision = Math.max(this.#revision, revision);
    if (revision > this.#history.compacted) {
      const event = toEvent(entry, this.#live.get(key));
      if (event === undefined) return;
      this.#show(event);
      this.#history.push(event, entry.time);
    } else if (bytes === undefined) this.#live.remove(key);
    else this.#live.set(new Snapshot(key, revision, { bytes }));
  }

  get(key: string): Stored | undefined {
    return this.#live.get(key);
  }

  list(prefix: string, options: ListOptions = {}): ListResult {
    const at = options.at ?? this.#revision;
    this.#refuseCompacted(at);
    const bucket = this.#live.bucket(prefix);
    if (bucket === undefined && at >= this.#revision) return { items: [], revision: at, more: false, remaining: 0 };
    const live = bucket?.sorted() ?? [];
    const past = at >= this.#revision ? undefined : this.#history.statesAt(at, prefix);
    const all = past === undefined || past.size === 0 ? live : statesWith(live, past);
    const first = lowerBound(all, options.after === undefined ? prefix : `${options.after}\0`);
    const end = lowerBound(all, endOf(prefix));
    const last = options.limit === undefined ? end : Math.min(end, first + options.limit);
    return { items: all.slice(first, last), revision: at, more: last < end, remaining: Math.max(0, end - last) };
  }

  create(key: string, value: JsonObject): Promise<Stored> {
    return this.#write(key, (current, revision) => {
      if (current !== undefined) {
        const about = parseKey(key);
        throw alreadyExists(about, about.name);
      }
      return { type: "put", now: stamped(key, revision, value), old: undefined };
    });
  }

  update(key: string, expectedRevision: number, value: JsonObject): Promise<Stored> {
    return this.#write(key, (current, revision) => {
      const old = expectRevision(key, current, expectedRevision);
      return { type: "put", now: stamped(key, revision, value), old };
    });
  }

  delete(key: string, expectedRevision: number): Promise<Stored> {
    return this.#write(key, (current, revision) => {
      const old = expectRevision(key, current, expectedRevision);
      return { type: "delete", now: restamped(old, revision), old };
    });
  }

  watch(prefix: string, fromRevision: number, handlers: WatchHandlers): WatchHandle {
    this.#refuseCompacted(fromRevision);
    const missed = fromRevision < this.#revision ? [...this.#history.after(fromRevision, prefix)] : [];
    const watch = this.#watchers.add(prefix, handlers);
    if (missed.length > 0) handlers.onEvents(missed);
    return watch;
  }

  compact(): void {
    this.#history.compactTo(this.#revision);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    while (this.#queue.length > 0 || this.#flushing !== undefined) await this.#flush();
    this.#watchers.closeAll();
    await this.#journal.close();
  }

  #refuseCompacted(revision: number): void {
    if (revision >= this.#history.compacted) return;
    throw expired(`too old resource version: ${revision} (${this.#history.compacted})`);
  }

  /** One write on a key at a time: the next one waits and is judged by what the first left, durable or not. */
  async #write(key: string, build: (current: Stored | undefined, revision: number) => StoreEvent): Promise<Stored> {
    for (;;) {
      const before = this.#pending.get(key);
      if (before === undefined) break;
      await before.settled;
    }
    if (this.#closed) throw unavailable("the API server is shutting down");
    const event = build(this.#live.get(key), this.#nextRevision);
    this.#nextRevision++;
    return this.#enqueue(key, event);
  }

  #enqueue(key: string, event: StoreEvent): Promise<Stored> {
    const { promise, resolve, reject } = withResolvers();
    const settled = promise.then(
      () => undefined,
      () => undefined,
    );
    const write = { event, resolve, reject, settled };
    this.#pending.set(key, write);
    this.#queue.push(write);
    this.#schedule();
    return promise;
  }

  #schedule(): void {
    if (this.#scheduled || this.#flushing !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#flush(); // its failures go to the writers
    });
  }

  #flush(): Promise<void> {
    this.#flushing ??= this.#commit().finally(() => {
      this.#flushing = undefined;
      if (this.#queue.length > 0) this.#schedule();
    });
    return this.#flushing;
  }

  async #commit(): Promise<void> {
    const batch = this.#queue;
    this.#queue = [];
    if (batch.length === 0) return;
    const now = this.#clock.now();
    this.#history.compact(now);
    try {
      await this.#journal.append(toEntries(batch, now), this.#retained());
    } catch (error) {
      this.#fail(batch, toApiError(error));
      return;
    }
    this.#publish(batch, now);
  }

  #retained(): Retained {
    return {
      compacted: this.#history.compacted,
      liveBytes: this.#live.bytes,
      isLive: (key, revision) => this.#live.get(key)?.revision === revision,
      isPast: (revision) => this.#history.remembers(revision),
    };
  }

  #fail(batch: readonly PendingWrite[], error: Error): void {
    for (const { event, reject } of batch) {
      this.#pending.delete(event.now.key);
      reject(error);
    }
  }

  #publish(batch: readonly PendingWrite[], now: number): void {
    const events: StoreEvent[] = [];
    for (const { event } of batch) {
      this.#pending.delete(event.now.key);
      this.#revision = event.now.revision;
      this.#show(event);
      this.#history.push(event, now);
      events.push(event);
    }
    for (const { event, resolve } of batch) resolve(event.now);
    this.#watchers.deliver(events);
    // Of what was replaced few ask again, and then it is read from its bytes.
    for (const { old } of events) if (old instanceof Snapshot) old.forget();
  }

  #show(event: StoreEvent): void {
    if (event.type === "put") this.#live.set(event.now);
    else this.#live.remove(event.now.key);
  }
}

function withResolvers(): {
  promise: Promise<Stored>;
  resolve: (stored: Stored) => void;
  reject: (error: Error) => void;
} {
  let resolve: (stored: Stored) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<Stored>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

function toEntries(batch: readonly PendingWrite[], time: number): JournalEntry[] {
  return batch.map(({ event: { type, now } }) => ({
    revision: now.revision,
    time,
    key: now.key,
    bytes: type === "put" ? now.bytes : undefined,
  }));
}

function toEvent(entry: JournalEntry, old: Stored | undefined): StoreEvent | undefined {
  const { bytes, key, revision } = entry;
  if (bytes !== undefined) {
    return { type: "put", now: new Snapshot(key, revision, { bytes }), old };
  }
  return old === undefined ? undefined : { type: "delete", now: restamped(old, revision), old };
}

function expectRevision(key: string, current: Stored | undefined, expected: number): Stored {
  const about = parseKey(key);
  if (current === undefined) throw notFound(about, about.name);
  if (current.revision !== expected) throw conflict(about, about.name);
  return current;
}

/** The objects as they were: what is live, with what it was and what was deleted since, without what was made since. */
function statesWith(live: readonly Stored[], past: ReadonlyMap<string, Stored | undefined>): Stored[] {
  const states = live.filter((stored) => !past.has(stored.key));
  for (const stored of past.values()) if (stored !== undefined) states.push(stored);
  return states.sort(byKey);
}

function toApiError(error: unknown): Error {
  const code = error instanceof ArgosyError ? error.code : "";
  if (code === "DiskFull") return insufficientStorage(`the write was not made: ${messageOf(error)}`);
  return internalError(`the write was not made: ${messageOf(error)}`, error);
}
