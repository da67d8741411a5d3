/**
 * The two places where the record store must take somebody's word: SQLite returns the rows that kysely's types promise, and a
 * room's tables are the ones that its migrations made.
 */
import type { Kysely } from "kysely";
import type { SqliteRow } from "../sqlite/index.js";

/** Rows as the query's type says. */
export function rowsAs<R>(rows: readonly SqliteRow[]): R[] {
  return rows as unknown as R[];
}

/** The same database, seen with one room's tables. */
export function withTables<DB>(database: Kysely<unknown>): Kysely<DB> {
  return database as unknown as Kysely<DB>;
}
