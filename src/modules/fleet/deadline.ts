import { type Clock, onAbort } from "../../kernel/clock/index.js";
import { ArgosyError } from "../../kernel/errors/index.js";

/** A signal that aborts with `parent` or after `timeoutMs`; `done` must be called when it is no longer needed. */
export function deadline(
  clock: Clock,
  parent: AbortSignal,
  timeoutMs: number,
): { readonly signal: AbortSignal; done(): void } {
  const controller = new AbortController();
  const stop = (): void => controller.abort(parent.reason);
  const timer = clock.setTimer(timeoutMs, () =>
    controller.abort(new ArgosyError("Timeout", `no answer within ${timeoutMs} ms`)),
  );
  if (parent.aborted) stop();
  const forget = parent.aborted ? undefined : onAbort(parent, stop);
  return {
    signal: controller.signal,
    done() {
      timer.cancel();
      forget?.();
    },
  };
}

/** Calls that begin within this part of their time share one limit. */
const SLOT = 0.02;

/** Limits of time for many calls: those that begin at about the same time share one, so that a call costs no timer and no signal of its own. */
export class SharedDeadlines {
  readonly #clock: Clock;
  readonly #parent: AbortSignal;
  readonly #timeoutMs: number;
  #latest: { readonly limit: ReturnType<typeof deadline>; readonly beganMs: number; calls: number } | undefined;

  constructor(clock: Clock, parent: AbortSignal, timeoutMs: number) {
    this.#clock = clock;
    this.#parent = parent;
    this.#timeoutMs = timeoutMs;
  }

  /** As `deadline`; it may come a little earlier (a fiftieth). */
  begin(): ReturnType<typeof deadline> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#latest;
    const isFresh =
      known !== undefined && nowMs - known.beganMs < this.#timeoutMs * SLOT && !known.limit.signal.aborted;
    const shared = isFresh
      ? known
      : { limit: deadline(this.#clock, this.#parent, this.#timeoutMs), beganMs: nowMs, calls: 0 };
    this.#latest = shared;
    shared.calls += 1;
    return {
      signal: shared.limit.signal,
      done: () => {
        shared.calls -= 1;
        if (shared.calls > 0) return;
        shared.limit.done();
        if (this.#latest === shared) this.#latest = undefined;
      },
    };
  }
}
