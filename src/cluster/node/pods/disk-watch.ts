import type { Clock } from "../../../kernel/clock/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Pod } from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { type DiskUse, diskExcess, diskLimitsOf } from "./disk-limits.js";

const lookMs = 10_000;

export interface DiskWatchOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly use: DiskUse;
  /** The pod has written more than it may. */
  exceeded(message: string): void;
}

/** Looks now and then whether a pod has written more than it may. */
export class DiskWatch {
  readonly #options: DiskWatchOptions;
  #lookedMs: number;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
    this.#lookedMs = options.clock.monotonicMs();
  }

  /** The next time is now. */
  hurry(): void {
    this.#lookedMs = Number.NEGATIVE_INFINITY;
  }

  /** Looks when it is time. Returns in how many milliseconds the next time is; `undefined`: never, the pod has no limits. */
  look(pod: Pod): number | undefined {
    const limits = diskLimitsOf(pod);
    if (limits === undefined) return undefined;
    const { clock, log, use } = this.#options;
    const leftMs = this.#lookedMs + lookMs - clock.monotonicMs();
    if (leftMs > 0) return leftMs;
    this.#lookedMs = clock.monotonicMs();
    diskExcess(limits, use).then(
      (excess) => {
        if (excess !== undefined) this.#options.exceeded(excess);
      },
      (error: unknown) => log.warn("disk use is not known", { pod: pod.metadata.name, cause: messageOf(error) }),
    );
    return lookMs;
  }
}
