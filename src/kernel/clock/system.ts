import { randomFrom } from "./random.js";
import { abortReason, clockSleep } from "./sleep.js";
import type { Clock, Random, Timer } from "./types.js";

/** Node fires timers with longer delays at once, so longer ones are made of several. */
const longestDelayMs = 2 ** 31 - 1;

function setSystemTimer(delayMs: number, fire: () => void): Timer {
  let handle: NodeJS.Timeout;
  const arm = (remainingMs: number): void => {
    const stepMs = Math.min(Math.max(remainingMs, 0), longestDelayMs);
    handle = setTimeout(() => (remainingMs > stepMs ? arm(remainingMs - stepMs) : fire()), stepMs);
    handle.unref();
  };
  arm(delayMs);
  return { cancel: () => clearTimeout(handle) };
}

/** The machine's time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: setSystemTimer,
  sleep(delayMs, signal) {
    return signal?.aborted === true ? Promise.reject(abortReason(signal)) : clockSleep(setSystemTimer, delayMs, signal);
  },
};

type Crypto = typeof import("node:crypto");
let loaded: Crypto | undefined;

/** Late: it is twenty modules of Node's, and many programs start without needing chance. */
function crypto(): Crypto {
  loaded ??= process.getBuiltinModule("node:crypto");
  return loaded;
}

/** The machine's chance: `Math.random` for numbers, the operating system's generator for UUIDs. */
export const systemRandom: Random = {
  ...randomFrom(Math.random, (bytes) => {
    crypto().getRandomValues(bytes);
  }),
  // Node reads entropy for many at once; a read for each costs more than the rest of a small write's work.
  uuid: () => crypto().randomUUID(),
};
