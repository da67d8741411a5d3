import type { Clock, Timer } from "../../kernel/clock/types.js";
import { HttpError } from "../../kernel/http1/index.js";
import type { TensorData, TensorValue } from "./datatypes.js";
import { typeInfo } from "./datatypes.js";
import type { Engine } from "./engine.unsafe.js";

/** How a model's requests share runs. */
export interface BatchOptions {
  /** Most rows of one run; 1: no sharing. */
  readonly maxRows: number;
  /** How long a request may wait for company when nothing runs; 0: not at all. */
  readonly maxDelayMs: number;
  /** Most requests that wait; beyond it 503. */
  readonly maxWaiting: number;
  readonly clock: Clock;
  /** Told after each run: rows, requests, and milliseconds of the run. */
  readonly onRun: (rows: number, requests: number, ms: number) => void;
}

/** Runs inferences, several requests in one where that is possible. */
export interface Batcher {
  /** `isGone` is asked before a run begins: what nobody waits for any more is not computed (a 499 `HttpError`). */
  infer(inputs: readonly TensorValue[], isGone?: () => boolean): Promise<TensorValue[]>;
  readonly waiting: number;
  /** Resolves when nothing waits and nothing runs. */
  idle(): Promise<void>;
}

interface Job {
  readonly inputs: readonly TensorValue[];
  readonly rows: number;
  /** Jobs with the same key may share a run: same shapes but for the rows. `undefined`: with none. */
  readonly key: string | undefined;
  readonly isGone: (() => boolean) | undefined;
  readonly resolve: (outputs: TensorValue[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Natural batching: while a run is under way arrivals wait, and the next run takes all that fit together. A request that is
 * alone runs at once, so idle latency is that of a plain run (unless `maxDelayMs` asks for waiting).
 */
export function createBatcher(engine: Engine, options: BatchOptions): Batcher {
  return new NaturalBatcher(engine, options);
}

class NaturalBatcher implements Batcher {
  readonly #engine: Engine;
  readonly #options: BatchOptions;
  #queue: Job[] = [];
  #running = false;
  #delay: Timer | undefined;
  #shares: boolean;
  /** The last run was of one request: the next one need not look for company. */
  #isLonely = false;

  constructor(engine: Engine, options: BatchOptions) {
    this.#engine = engine;
    this.#options = options;
    this.#shares = engine.batchable && options.maxRows > 1;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  infer(inputs: readonly TensorValue[], isGone?: () => boolean): Promise<TensorValue[]> {
    return new Promise((resolve, reject) => {
      if (this.#queue.length >= this.#options.maxWaiting) {
        return reject(new HttpError(503, `${this.#queue.length} requests wait already`, { "retry-after": "1" }));
      }
      const rows = this.#shares ? (inputs[0]?.shape[0] ?? 1) : 1;
      const alike = this.#shares && inputs.every((input) => input.shape[0] === rows);
      this.#queue.push({ inputs, rows, key: alike ? keyOf(inputs) : undefined, isGone, resolve, reject });
      if (!this.#running) this.#schedule();
    });
  }

  async idle(): Promise<void> {
    while (this.#running || this.#queue.length > 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  #schedule(): void {
    const { maxDelayMs, maxRows, clock } = this.#options;
    const enough = this.#queue.reduce((sum, job) => sum + job.rows, 0) >= maxRows;
    if (maxDelayMs > 0 && this.#shares && !enough) this.#delay ??= clock.setTimer(maxDelayMs, () => this.#start());
    else this.#start();
  }

  #start(): void {
    this.#delay?.cancel();
    this.#delay = undefined;
    if (this.#running) return;
    this.#running = true;
    // One turn of the event loop lets requests that are already here join. Runs report their failures to their jobs.
    if (this.#isLonely) void this.#drain();
    else setImmediate(() => void this.#drain());
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      this.#forgetGone();
      const batch = this.#takeBatch();
      this.#isLonely = batch.length === 1;
      await this.#run(batch);
    }
    this.#running = false;
  }

  #forgetGone(): void {
    let gone = 0;
    for (const job of this.#queue) {
      if (job.isGone?.() !== true) continue;
      gone++;
      job.reject(new HttpError(499, "nobody waits for the answer any more"));
    }
    if (gone > 0) this.#queue = this.#queue.filter((job) => job.isGone?.() !== true);
  }

  #takeBatch(): Job[] {
    const [first] = this.#queue;
    if (!this.#shares || first?.key === undefined) return this.#queue.splice(0, 1);
    const batch: Job[] = [];
    const rest: Job[] = [];
    let rows = 0;
    for (const job of this.#queue) {
      if (job === first || (job.key === first.key && rows + job.rows <= this.#options.maxRows)) {
        batch.push(job);
        rows += job.rows;
      } else rest.push(job);
    }
    this.#queue = rest;
    return batch;
  }

  async #run(batch: readonly Job[]): Promise<void> {
    const [only] = batch;
    if (only === undefined) return;
    const { clock, onRun } = this.#options;
    const started = clock.monotonicMs();
    const rows = batch.reduce((sum, job) => sum + job.rows, 0);
    try {
      const outputs = await this.#engine.run(batch.length === 1 ? only.inputs : joinInputs(batch, rows));
      onRun(rows, batch.length, clock.monotonicMs() - started);
      if (batch.length === 1) return only.resolve(outputs);
      if (outputs.every((output) => output.shape[0] === rows)) return splitOutputs(batch, outputs);
      // The model does not keep rows apart, whatever it declares.
      this.#shares = false;
    } catch (error) {
      if (batch.length === 1) return only.reject(error);
    }
    // One bad request must not fail its neighbours: each on its own.
    for (const job of batch) await this.#run([job]);
  }
}

function keyOf(inputs: readonly TensorValue[]): string {
  let key = "";
  for (const input of inputs) key += `${input.name}:${input.shape.slice(1).join(",")};`;
  return key;
}

function joinInputs(batch: readonly Job[], rows: number): TensorValue[] {
  const [first] = batch;
  return (first?.inputs ?? []).map((input, index) => {
    const parts = batch.map((job) => job.inputs[index]?.data ?? []);
    const shape = [rows, ...input.shape.slice(1)];
    return {
      ...input,
      shape,
      data: joinData(parts, typeInfo(input.datatype).make(shape.reduce((product, size) => product * size, 1))),
    };
  });
}

function joinData(parts: readonly TensorData[], into: TensorData): TensorData {
  if (Array.isArray(into)) return parts.flatMap((part) => (Array.isArray(part) ? part : []));
  const bytes = new Uint8Array(into.buffer);
  let at = 0;
  for (const part of parts) {
    if (Array.isArray(part)) continue;
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return into;
}

function splitOutputs(batch: readonly Job[], outputs: readonly TensorValue[]): void {
  let row = 0;
  for (const job of batch) {
    const from = row;
    row += job.rows;
    job.resolve(
      outputs.map((output) => {
        const size = output.shape.slice(1).reduce((product, dimension) => product * dimension, 1);
        const range = [from * size, (from + job.rows) * size] as const;
        const data = Array.isArray(output.data) ? output.data.slice(...range) : output.data.subarray(...range);
        return { ...output, shape: [job.rows, ...output.shape.slice(1)], data };
      }),
    );
  }
}
