import { systemClock } from "../../src/kernel/clock/index.js";

/** Asks until there is an answer other than `undefined`; fails after `boundMs` with what was last seen. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  options: { readonly boundMs?: number; readonly seen?: () => unknown } = {},
): Promise<T> {
  const end = systemClock.monotonicMs() + (options.boundMs ?? 30_000);
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) {
      return answer;
    }
    if (systemClock.monotonicMs() > end) {
      const seen = options.seen === undefined ? "" : `; last seen: ${JSON.stringify(options.seen())}`;
      throw new Error(`not within ${(options.boundMs ?? 30_000) / 1000} s: ${what}${seen}`);
    }
    await systemClock.sleep(50);
  }
}
