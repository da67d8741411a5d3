import type { Clock, Random } from "../../kernel/clock/types.js";
import { Activator } from "./activator.js";
import type { ActivatorReport } from "./activator-report.js";
import type { ActivatorTable } from "./activator-table.js";
import type { Backend } from "./balance.js";

/** All activators by name, whichever routes they are in. */
export class ActivatorSet {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #activators = new Map<string, Activator>();
  readonly #sleepers = new Set<() => void>();
  /** Grows when a request meets an activator without a pod. */
  turn = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** The one of this name. */
  get(table: ActivatorTable): Activator {
    const known = this.#activators.get(table.name);
    if (known !== undefined) return known;
    const made = new Activator(table, {
      clock: this.#clock,
      random: this.#random,
      woken: () => {
        this.turn++;
        for (const wake of [...this.#sleepers]) wake();
      },
    });
    this.#activators.set(table.name, made);
    return made;
  }

  /** A backend is no longer in force. */
  detach(backend: Backend): void {
    const { activator } = backend;
    if (activator === undefined || !activator.detach(backend)) return;
    this.#activators.delete(activator.name);
    activator.close();
  }

  report(): readonly ActivatorReport[] {
    return [...this.#activators.values()].map((activator) => activator.report());
  }

  /** Resolves when a request met an activator without a pod after `turn`, or after `limitMs`. */
  untilWoken(turn: number, limitMs: number): Promise<void> {
    if (this.turn !== turn) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#sleepers.delete(done);
        resolve();
      };
      const timer = this.#clock.setTimer(limitMs, done);
      this.#sleepers.add(done);
    });
  }

  /** Everyone who waits for news gets them now. */
  close(): void {
    for (const wake of [...this.#sleepers]) wake();
  }
}
