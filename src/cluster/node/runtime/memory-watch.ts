import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { processTree, usageOf } from "./processes.js";

/** A running container with a memory limit. */
export interface WatchedContainer {
  readonly pid: number;
  readonly limitBytes: number;
  kill(): void;
}

const pollMs = 5_000;

/** Keeps memory limits where there are no cgroups: looks every five seconds and ends what uses more than it may. */
export class MemoryWatch {
  readonly #clock: Clock;
  readonly #watched: () => readonly WatchedContainer[];
  #timer: Timer | undefined;

  constructor(clock: Clock, watched: () => readonly WatchedContainer[]) {
    this.#clock = clock;
    this.#watched = watched;
    this.#schedule();
  }

  /** Looks now. */
  check(): void {
    for (const container of this.#watched()) {
      if (usageOf(processTree(container.pid)).memoryBytes > container.limitBytes) container.kill();
    }
  }

  close(): void {
    this.#timer?.cancel();
  }

  #schedule(): void {
    this.#timer = this.#clock.setTimer(pollMs, () => {
      this.check();
      this.#schedule();
    });
  }
}
