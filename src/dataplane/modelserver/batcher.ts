import type { Clock, Timer } from "../../kernel/clock/types.js";
import { HttpError } from "../../kernel/http1/index.js";
import type { TensorValue } from "../../kernel/tensors/index.js";
import { joinInputs, keyOf, sliceOutputs } from "./batch-rows.js";
import type { Engine } from "./engines/types.js";
import { EngineFault } from "./failures.js";
import type { Turns } from "./turns.js";

/** What a run with more than `maxRows` rows may take, milliseconds. */
const SHORT_MS = 1;

/** One run of a model, as it is counted. */
export interface BatchRun {
  readonly rows: number;
  readonly requests: number;
  /** Milliseconds inside the model. */
  readonly ms: number;
  /** Milliseconds that each of the requests waited for it. */
  readonly waitsMs: readonly number[];
}

/** How a model's requests share runs. */
export interface BatchOptions {
  /** Most rows of one run; 1: no sharing. */
  readonly maxRows: number;
  /** Most rows while so many take no longer than a millisecond, as the last runs were; default `maxRows`. */
  readonly maxShortRows?: number;
  /** How long a request may wait for company when nothing runs; 0: not at all. */
  readonly maxDelayMs: number;
  /** Most requests that wait; beyond it 503. */
  readonly maxWaiting: number;
  readonly clock: Clock;
  /** The server's, shared by its models. */
  readonly turns: Turns;
  /** Told after each run that gave an answer. */
  readonly onRun: (run: BatchRun) => void;
}

/** Runs inferences, several requests in one where that is possible. */
export interface Batcher {
  /**
   * What one request's data cause fails that request only. `isGone` is asked before a run begins: what nobody waits for any
   * more is not computed (a 499 `HttpError`). `deadlineMs`: when the answer is worth nothing any more, by the clock's
   * `monotonicMs`; 504 then, and no run that starts later.
   */
  infer(inputs: readonly TensorValue[], isGone?: () => boolean, deadlineMs?: number): Promise<TensorValue[]>;
  readonly waiting: number;
  /** Resolves when nothing waits and nothing runs. */
  idle(): Promise<void>;
}

/** A request. A class: as a literal with spreads it costs several times as much, and there is one a request. */
class Job {
  readonly inputs: readonly TensorValue[];
  readonly rows: number;
  /** Jobs with the same key may share a run: same names, types and shapes but for the rows. `undefined`: with none. */
  key: string | undefined;
  readonly sinceMs: number;
  readonly isGone: (() => boolean) | undefined;
  deadlineMs = Number.POSITIVE_INFINITY;
  timer: Timer | undefined = undefined;
  /** Runs that it was in when the model's worker failed. */
  faults = 0;
  isOver = false;
  readonly #resolve: (outputs: TensorValue[]) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    inputs: readonly TensorValue[],
    how: { rows: number; key: string | undefined; sinceMs: number; isGone: (() => boolean) | undefined },
    resolve: (outputs: TensorValue[]) => void,
    reject: (error: unknown) => void,
  ) {
    this.inputs = inputs;
    this.rows = how.rows;
    this.key = how.key;
    this.sinceMs = how.sinceMs;
    this.isGone = how.isGone;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  finish(outputs: TensorValue[]): void {
    if (this.isOver) return;
    this.isOver = true;
    this.timer?.cancel();
    this.#resolve(outputs);
  }

  fail(error: unknown): void {
    if (this.isOver) return;
    this.isOver = true;
    this.timer?.cancel();
    this.#reject(error);
  }
}

/**
 * Natural batching: while runs are under way arrivals wait, and the next run takes all that fit together. A request that is
 * alone runs at once, so idle latency is that of a plain run (unless `maxDelayMs` asks for waiting).
 */
export function createBatcher(engine: Engine, options: BatchOptions): Batcher {
  return new NaturalBatcher(engine, options);
}

class NaturalBatcher implements Batcher {
  readonly #engine: Engine;
  readonly #options: BatchOptions;
  #queue: Job[] = [];
  #active = 0;
  #isTurnDue = false;
  #ripening: Timer | undefined;
  #shares: boolean;
  /** What a run takes, smoothed: a request whose deadline comes near does not wait for more company. */
  #runMs = 0;
  /** What a row took in the last runs, smoothed. */
  #rowMs = 0;
  /** Most rows of a run that was short. */
  #shortRows = 0;
  readonly #hasEqualRows: boolean;
  #idlers: (() => void)[] = [];

