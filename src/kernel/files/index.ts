/**
 * Files that others read while they are written, and processes that are remembered in files. In: paths, text, process
 * numbers. Out: whole files or none, marks that tell a process from a later one with its number, locks of one writer. May use:
 * kernel errors.
 */

export { errnoOf, isMissing } from "./errno.js";
export { FileInUseError, type FileLock, lockFile } from "./lock.js";
export { formatMark, isRunning, markOf, type ProcessMark, parseMark } from "./process-mark.js";
export { type ProcessStat, parseStat, statOf } from "./process-stat.js";
export { type ReplaceOptions, replaceFile, replaceFileSync } from "./replace.js";
