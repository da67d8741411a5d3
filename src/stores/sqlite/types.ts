/** What a column holds or a parameter is. Booleans are 0 and 1. */
export type SqliteValue = number | bigint | string | Uint8Array | null;
export type SqliteRow = Readonly<Record<string, SqliteValue>>;

/** Which binding carries the calls. */
export type SqliteDriverName = "better-sqlite3" | "node:sqlite" | "node-sqlite3-wasm";

/** A prepared statement; parameters are positional (`?`). Every failure is a `SqliteError`. */
export interface SqliteStatement {
  run(values?: readonly SqliteValue[]): { readonly changes: number; readonly lastInsertRowid: number | bigint };
  get(values?: readonly SqliteValue[]): SqliteRow | undefined;
  /** Also runs statements that return no rows. */
  all(values?: readonly SqliteValue[]): SqliteRow[];
  iterate(values?: readonly SqliteValue[]): IterableIterator<SqliteRow>;
  /** Frees it; closing the database does so too. */
  finalize(): void;
}

/** One open database file. Calls block until done; a commit returns when it is on the disk. */
export interface SqliteDatabase {
  readonly driver: SqliteDriverName;
  readonly file: string;
  exec(sql: string): void;
  prepare(sql: string): SqliteStatement;
  /** Runs `work` between BEGIN IMMEDIATE and COMMIT; rolls back and rethrows when it throws. Not nestable. */
  transaction<T>(work: () => T): T;
  /** Checkpoints, closes and gives the file's lock back. May be called again. */
  close(): void;
}

/** The least that a binding gives us; `index.ts` builds the rest on it. */
export interface RawDatabase {
  exec(sql: string): void;
  prepare(sql: string): SqliteStatement;
  close(): void;
}
