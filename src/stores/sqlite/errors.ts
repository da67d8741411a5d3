import { accessSync, constants, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { ArgosyError, messageOf } from "../../kernel/errors/index.js";

/** Kinds of failure that callers tell apart. */
export type SqliteErrorCode =
  | "DiskFull"
  | "ReadOnlyDisk"
  | "CorruptDatabase"
  | "DatabaseInUse"
  | "ConstraintViolated"
  | "DiskError"
  | "SqlError";

/** A failed call. The message names the file; nothing that the call would have changed was changed. */
export class SqliteError extends ArgosyError {
  readonly file: string;

  constructor(code: SqliteErrorCode, file: string, message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.file = file;
  }
}

const byResultCode: Readonly<Record<number, SqliteErrorCode>> = {
  5: "DatabaseInUse",
  6: "DatabaseInUse",
  8: "ReadOnlyDisk",
  10: "DiskError",
  11: "CorruptDatabase",
  13: "DiskFull",
  14: "DiskError",
  19: "ConstraintViolated",
  26: "CorruptDatabase",
};

const byText: readonly (readonly [RegExp, SqliteErrorCode])[] = [
  [/SQLITE_FULL|disk is full|ENOSPC/i, "DiskFull"],
  [/SQLITE_READONLY|readonly database|EROFS|EACCES|EPERM/i, "ReadOnlyDisk"],
  [/SQLITE_CORRUPT|SQLITE_NOTADB|malformed|not a database/i, "CorruptDatabase"],
  [/SQLITE_BUSY|SQLITE_LOCKED|is locked/i, "DatabaseInUse"],
  [/SQLITE_CONSTRAINT|constraint failed/i, "ConstraintViolated"],
  [/SQLITE_IOERR|SQLITE_CANTOPEN|disk I\/O error|unable to open|ENOENT|ENOTDIR/i, "DiskError"],
];

const advice: Readonly<Record<SqliteErrorCode, string>> = {
  DiskFull: "free some space on the disk; writes work again as soon as there is room",
  ReadOnlyDisk: "make the file and its directory writable",
  CorruptDatabase: "restore it from a backup, or move it away to start empty",
  DatabaseInUse: "stop the other process that has it open",
  ConstraintViolated: "",
  DiskError: "check the disk and the permissions of the directory",
  SqlError: "",
};

const states: Readonly<Partial<Record<SqliteErrorCode, string>>> = {
  DiskFull: "the disk is full",
  ReadOnlyDisk: "the disk is read-only",
};

/** Turns what a binding threw into a `SqliteError`, by result code where it has one and else by its words. */
export function toSqliteError(file: string, error: unknown): SqliteError {
  if (error instanceof SqliteError) return error;
  const found = classify(error);
  const code = found === "DiskError" ? (causeOnDisk(file) ?? found) : found;
  const hint = advice[code];
  const state = code === found && code !== "DiskFull" ? undefined : states[code];
  const what = state ?? messageOf(error);
  return new SqliteError(code, file, `${file}: ${what}${hint === "" ? "" : `; ${hint}`}`, { cause: error });
}

/** Less than the log needs for one more commit. */
const leastFreeBytes = 256 * 1024;

/** Bindings report a failed write on an open file as an I/O error; the file system knows whether it is full, or was turned read-only. */
function causeOnDisk(file: string): "DiskFull" | "ReadOnlyDisk" | undefined {
  try {
    const { bavail, bsize } = statfsSync(dirname(file));
    if (bavail * bsize < leastFreeBytes) return "DiskFull";
    accessSync(dirname(file), constants.W_OK);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EROFS" ? "ReadOnlyDisk" : undefined;
  }
  return undefined;
}

function classify(error: unknown): SqliteErrorCode {
  if (typeof error !== "object" || error === null) return "SqlError";
  if ("errcode" in error && typeof error.errcode === "number") return byResultCode[error.errcode & 0xff] ?? "SqlError";
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const text = `${code} ${messageOf(error)}`;
  return byText.find(([pattern]) => pattern.test(text))?.[1] ?? "SqlError";
}
