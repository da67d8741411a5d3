import { ArgosyError } from "../errors/index.js";
import { abortReason, clockSleep } from "./sleep.js";
import type { Clock, Timer } from "./types.js";

/** A clock that moves only when told to; between timers everything that is ready to run (promises, immediates, file calls) runs. */
export interface VirtualClock extends Clock {
  /** Moves time forward by `ms`, firing what falls due in order of time, then of creation. */
  advance(ms: number): Promise<void>;
  /** Lets promise chains, `setImmediate` and file-system calls settle without moving time. */
  settle(): Promise<void>;
  /** Jumps from timer to timer until none is pending or `limitMs` (default one day) have passed. Returns the milliseconds passed. */
  runUntilIdle(limitMs?: number): Promise<number>;
  /** Jumps from timer to timer until `condition` holds. Throws when it does not within `limitMs` of virtual time. Returns the milliseconds passed. */
  runUntil(condition: () => boolean | Promise<boolean>, limitMs: number): Promise<number>;
  /** Timers that have not fired. */
  readonly pendingTimers: number;
}

interface Entry {
  readonly dueMs: number;
  readonly sequence: number;
  /** Undefined: it was cancelled. What it would have done is let go of at once, for it may wait for long. */
  fire: (() => void) | undefined;
}

const dayMs = 86_400_000;
const MANY_CANCELLED = 1000;
/** Work that never comes to rest (a loop of immediates) must not hang time for ever. */
const maxSettleRounds = 20_000;

const isBefore = (a: Entry, b: Entry): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.sequence < b.sequence);

/** Binary min-heap of timers. */
class TimerHeap {
  #entries: Entry[] = [];
  #cancelled = 0;

  push(entry: Entry): void {
    const entries = this.#entries;
    let index = entries.push(entry) - 1;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = entries[parentIndex];
      if (parent === undefined || !isBefore(entry, parent)) break;
      entries[index] = parent;
      index = parentIndex;
    }
    entries[index] = entry;
  }

  cancel(entry: Entry): void {
    if (entry.fire === undefined) return;
    entry.fire = undefined;
    this.#cancelled += 1;
    if (this.#cancelled > MANY_CANCELLED && this.#cancelled > this.#entries.length / 2) this.#compact();
  }

  /** Most timers are time limits, which are cancelled long before they are due. */
  #compact(): void {
    // What is in order is a heap.
    this.#entries = this.#entries.filter(({ fire }) => fire !== undefined).sort((a, b) => (isBefore(a, b) ? -1 : 1));
    this.#cancelled = 0;
  }

  /** The earliest timer that is not cancelled. */
  peek(): Entry | undefined {
    for (let first = this.#entries[0]; first !== undefined && first.fire === undefined; first = this.#entries[0]) {
      this.#dropFirst();
      this.#cancelled -= 1;
    }
    return this.#entries[0];
  }

  pop(): Entry | undefined {
    const first = this.peek();
    if (first !== undefined) this.#dropFirst();
    return first;
  }

  get size(): number {
    return this.#entries.length - this.#cancelled;
  }

  #dropFirst(): void {
    const entries = this.#entries;
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return;
    let index = 0;
    for (;;) {
      let childIndex = 2 * index + 1;
      const left = entries[childIndex];
      if (left === undefined) break;
      const right = entries[childIndex + 1];
      if (right !== undefined && isBefore(right, left)) childIndex += 1;
      const child = entries[childIndex];
      if (child === undefined || !isBefore(child, last)) break;
      entries[index] = child;
      index = childIndex;
    }
    entries[index] = last;
  }
}

/** Whether this thread has work under way that will run by itself: immediates, file calls, jobs of the crypto pool. */
function hasWorkUnderWay(): boolean {
  return process
    .getActiveResourcesInfo()
    .some((name) => name === "Immediate" || name.startsWith("FSReq") || name.endsWith("Job"));
}

const nextImmediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function settleThread(): Promise<void> {
  let quietRounds = 0;
  for (let round = 0; round < maxSettleRounds && quietRounds < 2; round += 1) {
    await nextImmediate();
    quietRounds = hasWorkUnderWay() ? 0 : quietRounds + 1;
  }
}

async function settleWith(others: (() => Promise<void>) | undefined): Promise<void> {
  await settleThread();
  if (others === undefined) return;
  await others();
  await settleThread();
}

/**
 * Makes a clock that starts at `startMs` (default 2026-01-01T00:00:00Z) and stands still until it is advanced. `others` resolves
 * when what this thread cannot see (a server in a process of its own) has come to rest too; default: there is nothing of the kind.
 */
export function virtualClock(startMs: number = Date.UTC(2026, 0, 1), others?: () => Promise<void>): VirtualClock {
  let nowMs = startMs;
  let sequence = 0;
  const heap = new TimerHeap();

  const setTimer = (delayMs: number, fire: () => void): Timer => {
    sequence += 1;
    const entry: Entry = { dueMs: nowMs + Math.max(0, delayMs), sequence, fire };
    heap.push(entry);
    return { cancel: () => heap.cancel(entry) };
  };

  const settle = () => settleWith(others);

  /** Fires everything due at the earliest time not after `untilMs`; false when there is nothing. */
  const step = async (untilMs: number): Promise<boolean> => {
    const first = heap.peek();
    if (first === undefined || first.dueMs > untilMs) return false;
    nowMs = Math.max(nowMs, first.dueMs);
    for (let entry = heap.peek(); entry !== undefined && entry.dueMs <= nowMs; entry = heap.peek()) {
      heap.pop();
      const { fire } = entry;
      entry.fire = undefined;
      fire?.();
    }
    await settle();
    return true;
  };

  return {
    now: () => nowMs,
    monotonicMs: () => nowMs - startMs,
    setTimer,
    sleep(delayMs, signal) {
      return signal?.aborted === true ? Promise.reject(abortReason(signal)) : clockSleep(setTimer, delayMs, signal);
    },
    settle,
    get pendingTimers() {
      return heap.size;
    },
    async advance(ms) {
      const untilMs = nowMs + ms;
      await settle();
      while (await step(untilMs));
      nowMs = Math.max(nowMs, untilMs);
    },
    async runUntilIdle(limitMs = dayMs) {
      const beganMs = nowMs;
      await settle();
      while (await step(beganMs + limitMs));
      return nowMs - beganMs;
    },
    async runUntil(condition, limitMs) {
      const beganMs = nowMs;
      await settle();
      while (!(await condition())) {
        if (!(await step(beganMs + limitMs))) {
          throw new ArgosyError("NotReached", `condition not reached within ${limitMs} ms of virtual time`);
        }
      }
      return nowMs - beganMs;
    },
  };
}
