import type { GatewayDriver, GatewayPart } from "../../dataplane/gateway/index.js";
import type { Clock } from "../../kernel/clock/index.js";

/** Changes that come close together are written as one table. */
const GATHER_MS = 20;

/** Brings one source's part of the gateway's table into force; many wishes to do so become one write. */
export class GatewayWriter {
  readonly #driver: GatewayDriver;
  readonly #source: string;
  readonly #clock: Clock;
  readonly #build: () => GatewayPart;
  #next: Promise<void> | undefined;

  /** `build` makes the whole part from the informers at the time of writing. */
  constructor(driver: GatewayDriver, clock: Clock, source: string, build: () => GatewayPart) {
    this.#driver = driver;
    this.#clock = clock;
    this.#source = source;
    this.#build = build;
  }

  /** Resolves when a part built after this call is in force. Throws `InputError` when the gateway would refuse it. */
  flush(): Promise<void> {
    this.#next ??= this.#clock.sleep(GATHER_MS).then(() => {
      this.#next = undefined;
      return this.#driver.apply(this.#source, this.#build());
    });
    return this.#next;
  }
}
