import type { Kysely } from "kysely";
import { ArgosyError } from "../../kernel/errors/index.js";

/**
 * One step of a room's schema, run once, in order. Statements are ANSI SQL with the types TEXT, BIGINT, INTEGER and
 * DOUBLE PRECISION, which every home knows; a step that was released is never changed, a new one is added.
 */
export interface Migration {
  readonly name: string;
  readonly statements: readonly string[];
}

/** The tables of one room. `DB` maps table names to row types. */
export interface RecordTables<DB> {
  /** For queries outside a write; each sees every write that was acknowledged, and none that was not. */
  readonly read: Kysely<DB>;
  /**
   * Runs `work` in a transaction and resolves when it is durable; what `work` throws undoes it and is thrown on. Writes that
   * wait at the same time share one commit. `work` must await nothing but its queries, and must not call `write` or `read`.
   */
  write<T>(work: (transaction: Kysely<DB>) => Promise<T>): Promise<T>;
}

/**
 * Records in SQL: one home is a SQLite file, PostgreSQL can come beside it. Comparisons follow one rule in every home: text
 * compares by code units, `LIKE` minds case.
 */
export interface Records {
  readonly dialect: "sqlite";
  /** Brings the tables of one room up to date, then gives access to them. A room's table names begin with its own prefix. */
  tables<DB>(room: string, migrations: readonly Migration[]): Promise<RecordTables<DB>>;
  close(): Promise<void>;
}

/** Why the store could not do its part. */
export type RecordsErrorCode =
  | "Closed"
  | "SchemaTooNew"
  /** Disk full: passes when there is room. */
  | "NoSpace"
  /** The disk or the database is read-only, damaged, or taken by another process. */
  | "Unavailable";

/** A failure of the record store that is no fault of the query. Nothing of the write was kept. */
export class RecordsError extends ArgosyError {
  readonly reason: RecordsErrorCode;

  constructor(reason: RecordsErrorCode, message: string, options?: ErrorOptions) {
    super(reason, message, options);
    this.reason = reason;
  }
}
