import { ArgosyError } from "../errors/index.js";
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
    const onAbort = (): void => {
      timer.cancel();
      if (signal !== undefined) reject(abortReason(signal));
    };
    const timer = setTimer(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
