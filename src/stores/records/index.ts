/**
 * Records: what is kept in SQL (runs, metrics, registry, decisions).
 *
 * In: a file. Out: typed tables of the rooms above, each with its own migrations; reads, and durable group-committed writes.
 * May use: kernel, stores/sqlite. Queries keep to ANSI SQL and upsert, so that a PostgreSQL home passes the same tests.
 */
export { openSqliteRecords, type SqliteRecordsOptions } from "./sqlite-records.js";
export { type Migration, type Records, RecordsError, type RecordsErrorCode, type RecordTables } from "./types.js";
