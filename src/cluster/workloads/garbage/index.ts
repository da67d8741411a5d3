/**
 * Objects whose owners are gone. In: every resource of the cluster, by discovery. Out: deletions, dropped references and
 * finalizers. May use: kernel client, control, kinds; the namespace room's discovery.
 */
export { garbageCollector } from "./garbage.controller.js";
export { podGarbageCollector } from "./pod-garbage.controller.js";
