/**
 * Paths into JSON, written as KServe's graphs write their conditions (GJSON): members, wildcards, positions, `#`, queries, pipes, `[a,b]` and four
 * modifiers. In: a path's text; a value. Out: what the path leads to, or a fault that says where the path is not understood. May use: errors.
 */

export { compileGjson, type GjsonPath } from "./path.js";
