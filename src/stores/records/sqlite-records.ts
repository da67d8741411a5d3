import { Kysely, sql } from "kysely";
import type { Clock } from "../../kernel/clock/index.js";
import { openSqlite, type SqliteDriverName, SqliteError } from "../sqlite/index.js";
import { commitQueue } from "./commit-queue.js";
import { sqliteDialect } from "./dialect.js";
import { withTables } from "./rows.unsafe.js";
import { type Migration, type Records, RecordsError, type RecordTables } from "./types.js";

export interface SqliteRecordsOptions {
  /** Made when absent; its directory must exist. */
  readonly file: string;
  readonly clock: Clock;
  readonly driver?: SqliteDriverName;
}

/** The SQLite home: one file, WAL, every commit on disk before it is acknowledged. Throws `SqliteError`. */
export function openSqliteRecords(options: SqliteRecordsOptions): Records {
  const database = openSqlite({
    file: options.file,
    ...(options.driver === undefined ? {} : { driver: options.driver }),
  });
  database.exec("PRAGMA case_sensitive_like=ON");
  const kysely = new Kysely<unknown>({ dialect: sqliteDialect(database) });
  const commits = commitQueue(kysely);
  let closing: Promise<void> | undefined;
  return {
    dialect: "sqlite",
    tables: async <DB>(room: string, migrations: readonly Migration[]): Promise<RecordTables<DB>> => {
      const pending = { room, migrations, now: options.clock.now() };
      await commits.write((transaction) => migrate(transaction, pending));
      return {
        read: withTables<DB>(kysely),
        write: (work) => translated(commits.write((transaction) => work(withTables<DB>(transaction)))),
      };
    },
    close: () => {
      closing ??= commits.close().then(() => kysely.destroy());
      return closing;
    },
  };
}

/** Failures of the disk as failures of the store; what the work itself threw, and broken queries, pass as they are. */
async function translated<T>(write: Promise<T>): Promise<T> {
  try {
    return await write;
  } catch (error) {
    if (!(error instanceof SqliteError) || error.code === "SqlError" || error.code === "ConstraintViolated")
      throw error;
    throw new RecordsError(
      error.code === "DiskFull" ? "NoSpace" : "Unavailable",
      `records cannot be written: ${error.message}`,
      { cause: error },
    );
  }
}

interface PendingMigrations {
  readonly room: string;
  readonly migrations: readonly Migration[];
  readonly now: number;
}

async function migrate(transaction: Kysely<unknown>, { room, migrations, now }: PendingMigrations): Promise<void> {
  await sql`CREATE TABLE IF NOT EXISTS records_migrations
    (room TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, applied_ms BIGINT NOT NULL, PRIMARY KEY (room, position))`.execute(
    transaction,
  );
  const { rows } = await sql<{
    name: string;
  }>`SELECT name FROM records_migrations WHERE room = ${room} ORDER BY position`.execute(transaction);
  for (const [position, { name }] of rows.entries()) {
    if (migrations[position]?.name === name) continue;
    throw new RecordsError(
      "SchemaTooNew",
      `the records of ${room} were written by another version of this program (step "${name}" is unknown here)`,
    );
  }
  for (const [position, migration] of migrations.entries()) {
    if (position < rows.length) continue;
    for (const statement of migration.statements) await sql.raw(statement).execute(transaction);
    await sql`INSERT INTO records_migrations (room, position, name, applied_ms) VALUES (${room}, ${position}, ${migration.name}, ${now})`.execute(
      transaction,
    );
  }
}
