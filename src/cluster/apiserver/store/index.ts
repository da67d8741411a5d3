/**
 * The API server's storage. In: keys and JSON objects. Out: revisions, consistent lists, watches; what was answered is on
 * the disk. May use: the journal, the clock.
 */

export { listPrefix, objectKey } from "./keys.js";
export { encodeJson, keepText } from "./object-text.js";
export { type CompactableStore, openStore } from "./store.js";
