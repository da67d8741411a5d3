import { ArgosyError } from "../errors/index.js";
import { onAbort } from "./abort.js";
import type { Timer } from "./types.js";

/** What an aborted signal gives as its reason, as an error. */
export function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new ArgosyError("Aborted", "aborted", { cause: reason });
}

/** `Clock.sleep` on top of `Clock.setTimer`. */
export function clockSleep(
  setTimer: (delayMs: number, fire: () => void) => Timer,
  delayMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimer(delayMs, () => {
      forget?.();
      resolve();
    });
    const forget =
      signal === undefined
        ? undefined
        : onAbort(signal, () => {
            timer.cancel();
            reject(abortReason(signal));
          });
  });
}
