import type { Clock, Random, Timer } from "../clock/index.js";
import type { Key } from "./types.js";

/** What a queue does with its keys. */
export interface QueueOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Keys worked on at once. */
  readonly concurrency: number;
  /** Must not reject. Never called for a key that is being worked on. */
  readonly work: (key: Key) => Promise<void>;
}

/** Keys waiting for work: each at most once, however often it was added. */
export interface Queue {
  /** Wants the key looked at: `fresh` (something changed) goes before `resync` (looking again to be sure). */
  add(key: Key, urgency?: "fresh" | "resync"): void;
  /** Adds the key after a while; of several such wishes the earliest counts. */
  addAfter(key: Key, delayMs: number): void;
  /** Adds the key after a back-off that grows with each call until `forget`. */
  addRateLimited(key: Key): void;
  /** The key succeeded: its back-off starts anew. */
  forget(key: Key): void;
  /** Begins to work; until then keys only gather. */
  start(): void;
  /** Stops handing out keys and resolves when the running ones are finished. */
  close(): Promise<void>;
  /** Keys that wait for a worker. */
  readonly depth: number;
  /** Failures of a key since it last succeeded. */
  failures(key: Key): number;
}

const firstBackoffMs = 50;
const maxBackoffMs = 120_000;
/**
 * Keys begun in one turn of the event loop. Work that finds everything as it should be waits for nothing, so that a long queue of it would
 * let nothing else of the process run until it is empty.
 */
const maxPerTurn = 64;

const textOf = (key: Key): string => `${key.namespace}/${key.name}`;

/** Makes a queue that is not started. */
export function createQueue(options: QueueOptions): Queue {
  return new WorkQueue(options);
}

class WorkQueue implements Queue {
  readonly #options: QueueOptions;
  // Maps keep the order of insertion, which is the order of service.
  readonly #fresh = new Map<string, Key>();
  readonly #resync = new Map<string, Key>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #again = new Map<string, Key>();
  readonly #delayed = new Map<string, { readonly dueMs: number; readonly timer: Timer }>();
  readonly #failures = new Map<string, number>();
  #isOpen = true;
  #isStarted = false;
  #begunThisTurn = 0;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  add(key: Key, urgency: "fresh" | "resync" = "fresh"): void {
    if (!this.#isOpen) return;
    const text = textOf(key);
    if (this.#running.has(text)) {
      // A resync of what is being looked at right now adds nothing.
      if (urgency === "fresh") this.#again.set(text, key);
      return;
    }
    if (urgency === "fresh") {
      this.#resync.delete(text);
      this.#fresh.set(text, key);
    } else if (!this.#fresh.has(text)) this.#resync.set(text, key);
    this.#dispatch();
  }

  addAfter(key: Key, delayMs: number): void {
    if (!this.#isOpen) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const { clock } = this.#options;
    const text = textOf(key);
    const dueMs = clock.monotonicMs() + delayMs;
    const earlier = this.#delayed.get(text);
    if (earlier !== undefined && earlier.dueMs <= dueMs) return;
    earlier?.timer.cancel();
    const timer = clock.setTimer(delayMs, () => {
      this.#delayed.delete(text);
      this.add(key);
    });
    this.#delayed.set(text, { dueMs, timer });
  }

  addRateLimited(key: Key): void {
    const count = this.failures(key);
    this.#failures.set(textOf(key), count + 1);
    const limitMs = Math.min(firstBackoffMs * 2 ** Math.min(count, 20), maxBackoffMs);
    this.addAfter(key, limitMs * (0.8 + 0.4 * this.#options.random.next()));
  }

  forget(key: Key): void {
    this.#failures.delete(textOf(key));
  }

  start(): void {
    this.#isStarted = true;
    this.#dispatch();
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    for (const { timer } of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    this.#fresh.clear();
    this.#resync.clear();
    await Promise.all(this.#running.values());
  }

  get depth(): number {
    return this.#fresh.size + this.#resync.size;
  }

  failures(key: Key): number {
    return this.#failures.get(textOf(key)) ?? 0;
  }

  #takeNext(): Key | undefined {
    for (const waiting of [this.#fresh, this.#resync]) {
      for (const [text, key] of waiting) {
        waiting.delete(text);
        return key;
      }
    }
    return undefined;
  }

  #nextTurn(): void {
    this.#begunThisTurn = 0;
    this.#dispatch();
  }

  #dispatch(): void {
    while (this.#isOpen && this.#isStarted && this.#running.size < this.#options.concurrency) {
      if (this.#begunThisTurn >= maxPerTurn) return;
      const key = this.#takeNext();
      if (key === undefined) return;
      this.#begunThisTurn += 1;
      if (this.#begunThisTurn === 1) setImmediate(() => this.#nextTurn());
      const text = textOf(key);
      const finished = this.#options.work(key).finally(() => {
        this.#running.delete(text);
        const dirty = this.#again.get(text);
        this.#again.delete(text);
        if (dirty !== undefined) this.add(dirty);
        this.#dispatch();
      });
      this.#running.set(text, finished);
    }
  }
}
