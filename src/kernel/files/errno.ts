/** The file system's code of a failure (`ENOENT`, `ENOSPC`, …); `undefined` for other errors. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** Whether an error of the file system says that there is no such file. */
export function isMissing(error: unknown): boolean {
  return errnoOf(error) === "ENOENT";
}
