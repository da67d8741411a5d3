import type { GatewayDriver, GatewayPart } from "../../dataplane/gateway/index.js";
import type { Clock } from "../../kernel/clock/index.js";

/** Changes that come close together are written as one table. */
const GATHER_MS = 20;
/** Of a large table more of them: so that making it takes a tenth of the time at most. */
const GATHER_TIMES = 10;
const MAX_GATHER_MS = 500;

/** A part of the table, and what it was made from. */
export interface Built<T> {
  readonly part: GatewayPart;
  readonly from: T;
}

/** Brings one source's part of the gateway's table into force; many wishes to do so become one write. */
export class GatewayWriter<T> {
  readonly #driver: GatewayDriver;
  readonly #source: string;
  readonly #clock: Clock;
  readonly #build: () => Built<T>;
  #next: Promise<T> | undefined;
  #tookMs = 0;

  /** `build` makes the whole part from the informers at the time of writing. */
  constructor(driver: GatewayDriver, clock: Clock, source: string, build: () => Built<T>) {
    this.#driver = driver;
    this.#clock = clock;
    this.#source = source;
    this.#build = build;
  }

  /**
   * Resolves when a part built after this call is in force, with what that was made from: what changed since then is not in force, and nobody may say so.
   * Throws `InputError` when the gateway would refuse it.
   */
  flush(): Promise<T> {
    this.#next ??= this.#clock.sleep(this.#gatherMs()).then(async () => {
      this.#next = undefined;
      const beganMs = this.#clock.monotonicMs();
      const { part, from } = this.#build();
      this.#tookMs = this.#clock.monotonicMs() - beganMs;
      await this.#driver.apply(this.#source, part);
      return from;
    });
    return this.#next;
  }

  #gatherMs(): number {
    return Math.min(Math.max(GATHER_MS, GATHER_TIMES * this.#tookMs), MAX_GATHER_MS);
  }
}
