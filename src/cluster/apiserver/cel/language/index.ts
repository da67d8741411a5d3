/**
 * The Common Expression Language: reads, checks and runs expressions, and says what is wrong with them in the words of cel-go. In:
 * texts, types, variables, functions. Out: programs, faults. May use: kernel kinds and schema.
 */
export { type Checked, mentions } from "./checker.js";
export { type Compiled, Engine, type Program, type Validator } from "./engine.js";
export type { Overload } from "./environment.js";
export { walk } from "./literals.js";
export type { Budget } from "./meter.js";
export { patternOf } from "./patterns.js";
export { lengthOf } from "./sizes.js";
export type { Fault } from "./tokens.js";
export type { Expression, Loop, Of } from "./tree.js";
export { listOf, mapOf, optionalOf, structOf, type Type, types } from "./types.js";
export {
  celEquals,
  compare,
  Duration,
  dynamicValue,
  type FieldReader,
  keyedList,
  LazyObject,
  ObjectValue,
  Opaque,
  Optional,
  plainDouble,
  readDuration,
  readTime,
  shownDouble,
  Timestamp,
  TypeValue,
  typeNameOf,
  Unsigned,
} from "./values.js";