  constructor(engine: Engine, options: BatchOptions) {
    this.#engine = engine;
    this.#options = options;
    this.#shares = engine.batchable && options.maxRows > 1;
    this.#hasEqualRows = engine.inputs.every(
      ({ shape, datatype }) => datatype !== "BYTES" && shape.slice(1).every((size) => size >= 0),
    );
  }

  get waiting(): number {
    return this.#queue.length;
  }

  infer(inputs: readonly TensorValue[], isGone?: () => boolean, deadlineMs?: number): Promise<TensorValue[]> {
    return new Promise((resolve, reject) => {
      if (this.#queue.length >= this.#options.maxWaiting) this.#forgetGone();
      if (this.#queue.length >= this.#options.maxWaiting) {
        return reject(new HttpError(503, `${this.#queue.length} requests wait already`, { "retry-after": "1" }));
      }
      const rows = this.#shares ? (inputs[0]?.shape[0] ?? 1) : 1;
      const alike = this.#shares && inputs.every((input) => input.shape[0] === rows);
      const sinceMs = this.#options.clock.monotonicMs();
      const key = alike ? keyOf(inputs) : undefined;
      const job = new Job(inputs, { rows, key, sinceMs, isGone }, resolve, reject);
      if (deadlineMs !== undefined) job.deadlineMs = deadlineMs;
      if (deadlineMs === undefined || this.#guard(job)) {
        this.#options.turns.arrived();
        this.#queue.push(job);
        this.#schedule();
      }
    });
  }

  idle(): Promise<void> {
    if (this.#active === 0 && this.#queue.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idlers.push(resolve));
  }

  /** Ends the job when its time is over; false when that is so already. */
  #guard(job: Job): boolean {
    const expire = (): void => this.#leave(job, new HttpError(504, "the request's deadline passed before its answer"));
    if (job.deadlineMs <= job.sinceMs) {
      expire();
      return false;
    }
    job.timer = this.#options.clock.setTimer(job.deadlineMs - job.sinceMs, expire);
    return true;
  }

  #forgetGone(): void {
    for (const job of this.#queue) {
      if (job.isGone?.() !== true) continue;
      for (const gone of this.#queue.filter((each) => each.isGone?.() === true))
        this.#leave(gone, new HttpError(499, "nobody waits for the answer any more"));
      return;
    }
  }

  #leave(job: Job, error: HttpError): void {
    if (job.isOver) return;
    this.#queue = this.#queue.filter((each) => each !== job);
    job.fail(error);
    this.#tellIdle();
  }

  #schedule(): void {
    if (this.#active >= this.#engine.concurrency || this.#isTurnDue || this.#queue.length === 0) return;
    if (!this.#isRipe()) this.#ripen();
    else {
      // One turn of the event loop lets requests that are already here join, and others than this model's be read between two runs.
      this.#isTurnDue = true;
      this.#options.turns.end(this.#onTurn);
    }
  }

  readonly #onTurn = (): void => {
    this.#isTurnDue = false;
    this.#start();
  };

  #isRipe(): boolean {
    return this.#ripeMs() <= this.#options.clock.monotonicMs();
  }

  #ripen(): void {
    this.#ripening ??= this.#options.clock.setTimer(this.#ripeMs() - this.#options.clock.monotonicMs(), () => {
      this.#ripening = undefined;
      this.#start();
    });
  }

  /** When the request that came first has had its wait for company; now, when there is nothing to wait for. */
  #ripeMs(): number {
    const { maxDelayMs, maxRows } = this.#options;
    const [first] = this.#queue;
    if (maxDelayMs <= 0 || first?.key === undefined) return Number.NEGATIVE_INFINITY;
    let rows = 0;
    let ripe = first.sinceMs + maxDelayMs;
    for (const job of this.#queue) {
      if (job.key !== first.key) continue;
      rows += job.rows;
      ripe = Math.min(ripe, job.deadlineMs - 2 * this.#runMs);
    }
    return rows >= maxRows ? Number.NEGATIVE_INFINITY : ripe;
  }

  #start(): void {
    this.#ripening?.cancel();
    this.#ripening = undefined;
    this.#forgetGone();
    while (this.#active < this.#engine.concurrency && this.#queue.length > 0) {
      const batch = this.#takeBatch();
      if (batch.length === 0) continue;
      this.#active++;
      // A run reports its failures to its jobs.
      void this.#run(batch).then(() => {
        this.#active--;
        this.#schedule();
        this.#tellIdle();
      });
      if (this.#queue.length > 0 && !this.#isRipe()) {
        this.#ripen();
        return;
      }
    }
  }

  #tellIdle(): void {
    if (this.#active > 0 || this.#queue.length > 0) return;
    for (const resolve of this.#idlers.splice(0)) resolve();
  }

  #takeBatch(): Job[] {
    const [first] = this.#queue;
    if (first === undefined) return [];
    if (!this.#shares || first.key === undefined) return this.#queue.splice(0, 1);
    const batch: Job[] = [];
    const rest: Job[] = [];
    let rows = 0;
    const maxRows = this.#maxRows();
    for (const job of this.#queue) {
      if (job === first || (job.key === first.key && rows + job.rows <= maxRows)) {
        batch.push(job);
        rows += job.rows;
      } else rest.push(job);
    }
    this.#queue = rest;
    return batch;
  }

  /** Never more than four times what was short already: by then the engine has seen it, too. */
  #maxRows(): number {
    const { maxRows, maxShortRows = maxRows } = this.#options;
    if (!this.#hasEqualRows || this.#shortRows === 0) return maxRows;
    const short = Math.min(maxShortRows, 4 * this.#shortRows, Math.floor(SHORT_MS / this.#rowMs));
    return Math.max(maxRows, short);
  }

  #learn(rows: number, ms: number): void {
    this.#runMs = this.#runMs === 0 ? ms : 0.8 * this.#runMs + 0.2 * ms;
    const rowMs = ms / Math.max(rows, 1);
    this.#rowMs = this.#rowMs === 0 ? rowMs : 0.8 * this.#rowMs + 0.2 * rowMs;
    if (ms <= SHORT_MS && rows > this.#shortRows) this.#shortRows = rows;
  }

  async #run(asked: readonly Job[]): Promise<void> {
    const { clock, onRun } = this.#options;
    const batch = asked.some((job) => job.isOver) ? asked.filter((job) => !job.isOver) : asked;
    const [only] = batch;
    if (only === undefined) return;
    const started = clock.monotonicMs();
    const rows = batch.reduce((sum, job) => sum + job.rows, 0);
    try {
      const inputs =
        batch.length === 1
          ? only.inputs
          : joinInputs(
              batch.map((job) => job.inputs),
              rows,
            );
      const outputs = await this.#engine.run(inputs);
      const ms = clock.monotonicMs() - started;
      this.#learn(rows, ms);
      onRun({ rows, requests: batch.length, ms, waitsMs: batch.map((job) => started - job.sinceMs) });
      if (batch.length === 1) return only.finish(outputs);
      if (outputs.every((output) => output.shape[0] === rows)) return split(batch, outputs);
      // The model does not keep rows apart, whatever it declares.
      this.#shares = false;
      for (const job of batch) await this.#run([job]);
    } catch (error) {
      await this.#recover(batch, error);
    }
  }

  /** One bad request must not fail its neighbours: halves are tried, down to the one that it is. */
  async #recover(batch: readonly Job[], error: unknown): Promise<void> {
    if (error instanceof EngineFault) return this.#survive(batch, error);
    if (batch.length === 1) return fail(batch, error);
    const middle = Math.ceil(batch.length / 2);
    await this.#run(batch.slice(0, middle));
    await this.#run(batch.slice(middle));
  }

  /** The worker is gone: who was in its last run alone may have been the cause; the others try once more, each alone. */
  #survive(batch: readonly Job[], fault: EngineFault): void {
    const again = fault.kind === "restarting" || batch.length === 1 ? [] : batch.filter((job) => job.faults === 0);
    fail(
      batch.filter((job) => !again.includes(job)),
      fault,
    );
    for (const job of again) {
      job.faults++;
      job.key = undefined;
    }
    this.#queue.unshift(...again.filter((job) => !job.isOver));
  }
}

function fail(batch: readonly Job[], error: unknown): void {
  for (const job of batch) job.fail(error);
}

function split(batch: readonly Job[], outputs: readonly TensorValue[]): void {
  let row = 0;
  for (const job of batch) {
    job.finish(sliceOutputs(outputs, row, job.rows));
    row += job.rows;
  }
}
