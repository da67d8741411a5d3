import type { Clock, Timer } from "../../../kernel/clock/index.js";
import type { Probe } from "../../../kernel/kinds/index.js";
import type { CheckResult } from "./check.js";

export type ProbeKind = "startup" | "liveness" | "readiness";

export interface ProberOptions {
  readonly kind: ProbeKind;
  readonly probe: Probe;
  readonly clock: Clock;
  check(): Promise<CheckResult>;
  /** The verdict changed: thresholds are reached. */
  onVerdict(ok: boolean, message: string): void;
  /** One check failed that counts (for the event). */
  onFailure(message: string): void;
  /** Something to know that does not count: the check could not be made, or it is good with a reserve. */
  onRemark(result: CheckResult): void;
}

/**
 * Waits for a first success are shortened: between the regular checks extra ones run, soon at first and then rarer. They
 * count only when they succeed, so thresholds mean what they say, and a program that is up in 200 ms is ready in 300.
 */
const eagerFirstMs = 50;

/** Checks a container again and again until stopped. */
export class Prober {
  readonly #options: ProberOptions;
  readonly #periodMs: number;
  #timer: Timer | undefined;
  #stopped = false;
  #successes = 0;
  #failures = 0;
  #verdict: boolean | undefined;
  #eagerMs = eagerFirstMs;
  #nextRegularMs = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#periodMs = (options.probe.periodSeconds ?? 10) * 1000;
  }

  start(): void {
    const initialMs = (this.#options.probe.initialDelaySeconds ?? 0) * 1000;
    // Where early checks run, a program is not blamed for the first instant.
    const firstMs = this.#options.kind === "liveness" ? initialMs : initialMs + this.#periodMs;
    this.#nextRegularMs = this.#options.clock.monotonicMs() + firstMs;
    this.#schedule(initialMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.setTimer(delayMs, () => void this.#run());
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const isRegular = clock.monotonicMs() >= this.#nextRegularMs;
    if (isRegular) this.#nextRegularMs = clock.monotonicMs() + this.#periodMs;
    const result = await this.#options.check();
    if (this.#stopped) return;
    if (isRegular && (result.isError === true || result.isWarning === true)) this.#options.onRemark(result);
    if (result.ok) this.#succeeded(isRegular);
    else if (isRegular && result.isError !== true) this.#failed(result.message);
    const leftMs = Math.max(0, this.#nextRegularMs - clock.monotonicMs());
    if (this.#verdict === true || this.#options.kind === "liveness") return this.#schedule(leftMs);
    const eagerMs = this.#eagerMs;
    this.#eagerMs *= 2;
    this.#schedule(Math.min(leftMs, eagerMs));
  }

  #succeeded(isRegular: boolean): void {
    this.#failures = 0;
    if (isRegular || this.#successes === 0) this.#successes += 1;
    if (this.#successes < (this.#options.probe.successThreshold ?? 1) || this.#verdict === true) return;
    this.#verdict = true;
    this.#options.onVerdict(true, "");
  }

  #failed(message: string): void {
    this.#successes = 0;
    this.#failures += 1;
    this.#options.onFailure(message);
    if (this.#failures < (this.#options.probe.failureThreshold ?? 3) || this.#verdict === false) return;
    this.#verdict = false;
    this.#options.onVerdict(false, message);
  }
}
