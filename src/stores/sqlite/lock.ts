import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { messageOf } from "../../kernel/errors/index.js";
import { formatMark, isMissing, isRunning, markOf, parseMark } from "../../kernel/files/index.js";
import { SqliteError, toSqliteError } from "./errors.js";

/** Held while a database is open for writing. */
export interface FileLock {
  release(): void;
}

let attempts = 0;

/**
 * Takes the one writer's lock of a database file, `<file>.owner`, which holds pid and start time of its process. A lock
 * whose process is gone (or whose pid is now another process) is taken over. Throws `SqliteError` DatabaseInUse.
 */
export function lockFile(file: string): FileLock {
  const path = `${file}.owner`;
  const mine = formatMark(markOf(process.pid) ?? { pid: process.pid, startTicks: "" });
  const draft = `${path}.${process.pid}.${++attempts}`;
  try {
    writeFileSync(draft, mine, { mode: 0o600 });
  } catch (error) {
    throw toSqliteError(file, error);
  }
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
    if (isCode(error, "EEXIST")) return false;
    throw toSqliteError(path, error);
  }
}

/** Removes a lock whose owner is gone. Moved away first and looked at again: another process may just have taken it over. */
function clearStale(file: string, path: string): void {
  const found = readIfThere(path);
  if (found === undefined) return;
  const owner = liveOwner(found);
  if (owner !== undefined) {
    throw new SqliteError("DatabaseInUse", file, `${file}: in use by process ${owner}; stop it first`);
  }
  const aside = `${path}.stale.${process.pid}.${++attempts}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (isMissing(error)) return;
    throw toSqliteError(file, error);
  }
  if (readIfThere(aside) !== found) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function liveOwner(content: string): number | undefined {
  const owner = parseMark(content);
  return owner !== undefined && isRunning(owner) ? owner.pid : undefined;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new SqliteError("DiskError", path, `${path}: ${messageOf(error)}`, { cause: error });
  }
}

function isCode(error: unknown, code: string): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === code;
}
