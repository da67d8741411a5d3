import type { Clock } from "../../kernel/clock/index.js";
import { CommandError } from "../errors.js";

/** What a check found: the value wanted, or what is still missing. */
export type Check<T> = { readonly done: T } | { readonly waitingFor: string };

/** How `waitUntil` waits. */
export interface Waiting {
  readonly timeoutMs: number;
  /** Default 100. */
  readonly everyMs?: number;
  /** How long it must stay done without a break; default 0. */
  readonly holdMs?: number;
  readonly detail: (text: string) => void;
}

/** Repeats `check` until it is done; throws `CommandError` with what was last missing after `timeoutMs`. */
export async function waitUntil<T>(clock: Clock, options: Waiting, check: () => Promise<Check<T>>): Promise<T> {
  const end = clock.monotonicMs() + options.timeoutMs;
  let doneSince: number | undefined;
  for (;;) {
    const result = await check();
    const now = clock.monotonicMs();
    if ("done" in result) {
      doneSince ??= now;
      if (now - doneSince >= (options.holdMs ?? 0)) {
        return result.done;
      }
      await clock.sleep(options.everyMs ?? 100);
      continue;
    }
    doneSince = undefined;
    options.detail(result.waitingFor);
    if (now > end) {
      throw new CommandError(`not done after ${Math.round(options.timeoutMs / 1000)} s: ${result.waitingFor}`);
    }
    await clock.sleep(options.everyMs ?? 100);
  }
}
