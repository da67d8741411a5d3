import { FileInUseError, type FileLock, lockFile } from "../../kernel/files/index.js";
import { loadDriver, type Opener } from "./drivers.unsafe.js";
import { SqliteError, toSqliteError } from "./errors.js";
import type { RawDatabase, SqliteDatabase, SqliteDriverName } from "./types.js";
import { findWalDamage } from "./wal.js";

const preference: readonly SqliteDriverName[] = ["better-sqlite3", "node:sqlite", "node-sqlite3-wasm"];

/** How to open a file. */
export interface OpenSqliteOptions {
  readonly file: string;
  /** No lock is taken and nothing is changed. */
  readonly readonly?: boolean;
  /** Only this binding; default the first that loads. */
  readonly driver?: SqliteDriverName;
}

/**
 * Opens (or makes) a database file, alone: a second writer gets `SqliteError` DatabaseInUse. It runs in WAL mode with
 * synchronous=FULL, so a commit that returned survives a crash of the machine.
 */
export function openSqlite(options: OpenSqliteOptions): SqliteDatabase {
  const readonly = options.readonly === true;
  const { driver, open } = pickDriver(options);
  const lock = readonly ? undefined : takeLock(options.file);
  try {
    refuseDamagedLog(options.file);
    const raw = open(options.file, readonly);
    configure(raw, readonly);
    return wrap(raw, driver, { file: options.file, lock });
  } catch (error) {
    lock?.release();
    throw toSqliteError(options.file, error);
  }
}

function takeLock(file: string): FileLock {
  try {
    return lockFile(file);
  } catch (error) {
    if (error instanceof FileInUseError) throw new SqliteError("DatabaseInUse", file, error.message, { cause: error });
    throw toSqliteError(file, error);
  }
}

/** SQLite would leave out what follows the damage without a word; these commits were acknowledged, so a person has to decide. */
function refuseDamagedLog(file: string): void {
  const damage = findWalDamage(file);
  if (damage === undefined || damage.lostCommits === 0) return;
  const { offset, lostCommits } = damage;
  throw new SqliteError(
    "CorruptDatabase",
    file,
    `${file}-wal: damaged at byte ${offset}, and at least ${lostCommits} finished ${lostCommits === 1 ? "write" : "writes"} can no longer be read; restore the file from a backup, or give up what follows the damage with \`truncate -s ${offset} ${file}-wal\``,
  );
}

/** The bindings that load on this machine, the preferred one first. */
export function availableSqliteDrivers(): readonly SqliteDriverName[] {
  return preference.filter((name) => loadDriver(name) !== undefined);
}

function pickDriver(options: OpenSqliteOptions): { driver: SqliteDriverName; open: Opener } {
  for (const driver of options.driver === undefined ? preference : [options.driver]) {
    const open = loadDriver(driver);
    if (open !== undefined) return { driver, open };
  }
  throw new SqliteError("SqlError", options.file, `${options.file}: no SQLite binding loads on this machine`);
}

/** EXCLUSIVE: one process owns the file, so WAL needs no shared memory (which the wasm binding lacks). */
function configure(raw: RawDatabase, readonly: boolean): void {
  raw.exec("PRAGMA locking_mode=EXCLUSIVE");
  if (readonly) return;
  raw.exec("PRAGMA journal_mode=WAL");
  raw.exec("PRAGMA synchronous=FULL");
  raw.exec("PRAGMA wal_autocheckpoint=200");
  raw.exec("PRAGMA foreign_keys=ON");
}

function wrap(
  raw: RawDatabase,
  driver: SqliteDriverName,
  owned: { file: string; lock: FileLock | undefined },
): SqliteDatabase {
  const { file, lock } = owned;
  let isOpen = true;
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw toSqliteError(file, error);
    }
  };
  return {
    driver,
    file,
    exec: (sql) => guarded(() => raw.exec(sql)),
    prepare: (sql) => guarded(() => raw.prepare(sql)),
    transaction: (work) => runTransaction(raw, file, work),
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      try {
        guarded(() => raw.close());
      } finally {
        lock?.release();
      }
    },
  };
}

const transactionStatements = new WeakMap<RawDatabase, { begin: () => void; commit: () => void }>();

/** BEGIN and COMMIT are prepared once: parsing them anew costs as much as a small insert. */
function statementsOf(raw: RawDatabase): { begin: () => void; commit: () => void } {
  const known = transactionStatements.get(raw);
  if (known !== undefined) return known;
  const begin = raw.prepare("BEGIN IMMEDIATE");
  const commit = raw.prepare("COMMIT");
  const made = { begin: () => void begin.run(), commit: () => void commit.run() };
  transactionStatements.set(raw, made);
  return made;
}

function runTransaction<T>(raw: RawDatabase, file: string, work: () => T): T {
  const { begin, commit } = statementsOf(raw);
  begin();
  try {
    const result = work();
    commit();
    return result;
  } catch (error) {
    try {
      raw.exec("ROLLBACK");
    } catch {
      // SQLite has already rolled back by itself (a full disk does that).
    }
    throw toSqliteErrorUnlessOurs(file, error);
  }
}

/** What the caller's own work threw passes unchanged. */
function toSqliteErrorUnlessOurs(file: string, error: unknown): unknown {
  return error instanceof Error && "code" in error && error.name !== "SQLite3Error"
    ? error
    : toSqliteError(file, error);
}
