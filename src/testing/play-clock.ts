import { type Clock, systemClock, type VirtualClock, virtualClock } from "../kernel/clock/index.js";
import { realPrograms } from "./real-cluster.js";
import { Traffic } from "./traffic.js";

const traffics = new WeakMap<Clock, Traffic>();
const startStepMs = 120_000;

/**
 * Virtual time for controllers in a test. With `ARGOSY_TEST_REAL` set it fits a real API server, which has its own time: it starts
 * at the machine's (at a full two minutes before it), and moves on only when the server and what watches it have come to rest.
 */
export function playClock(): VirtualClock {
  if (realPrograms === undefined) return virtualClock();
  const traffic = new Traffic();
  const nowMs = systemClock.now();
  const clock = virtualClock(nowMs - (nowMs % startStepMs), () => traffic.rest());
  traffics.set(clock, traffic);
  return clock;
}

/** What such a clock waits for; absent: it is not made for servers of their own. */
export function trafficOf(clock: Clock): Traffic | undefined {
  return traffics.get(clock);
}
