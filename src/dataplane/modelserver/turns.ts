/**
 * Turns of the event loop, shared by all models of a server. A turn that carries one or two requests costs two to three times the processor
 * time a request that a turn of twenty costs, so a server that is asked often is busy long before it is full, and what stops it for a moment
 * (a collection, the scheduler) is felt for long. Network cards have the same trouble with interrupts, and so has this their remedy: while turns come fast and carry few,
 * the thread rests a tenth of a millisecond after a turn's answers, and what comes meanwhile is read by one turn.
 */
import type { Clock } from "../../kernel/clock/types.js";

/** How long the thread rests at least, milliseconds; with the kernel's slack and the turn itself some eight of 25,000 a second gather. Twice as long is hardly cheaper, and keeps everybody half as long again. */
const REST_MS = 0.1;
/** After more time than this without a turn nobody is kept waiting: the load has gone. */
const DENSE_MS = 1;
/** Turns with so many are as cheap as they become. */
const FULL = 16;
/** A window is judged after so many requests, or this long. */
const WINDOW_REQUESTS = 1024;
const WINDOW_MS = 100;
/** Gathering begins when the thread is busy this share of the time with turns of fewer requests than that. */
const BUSY = 0.6;
const FEW = 8;
/** Shares of the rate before, between which the rate stays while callers do not wait for answers before they ask again. */
const LEAST = 0.85;
const MOST = 1.3;
/** Windows in a row with less until it ends: one may be the scheduler's fault. */
const PATIENCE = 2;
/** How long it stays ended; doubled each time that no window was good. */
const HOLD_MS = 1000;
const MAX_HOLD_MS = 64_000;

/** The thread as it is seen and stopped. */
export interface LoopThread {
  /** Milliseconds that the event loop had nothing to do, since it began. */
  idleMs(): number;
  /** Stops the thread. */
  rest(ms: number): void;
}

/** Turns of the event loop. */
export interface Turns {
  /** A request came. */
  arrived(): void;
  /** Calls `start` in this turn, when what is already here was read. */
  end(start: () => void): void;
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** This thread. Timers are too coarse for its rests: their unit is the millisecond. */
const thisThread: LoopThread = {
  idleMs: () => performance.eventLoopUtilization().idle,
  rest: (ms) => void Atomics.wait(never, 0, 0, ms),
};

/** Makes the turns of a server; one that is asked seldom, or whose callers wait for each answer, never rests. */
export function createTurns(clock: Clock, thread: LoopThread = thisThread): Turns {
  return new LoopTurns(clock, thread);
}

/** Requests of a while. */
interface Window {
  readonly ms: number;
  /** Share of the time that the thread had something to do. */
  readonly busy: number;
  readonly requests: number;
  readonly turns: number;
}

/** Decides by windows whether requests gather. */
class Gathering {
  isOn = false;
  /** Requests a millisecond when it began. */
  #rate = 0;
  #isProven = false;
  #misses = 0;
  #holdMs = HOLD_MS;
  #offUntilMs = 0;

  judge(window: Window, nowMs: number): void {
    const { ms, busy, requests, turns } = window;
    const rate = requests / ms;
    if (!this.isOn) {
      if (nowMs < this.#offUntilMs || busy < BUSY || requests >= FEW * turns) return;
      this.isOn = true;
      this.#rate = rate;
      this.#isProven = false;
      this.#misses = 0;
    } else if (rate > MOST * this.#rate) this.isOn = false;
    else if (rate >= LEAST * this.#rate && requests >= 2 * turns) {
      this.#isProven = true;
      this.#misses = 0;
      this.#holdMs = HOLD_MS;
    } else if (++this.#misses >= PATIENCE) {
      // The load has gone; or callers ask again when they are answered, and rests only keep them.
      this.isOn = false;
      this.#offUntilMs = nowMs + this.#holdMs;
      if (!this.#isProven) this.#holdMs = Math.min(2 * this.#holdMs, MAX_HOLD_MS);
    }
  }
}

class LoopTurns implements Turns {
  readonly #clock: Clock;
  readonly #thread: LoopThread;
  readonly #gathering = new Gathering();
  /** The end of this turn, behind all that was begun in it. */
  #end: NodeJS.Immediate | undefined;
  #endedMs = 0;
  /** Requests since the turn before. */
  #arrived = 0;
  #requests = 0;
  #turns = 0;
  #sinceMs = 0;
  #idleMs = 0;

  constructor(clock: Clock, thread: LoopThread) {
    this.#clock = clock;
    this.#thread = thread;
  }

  arrived(): void {
    this.#arrived++;
  }

  end(start: () => void): void {
    setImmediate(start);
    if (this.#end !== undefined) clearImmediate(this.#end);
    this.#end = setImmediate(this.#onEnd);
  }

  readonly #onEnd = (): void => {
    this.#end = undefined;
    const requests = this.#arrived;
    this.#arrived = 0;
    this.#turns++;
    this.#requests += requests;
    const nowMs = this.#clock.monotonicMs();
    const gapMs = nowMs - this.#endedMs;
    this.#endedMs = nowMs;
    if (gapMs >= WINDOW_MS) {
      // Silence: nothing of what was before says anything of what comes.
      this.#gathering.isOn = false;
      this.#begin(nowMs, this.#thread.idleMs());
    } else if (this.#requests >= WINDOW_REQUESTS || nowMs - this.#sinceMs >= WINDOW_MS) this.#judge(nowMs);
    if (this.#gathering.isOn && gapMs <= DENSE_MS && requests < FULL) this.#thread.rest(REST_MS);
  };

  #judge(nowMs: number): void {
    const idleMs = this.#thread.idleMs();
    const ms = nowMs - this.#sinceMs;
    const busy = 1 - (idleMs - this.#idleMs) / ms;
    if (ms > 0) this.#gathering.judge({ ms, busy, requests: this.#requests, turns: this.#turns }, nowMs);
    this.#begin(nowMs, idleMs);
  }

  #begin(nowMs: number, idleMs: number): void {
    this.#sinceMs = nowMs;
    this.#idleMs = idleMs;
    this.#requests = 0;
    this.#turns = 0;
  }
}
