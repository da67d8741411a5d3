import { systemClock } from "../../src/kernel/clock/index.js";

/** What a wait may take, and what is told when it took longer. */
export interface WaitOptions {
  /** Default 30 s. */
  readonly boundMs?: number;
  /** What was last seen. */
  readonly seen?: () => unknown;
}

/** Asks until there is an answer other than `undefined`; fails after `boundMs` with what was last seen, also when one question stays unanswered. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  options: WaitOptions = {},
): Promise<T> {
  let isOver = false;
  const look = async (): Promise<T> => {
    for (;;) {
      const answer = await ask();
      if (answer !== undefined) return answer;
      // The bound was reached and told already.
      if (isOver) return new Promise(() => undefined);
      await systemClock.sleep(50);
    }
  };
  try {
    return await within(what, look(), options);
  } finally {
    isOver = true;
  }
}

/** The same value; fails after `boundMs` with what was waited for and what was last seen. */
export async function within<T>(what: string, value: Promise<T>, options: WaitOptions = {}): Promise<T> {
  const { boundMs = 30_000, seen } = options;
  let stop: (() => void) | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const timer = systemClock.setTimer(boundMs, () => {
      const last = seen === undefined ? "" : `; last seen: ${JSON.stringify(seen())}`;
      reject(new Error(`not within ${boundMs / 1000} s: ${what}${last}`));
    });
    stop = () => timer.cancel();
  });
  try {
    return await Promise.race([value, late]);
  } finally {
    stop?.();
  }
}
