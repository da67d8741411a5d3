/**
 * Flags of Node for a process that runs Argosy for long. Half of what a hub makes lives as long as a write is under way: with Node's own 16 MB for
 * young objects much of that is taken for old, and its collection takes a tenth more CPU. `bin/argosy.mjs` and `npm start` name the same.
 */
export const nodeFlags: readonly string[] = ["--max-semi-space-size=32"];
