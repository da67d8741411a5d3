import type { Clock } from "../../kernel/clock/index.js";
import { CommandError } from "../errors.js";

/** What a check found: the value wanted, or what is still missing. */
export type Check<T> = { readonly done: T } | { readonly waitingFor: string };

/** Repeats `check` until it is done; throws `CommandError` with what was last missing after `timeoutMs`. */
export async function waitUntil<T>(
  clock: Clock,
  options: { readonly timeoutMs: number; readonly everyMs?: number; readonly detail: (text: string) => void },
  check: () => Promise<Check<T>>,
): Promise<T> {
  const end = clock.monotonicMs() + options.timeoutMs;
  for (;;) {
    const result = await check();
    if ("done" in result) {
      return result.done;
    }
    options.detail(result.waitingFor);
    if (clock.monotonicMs() > end) {
      throw new CommandError(`not done after ${Math.round(options.timeoutMs / 1000)} s: ${result.waitingFor}`);
    }
    await clock.sleep(options.everyMs ?? 100);
  }
}
