/**
 * Time and chance. In: nothing but the machine's clock (system) or a start time (virtual). Out: `Clock` and `Random`, which
 * every other room gets injected, so that a fleet can run on virtual time, deterministically. May use: nothing.
 */

export { onAbort } from "./abort.js";
export { seededRandom } from "./seeded.js";
export { abortReason } from "./sleep.js";
export { systemClock, systemRandom } from "./system.js";
export type { Clock, Random, Timer } from "./types.js";
export { type VirtualClock, virtualClock } from "./virtual.js";
