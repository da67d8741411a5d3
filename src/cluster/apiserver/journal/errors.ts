import { ArgosyError, messageOf } from "../../../kernel/errors/index.js";
import { errnoOf, FileInUseError } from "../../../kernel/files/index.js";

/** Kinds of failure that callers tell apart. */
export type JournalErrorCode =
  | "JournalUnreadable"
  | "JournalDamaged"
  | "JournalInUse"
  | "DiskFull"
  | "ReadOnlyDisk"
  | "DiskError";

/** The journal cannot be opened, read or written: says which file and what to do. */
export class JournalError extends ArgosyError {
  constructor(code: JournalErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

const causes: Readonly<Record<string, { readonly code: JournalErrorCode; readonly text: string }>> = {
  ENOSPC: {
    code: "DiskFull",
    text: "the disk is full; free some space on it, and writes work again as soon as there is room",
  },
  EDQUOT: { code: "DiskFull", text: "the disk quota is used up; free some space, and writes work again" },
  EROFS: { code: "ReadOnlyDisk", text: "the disk is read-only; make it writable" },
  EACCES: { code: "ReadOnlyDisk", text: "permission denied; make the directory and its files writable by this user" },
  EPERM: { code: "ReadOnlyDisk", text: "not permitted; make the directory and its files writable by this user" },
};

/** Words a failed file operation for people. */
export function toJournalError(file: string, error: unknown): JournalError {
  if (error instanceof JournalError) return error;
  if (error instanceof FileInUseError) return new JournalError("JournalInUse", error.message, { cause: error });
  const known = causes[errnoOf(error) ?? ""];
  if (known !== undefined) return new JournalError(known.code, `${file}: ${known.text}`, { cause: error });
  return new JournalError("DiskError", `${file}: ${messageOf(error)}; check the disk`, { cause: error });
}
