import { messageOf } from "../../../kernel/errors/index.js";
import {
  openSqlite,
  type SqliteDatabase,
  type SqliteDriverName,
  type SqliteRow,
  type SqliteStatement,
} from "../../../stores/sqlite/index.js";
import { JournalError } from "./errors.js";
import type { Compaction, Journal, JournalContent, JournalEntry } from "./types.js";

/** Raised when the layout changes; an older program refuses a newer file. */
const layoutVersion = 1;

/**
 * A journal in one SQLite file: a row a write, keyed by revision, so that every append goes to the right edge of the tree.
 * Throws `SqliteError` when the file is in use, unreadable or not writable.
 */
export function sqliteJournal(
  file: string,
  driver?: SqliteDriverName,
): Journal & { readonly driver: SqliteDriverName } {
  const database = openSqlite({ file, ...(driver === undefined ? {} : { driver }) });
  try {
    prepareLayout(database);
    return new SqliteJournal(database);
  } catch (error) {
    database.close();
    throw error;
  }
}

function prepareLayout(database: SqliteDatabase): void {
  const found = Number(database.prepare("PRAGMA user_version").get()?.["user_version"] ?? 0);
  if (found > layoutVersion) {
    throw new JournalError(
      `${database.file}: written by a newer version of this program (layout ${found}, known up to ${layoutVersion}); update the program`,
    );
  }
  if (found === layoutVersion) return;
  database.exec(
    "CREATE TABLE IF NOT EXISTS log (rev INTEGER PRIMARY KEY, time INTEGER NOT NULL, key TEXT NOT NULL, value BLOB)",
  );
  database.exec("CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value INTEGER NOT NULL)");
  database.exec(`PRAGMA user_version=${layoutVersion}`);
}

class SqliteJournal implements Journal {
  readonly driver: SqliteDriverName;
  readonly #database: SqliteDatabase;
  readonly #insert: SqliteStatement;
  readonly #remove: SqliteStatement;
  readonly #setState: SqliteStatement;

  constructor(database: SqliteDatabase) {
    this.driver = database.driver;
    this.#database = database;
    // OR REPLACE: after a failed fsync a row may be there whose write was answered as failed; its revision is given again.
    this.#insert = database.prepare("INSERT OR REPLACE INTO log (rev, time, key, value) VALUES (?, ?, ?, ?)");
    this.#remove = database.prepare("DELETE FROM log WHERE rev = ?");
    this.#setState = database.prepare(
      "INSERT INTO state (name, value) VALUES ('compacted', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    );
  }

  load(): JournalContent {
    const state = this.#database.prepare("SELECT value FROM state WHERE name = 'compacted'").get();
    const rows = this.#database.prepare("SELECT rev, time, key, value FROM log ORDER BY rev");
    return { compacted: Number(state?.["value"] ?? 0), entries: this.#entries(rows) };
  }

  *#entries(rows: SqliteStatement): Iterable<JournalEntry> {
    try {
      for (const row of rows.iterate()) yield toEntry(row);
    } catch (error) {
      throw error instanceof JournalError
        ? error
        : new JournalError(`${this.#database.file}: cannot be read: ${messageOf(error)}`, { cause: error });
    } finally {
      rows.finalize();
    }
  }

  append(entries: readonly JournalEntry[], compaction?: Compaction): Promise<void> {
    try {
      this.#database.transaction(() => {
        for (const { revision, time, key, bytes } of entries) this.#insert.run([revision, time, key, bytes ?? null]);
        if (compaction === undefined) return;
        for (const revision of compaction.garbage) this.#remove.run([revision]);
        this.#setState.run([compaction.compacted]);
      });
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  close(): Promise<void> {
    this.#database.close();
    return Promise.resolve();
  }
}

function toEntry(row: SqliteRow): JournalEntry {
  const { rev, time, key, value } = row;
  if (typeof key !== "string" || (value !== null && !(value instanceof Uint8Array))) {
    throw new JournalError(`the row of revision ${String(rev)} is damaged`);
  }
  return { revision: Number(rev), time: Number(time), key, bytes: value ?? undefined };
}
