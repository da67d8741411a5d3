import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { ArgosyError } from "../errors/index.js";
import { errnoOf, isMissing } from "./errno.js";
import { formatMark, isRunning, markOf, parseMark } from "./process-mark.js";

/** Held while a file or folder is open for writing. */
export interface FileLock {
  release(): void;
}

/** Another process that runs holds the lock. */
export class FileInUseError extends ArgosyError {
  constructor(file: string, owner: number) {
    super("FileInUse", `${file}: in use by process ${owner}; stop it first`);
  }
}

let attempts = 0;

/**
 * Takes the one writer's lock of a file or folder: `<path>.owner`, which holds pid and start time of its process. A lock
 * whose process is gone (or whose pid is now another process) is taken over. Throws `FileInUseError`, or what the file
 * system says.
 */
export function lockFile(file: string): FileLock {
  const path = `${file}.owner`;
  const mine = formatMark(markOf(process.pid) ?? { pid: process.pid, startTicks: "" });
  const draft = `${path}.${process.pid}.${++attempts}`;
  writeFileSync(draft, mine, { mode: 0o600 });
  try {
    while (!tryLink(draft, path)) clearStale(file, path);
  } finally {
    unlinkSync(draft);
  }
  return { release: () => rmSync(path, { force: true }) };
}

function tryLink(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Removes a lock whose owner is gone. Moved away first and looked at again: another process may just have taken it over. */
function clearStale(file: string, path: string): void {
  const found = readIfThere(path);
  if (found === undefined) return;
  const owner = parseMark(found);
  if (owner !== undefined && isRunning(owner)) throw new FileInUseError(file, owner.pid);
  const aside = `${path}.stale.${process.pid}.${++attempts}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  if (readIfThere(aside) !== found) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
