/**
 * What programs that run as processes of their own have in common. In: arguments, environment, signals. Out: an exit code; flags that were read, or
 * an `InputError` that names the one that is wrong. May use: clock, errors, log.
 */

export { readCollector, readFlags, readWhole } from "./flags.js";
export { collectSeldom } from "./heap.js";
export { asProcess, type Program, runProgram } from "./program.js";
