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
