/**
 * SQLite files. In: a path. Out: an open database with one synchronous face over three bindings: better-sqlite3 where the
 * user has it, node:sqlite on Node ≥ 22.13, and else node-sqlite3-wasm, which always loads. Used by the API server's
 * journal and by the records store. May use: kernel errors and files.
 */
export { copySqlite } from "./backup.js";
export { SqliteError } from "./errors.js";
export { availableSqliteDrivers, type OpenSqliteOptions, openSqlite } from "./open.js";
export type { SqliteDatabase, SqliteDriverName, SqliteRow, SqliteStatement, SqliteValue } from "./types.js";
