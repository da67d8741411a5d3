/** Runs inferences for all protocols: deadlines, limits and clients that went away are the same for each. */
import type { Clock } from "../../kernel/clock/types.js";
import { HttpError } from "../../kernel/http1/index.js";
import type { TensorValue } from "../../kernel/tensors/index.js";
import type { Repository, ServedModel } from "./repository.js";

/** How much is run at once; 0: no limit. */
export interface InferenceLimits {
  /** Most inferences that are handed to models at once. */
  readonly maxConcurrent: number;
  /** Most that wait for one of those places; beyond it 503. Counts with `maxConcurrent` only. */
  readonly maxQueued: number;
  /** How long a request may take that says nothing itself, milliseconds. */
  readonly timeoutMs: number;
}

/** Who asks: until when, and whether they are still there. */
export interface Caller {
  /** Milliseconds from now; `undefined`: the server's own limit. */
  readonly timeoutMs: number | undefined;
  readonly isGone: () => boolean;
}

export interface Inference {
  /** A version that answers, as `Repository.find`. */
  find(name: string, version: string | undefined): ServedModel;
  /** Runs a model. Rejects with 504 after the deadline, 503 when too many wait, 499 when the caller went away before the run. */
  run(model: ServedModel, inputs: readonly TensorValue[], caller: Caller): Promise<TensorValue[]>;
  /** Inferences handed to models, and those that wait for it. */
  readonly load: { readonly running: number; readonly waiting: number };
}

/** Makes the runner of a server's models. */
export function createInference(repository: Repository, clock: Clock, limits: InferenceLimits): Inference {
  return new LimitedInference(repository, clock, limits);
}

class LimitedInference implements Inference {
  readonly #repository: Repository;
  readonly #clock: Clock;
  readonly #limits: InferenceLimits;
  #running = 0;
  #waiting: { readonly start: () => void; readonly isOver: () => boolean }[] = [];

  constructor(repository: Repository, clock: Clock, limits: InferenceLimits) {
    this.#repository = repository;
    this.#clock = clock;
    this.#limits = limits;
  }

  get load(): { running: number; waiting: number } {
    return { running: this.#running, waiting: this.#waiting.length };
  }

  find(name: string, version: string | undefined): ServedModel {
    return this.#repository.find(name, version);
  }

  run(model: ServedModel, inputs: readonly TensorValue[], caller: Caller): Promise<TensorValue[]> {
    const timeoutMs = Math.min(
      caller.timeoutMs ?? Number.POSITIVE_INFINITY,
      this.#limits.timeoutMs || Number.POSITIVE_INFINITY,
    );
    if (timeoutMs === Number.POSITIVE_INFINITY && this.#limits.maxConcurrent === 0)
      return model.batcher.infer(inputs, caller.isGone);
    return this.#bounded(model, inputs, { timeoutMs, isGone: caller.isGone });
  }

  #bounded(
    model: ServedModel,
    inputs: readonly TensorValue[],
    { timeoutMs, isGone }: { timeoutMs: number; isGone: () => boolean },
  ): Promise<TensorValue[]> {
    let isLate = timeoutMs <= 0;
    const isOver = (): boolean => isLate || isGone();
    if (isLate) return Promise.reject(late(timeoutMs));
    const deadlineMs = timeoutMs === Number.POSITIVE_INFINITY ? undefined : this.#clock.monotonicMs() + timeoutMs;
    return new Promise((resolve, reject) => {
      const timer =
        timeoutMs === Number.POSITIVE_INFINITY
          ? undefined
          : this.#clock.setTimer(Math.min(timeoutMs, 2 ** 31 - 1), () => {
              isLate = true;
              reject(late(timeoutMs));
            });
      this.#admit(isOver, () => model.batcher.infer(inputs, isOver, deadlineMs))
        .finally(() => timer?.cancel())
        .then(resolve, reject);
    });
  }

  /** Waits for a place, in the order of arrival; what is over by then gives its place on. */
  async #admit<T>(isOver: () => boolean, run: () => Promise<T>): Promise<T> {
    const { maxConcurrent, maxQueued } = this.#limits;
    if (maxConcurrent > 0 && this.#running >= maxConcurrent) {
      // Those that nobody waits for any more hold no place in the queue.
      this.#waiting = this.#waiting.filter((each) => !each.isOver());
      if (this.#waiting.length >= maxQueued)
        throw new HttpError(503, `${this.#running} requests run and ${this.#waiting.length} wait already`, {
          "retry-after": "1",
        });
      await new Promise<void>((resolve) => this.#waiting.push({ start: resolve, isOver }));
    } else this.#running++;
    try {
      if (isOver()) throw new HttpError(499, "nobody waits for the answer any more");
      return await run();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next.start();
    }
  }
}

const late = (timeoutMs: number): HttpError =>
  new HttpError(
    504,
    `the answer was not there within ${Math.round(timeoutMs * 1000) / 1000} ms, the time for this request`,
  );
