/**
 * Lua (5.1, with `goto`) for scripts that read objects. In: a script, JSON. Out: JSON, or a `LuaError`. A script reaches nothing but its
 * arguments and a small library, and ends when it has used up its steps, its memory or its depth, also inside of patterns. May use: errors, kinds.
 */

export { Arguments } from "./arguments.js";
export type { LibraryFunction } from "./library.js";
export { Script } from "./script.js";
export { fromJson, LuaError, toJsonTable, toJsonValue, typeName } from "./values.js";
