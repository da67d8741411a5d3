import {
  type CompiledQuery,
  type DatabaseConnection,
  DeleteQueryNode,
  type Dialect,
  type Driver,
  InsertQueryNode,
  type Kysely,
  type QueryResult,
  type RootOperationNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  UpdateQueryNode,
} from "kysely";
import type { SqliteDatabase, SqliteStatement, SqliteValue } from "../sqlite/index.js";
import { rowsAs } from "./rows.unsafe.js";

/** Compiled statements that are kept; the wasm binding takes 30 µs to prepare one. */
const MAX_STATEMENTS = 256;

/** kysely over an open SQLite database: one connection, taken in turn. */
export function sqliteDialect(database: SqliteDatabase): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: (db: Kysely<unknown>) => new SqliteIntrospector(db),
    createDriver: () => sqliteDriver(database),
  };
}

function sqliteDriver(database: SqliteDatabase): Driver {
  const connection = sqliteConnection(database);
  const turns = turnstile();
  return {
    init: async () => {},
    acquireConnection: async () => {
      await turns.enter();
      return connection;
    },
    releaseConnection: async () => turns.leave(),
    beginTransaction: async () => database.exec("BEGIN IMMEDIATE"),
    commitTransaction: async () => database.exec("COMMIT"),
    rollbackTransaction: async () => database.exec("ROLLBACK"),
    destroy: async () => database.close(),
  };
}

/** Lets one in at a time, in order of arrival. */
function turnstile(): { enter(): Promise<void>; leave(): void } {
  let taken = false;
  const waiting: (() => void)[] = [];
  return {
    enter: () =>
      new Promise((resolve) => {
        if (taken) {
          waiting.push(resolve);
          return;
        }
        taken = true;
        resolve();
      }),
    leave: () => {
      const next = waiting.shift();
      if (next === undefined) taken = false;
      else next();
    },
  };
}

function sqliteConnection(database: SqliteDatabase): DatabaseConnection {
  const statements = new Map<string, SqliteStatement>();
  const statementOf = (text: string): SqliteStatement => {
    const known = statements.get(text);
    if (known !== undefined) {
      statements.delete(text);
      statements.set(text, known);
      return known;
    }
    const made = database.prepare(text);
    statements.set(text, made);
    for (const [oldText, old] of statements) {
      if (statements.size <= MAX_STATEMENTS) break;
      old.finalize();
      statements.delete(oldText);
    }
    return made;
  };
  return {
    executeQuery: async <R>(query: CompiledQuery): Promise<QueryResult<R>> => {
      const values = query.parameters.map(toSqliteValue);
      const statement = statementOf(query.sql);
      try {
        if (returnsRows(query.query)) return { rows: rowsAs<R>(statement.all(values)) };
        const { changes, lastInsertRowid } = statement.run(values);
        return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
      } catch (error) {
        // A statement that failed reports its old error again when it is reset.
        statements.delete(query.sql);
        statement.finalize();
        throw error;
      }
    },
    streamQuery: async function* <R>(query: CompiledQuery): AsyncGenerator<QueryResult<R>, void, undefined> {
      // Its own statement: a cached one could be run again while this iteration is under way.
      const statement = database.prepare(query.sql);
      try {
        for (const row of statement.iterate(query.parameters.map(toSqliteValue))) yield { rows: rowsAs<R>([row]) };
      } finally {
        statement.finalize();
      }
    },
  };
}

function returnsRows(node: RootOperationNode): boolean {
  if (InsertQueryNode.is(node) || UpdateQueryNode.is(node) || DeleteQueryNode.is(node))
    return node.returning !== undefined;
  return node.kind === "SelectQueryNode" || node.kind === "RawNode";
}

function toSqliteValue(value: unknown): SqliteValue {
  if (value === undefined || value === null) return null;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "string") return value;
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`a ${typeof value} cannot be a parameter of a query`);
}
