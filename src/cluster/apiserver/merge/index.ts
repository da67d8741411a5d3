/**
 * Merging by schema: strategic merge patch and server-side apply with its record of who owns which field. In: shapes and
 * objects. Out: merged objects. May use: the registry's shapes, failures.
 */
export { createMerge } from "./create.js";
export { carryOwners, type ReplicasPaths, showOwners } from "./scale-fields.js";
