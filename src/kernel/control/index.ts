/**
 * Controllers. In: a `ControllerSpec` (which kind, what wakes it, what to do) and a cluster. Out: reconciles, never two at once
 * on a key, with retries, finalizers, events, leader election and metrics. May use: client, clock, errors, kinds, log, metrics.
 */

export { controllerOf, ownerReferenceTo } from "../kinds/index.js";
export { createEventRecorder, type OwnedEventRecorder } from "./events.js";
export { addFinalizer, removeFinalizer } from "./finalizers.js";
export { createLeaderElection } from "./leader.js";
export { createManager, type Manager } from "./manager.js";
export { createQueue, type Queue } from "./queue.js";
export { syncStatus } from "./status.js";
export type * from "./types.js";
