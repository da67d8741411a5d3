/** Decides, by what was measured, which runs of a model are short enough for the thread that answers requests. */
import type { Clock } from "../../../kernel/clock/types.js";
import type { TensorValue } from "../../../kernel/tensors/index.js";
import type { Engine } from "./types.js";
import { blankInputs } from "./warm-up.js";

/** A run that takes at most this long may hold the event loop, milliseconds. */
const SHORT_MS = 2;
/** What ran this fast may be asked for four times as much. */
const FAST_MS = 1;
/** Several runs in a row above this, and such sizes go elsewhere. */
const LONG_MS = 4;
const PATIENCE = 8;
/** Tries of a size; the quickest counts, as others may be using the processor. */
const TRIES = 3;

/** What a placed engine needs. */
export interface PlacedOptions {
  readonly clock: Clock;
  /** Most rows that one run may be asked for. */
  readonly maxRows: number;
  /** Starts the model where it may take its time. */
  readonly host: () => Promise<Engine>;
}

/**
 * An engine that was loaded here, and stays for small inputs where its runs are short. Everything else goes to a host, started
 * when first needed. `undefined` when even one row is too slow: the engine is closed then. The engine must be bounded: the time
 * of a run follows from the sizes of its inputs.
 */
export async function placeEngine(engine: Engine, options: PlacedOptions): Promise<Engine | undefined> {
  const placed = new PlacedEngine(engine, options);
  if (await placed.measure()) return placed;
  await engine.close();
  return undefined;
}

class PlacedEngine implements Engine {
  readonly #here: Engine;
  readonly #options: PlacedOptions;
  /** Most elements of the inputs of a run here. */
  #limit = 0;
  #slowRuns = 0;
  #away: Promise<Engine> | undefined;
  #hosted: Engine | undefined;
  #runsAway = 0;

  constructor(here: Engine, options: PlacedOptions) {
    this.#here = here;
    this.#options = options;
  }

  get platform(): string {
    return this.#here.platform;
  }

  get inputs() {
    return this.#here.inputs;
  }

  get outputs() {
    return this.#here.outputs;
  }

  get batchable(): boolean {
    return this.#here.batchable;
  }

  /** While a long run is elsewhere, short ones go on here. */
  get concurrency(): number {
    return this.#runsAway > 0 ? 2 : 1;
  }

  get memoryBytes(): number {
    return this.#hosted?.memoryBytes ?? 0;
  }

  /** Tries one row, and as many as may be asked for; false when one row is too slow. */
  async measure(): Promise<boolean> {
    const one = blankInputs(this.inputs);
    await this.#here.run(one);
    const ms = await this.#timed(one);
    if (ms > SHORT_MS) return false;
    const size = countElements(one);
    this.#limit = size;
    this.#learn(size, ms);
    const { maxRows } = this.#options;
    let last = ms;
    for (let rows = 8; this.batchable && last <= FAST_MS && rows < 8 * maxRows; rows *= 8) {
      const many = blankInputs(this.inputs, Math.min(rows, maxRows));
      last = await this.#timed(many);
      this.#learn(countElements(many), last);
    }
    return true;
  }

  async run(inputs: readonly TensorValue[]): Promise<TensorValue[]> {
    const size = countElements(inputs);
    const { clock } = this.#options;
    if (size > this.#limit) {
      this.#runsAway++;
      try {
        const engine = await this.#elsewhere();
        const started = clock.monotonicMs();
        const outputs = await engine.run(inputs);
        this.#learn(size, clock.monotonicMs() - started);
        return outputs;
      } finally {
        this.#runsAway--;
      }
    }
    const outputs = await this.#here.run(inputs);
    this.#watch(size, this.#here.lastRunMs ?? 0);
    return outputs;
  }

  async close(): Promise<void> {
    await this.#here.close();
    const away = await this.#away?.catch(() => undefined);
    await away?.close();
  }

  #elsewhere(): Promise<Engine> {
    this.#away ??= this.#options.host().then(
      (engine) => {
        this.#hosted = engine;
        return engine;
      },
      (error: unknown) => {
        this.#away = undefined;
        throw error;
      },
    );
    return this.#away;
  }

  async #timed(inputs: readonly TensorValue[]): Promise<number> {
    let best = Number.POSITIVE_INFINITY;
    for (let left = TRIES; left > 0 && best > FAST_MS / 4; left--) {
      await this.#here.run(inputs);
      best = Math.min(best, this.#here.lastRunMs ?? 0);
    }
    return best;
  }

  #learn(size: number, ms: number): void {
    if (ms <= FAST_MS) this.#limit = Math.max(this.#limit, 4 * size);
    else if (ms <= SHORT_MS) this.#limit = Math.max(this.#limit, size);
  }

  #watch(size: number, ms: number): void {
    if (ms <= LONG_MS) {
      this.#slowRuns = 0;
      if (4 * size > this.#limit) this.#learn(size, ms);
      return;
    }
    this.#slowRuns++;
    if (this.#slowRuns < PATIENCE) return;
    this.#slowRuns = 0;
    this.#limit = Math.min(this.#limit, Math.floor(size / 2));
  }
}

/** Elements of all inputs; of texts, their characters. */
function countElements(inputs: readonly TensorValue[]): number {
  let count = 0;
  for (const { data } of inputs) {
    count += data.length;
    if (Array.isArray(data)) for (const text of data) count += text.length;
  }
  return count;
}
