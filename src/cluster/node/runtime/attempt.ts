import type { Clock, Timer } from "../../../kernel/clock/index.js";
import type { ProcessMark } from "../../../kernel/files/index.js";
import type { LogFile } from "./log-file.js";
import type { SavedContainer } from "./process-files.js";

/** One attempt to run a container, as the runtime keeps it in memory. */
export class Attempt {
  saved: SavedContainer;
  keeper: ProcessMark | undefined;
  /** The container's first process. */
  init: ProcessMark | undefined;
  readonly log: LogFile;
  readonly #waiting = new Set<() => void>();

  constructor(saved: SavedContainer, log: LogFile) {
    this.saved = saved;
    this.log = log;
  }

  /** Something about the attempt has changed. */
  notify(): void {
    for (const check of [...this.#waiting]) check();
  }

  /** Resolves when the condition holds (looked at now, after each change and at the end), or when the time is over. */
  until(options: {
    readonly clock: Clock;
    readonly limitMs: number | undefined;
    condition(): boolean;
    look(): void;
  }): Promise<void> {
    options.look();
    if (options.condition()) return Promise.resolve();
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      const check = (): void => {
        if (!options.condition()) return;
        this.#waiting.delete(check);
        timer?.cancel();
        resolve();
      };
      this.#waiting.add(check);
      if (options.limitMs === undefined) return;
      timer = options.clock.setTimer(options.limitMs, () => {
        options.look();
        this.#waiting.delete(check);
        resolve();
      });
    });
  }
}
