import { closeSync, copyFileSync, existsSync, openSync, readSync } from "node:fs";
import { SqliteError, toSqliteError } from "./errors.js";
import { openSqlite } from "./open.js";

const maxAttempts = 100;
/** The part of the log's header that changes when the log is begun anew (sqlite.org/fileformat2.html, section 4.1). */
const headerBytes = 32;

/**
 * Copies a database that another process may write to meanwhile; the copy holds every commit made before the call. The file
 * first, then its log: pages that are moved from the log into the file meanwhile are in the copied log too, unless the log
 * was begun anew, which its header tells. Throws `SqliteError`, also when the copy turns out damaged.
 */
export function copySqlite(file: string, target: string): void {
  const log = `${file}-wal`;
  try {
    for (let attempt = 1; ; attempt++) {
      const before = headOf(log);
      copyFileSync(file, target);
      if (existsSync(log)) copyFileSync(log, `${target}-wal`);
      if (headOf(log) === before && headOf(`${target}-wal`) === before) break;
      if (attempt >= maxAttempts)
        throw new SqliteError("DatabaseInUse", file, `${file}: written to too much; try again`);
    }
    check(target);
  } catch (error) {
    throw toSqliteError(file, error);
  }
}

function headOf(log: string): string {
  if (!existsSync(log)) return "";
  const descriptor = openSync(log, "r");
  try {
    const head = Buffer.alloc(headerBytes);
    return head.subarray(0, readSync(descriptor, head, 0, headerBytes, 0)).toString("hex");
  } finally {
    closeSync(descriptor);
  }
}

function check(file: string): void {
  const database = openSqlite({ file });
  try {
    const statement = database.prepare("PRAGMA quick_check(1)");
    const found = statement.get()?.["quick_check"];
    statement.finalize();
    if (found !== "ok")
      throw new SqliteError("CorruptDatabase", file, `${file}: the copy is damaged: ${String(found)}`);
  } finally {
    database.close();
  }
}
