/**
 * The three bindings behind one face. Unsafe because two of them are looked up at run time (one is optional, one is part of
 * newer Nodes only) and carry no types here; what they return is what SQLite stores.
 */
import { rmdirSync } from "node:fs";
import { createRequire } from "node:module";
import { toSqliteError } from "./errors.js";
import type { RawDatabase, SqliteDriverName, SqliteRow, SqliteStatement, SqliteValue } from "./types.js";

interface NativeStatement {
  readonly reader?: boolean;
  run(...values: SqliteValue[]): { changes: number | bigint; lastInsertRowid: number | bigint };
  get(...values: SqliteValue[]): SqliteRow | undefined;
  all(...values: SqliteValue[]): SqliteRow[];
  iterate(...values: SqliteValue[]): IterableIterator<SqliteRow>;
}

interface NativeDatabase {
  exec(sql: string): void;
  prepare(sql: string): NativeStatement;
  close(): void;
}

type NativeConstructor = new (file: string, options: Record<string, boolean>) => NativeDatabase;

interface WasmStatement {
  run(values: readonly SqliteValue[]): { changes: number; lastInsertRowid: number | bigint };
  get(values: readonly SqliteValue[]): SqliteRow | null;
  all(values: readonly SqliteValue[]): SqliteRow[];
  iterate(values: readonly SqliteValue[]): IterableIterator<SqliteRow>;
  finalize(): void;
  /** Not in its types, but the only way to end a read or to leave a failed statement behind. */
  _reset(): boolean;
}

/** Opens a file with one binding; throws whatever it throws. */
export type Opener = (file: string, readonly: boolean) => RawDatabase;

const require = createRequire(import.meta.url);
const none: readonly SqliteValue[] = [];

function nativeStatement(statement: NativeStatement, file: string): SqliteStatement {
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw toSqliteError(file, error);
    }
  };
  return {
    run: (values = none) =>
      guarded(() => {
        const result = statement.run(...values);
        return { changes: Number(result.changes), lastInsertRowid: result.lastInsertRowid };
      }),
    get: (values = none) => guarded(() => statement.get(...values)),
    all: (values = none) =>
      guarded(() => {
        if (statement.reader !== false) return statement.all(...values);
        statement.run(...values);
        return [];
      }),
    iterate: (values = none) => guarded(() => statement.iterate(...values)),
    finalize: () => undefined,
  };
}

function nativeOpener(Constructor: NativeConstructor, readonlyOption: string): Opener {
  return (file, readonly) => {
    const database = new Constructor(file, { [readonlyOption]: readonly });
    return {
      exec: (sql) => database.exec(sql),
      prepare: (sql) => nativeStatement(database.prepare(sql), file),
      close: () => database.close(),
    };
  };
}

function wasmStatement(statement: WasmStatement, file: string): SqliteStatement {
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      // A failed statement repeats its error at its next use unless it is reset.
      statement._reset();
      throw toSqliteError(file, error);
    }
  };
  // An unfinished read keeps its snapshot, and with it the whole write-ahead log from being reused.
  const first = (values: readonly SqliteValue[]): SqliteRow | undefined => {
    const row = statement.get(values) ?? undefined;
    statement._reset();
    return row;
  };
  return {
    run: (values = none) => guarded(() => statement.run(values)),
    get: (values = none) => guarded(() => first(values)),
    all: (values = none) => guarded(() => statement.all(values)),
    iterate: (values = none) => wasmRows(statement, values, file),
    finalize: () => finalizeQuietly(statement),
  };
}

function* wasmRows(
  statement: WasmStatement,
  values: readonly SqliteValue[],
  file: string,
): IterableIterator<SqliteRow> {
  try {
    yield* statement.iterate(values);
  } catch (error) {
    throw toSqliteError(file, error);
  } finally {
    statement._reset();
  }
}

/** sqlite3_finalize repeats the error of the last call, which was already reported. */
function finalizeQuietly(statement: WasmStatement): void {
  try {
    statement.finalize();
  } catch {
    // Freed all the same.
  }
}

const openWasm: Opener = (file, readonly) => {
  const { Database } = require("node-sqlite3-wasm") as typeof import("node-sqlite3-wasm");
  // Its file lock is a directory that survives a killed process; our own lock is already held, so it can only be stale.
  if (!readonly) removeDirectory(`${file}.lock`);
  const database = new Database(file, { readOnly: readonly });
  const open = new Set<WasmStatement>();
  return {
    exec: (sql) => database.exec(sql),
    prepare: (sql) => {
      const statement = database.prepare(sql) as unknown as WasmStatement;
      open.add(statement);
      const guarded = wasmStatement(statement, file);
      return {
        ...guarded,
        finalize: () => {
          if (open.delete(statement)) finalizeQuietly(statement);
        },
      };
    },
    close: () => {
      for (const statement of open) finalizeQuietly(statement);
      open.clear();
      database.close();
    },
  };
};

function removeDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

const loaders: Readonly<Record<SqliteDriverName, () => Opener>> = {
  "better-sqlite3": () => {
    const Constructor = require("better-sqlite3") as NativeConstructor;
    new Constructor(":memory:", {}).close();
    return nativeOpener(Constructor, "readonly");
  },
  "node:sqlite": () => {
    const { DatabaseSync } = require("node:sqlite") as { DatabaseSync: NativeConstructor };
    return nativeOpener(DatabaseSync, "readOnly");
  },
  "node-sqlite3-wasm": () => openWasm,
};

/** The opener of a binding; `undefined` where it is not installed or does not load on this machine. */
export function loadDriver(name: SqliteDriverName): Opener | undefined {
  try {
    return loaders[name]();
  } catch {
    return undefined;
  }
}
