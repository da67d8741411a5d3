/**
 * Namespaces that go take their content with them. In: Namespaces, discovery. Out: deletions, conditions, the finalizer's
 * end. May use: kernel client, control, kinds.
 */
export { discoverResources } from "./discovery.js";
export { namespaceController } from "./namespace.controller.js";
