import { randomBytes } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

export interface ReplaceOptions {
  /** Rights of the new file; 0600 unless told. */
  readonly mode?: number;
  /** Also after a crash of the machine the file is there when the call has resolved (fsync of file and folder); false unless told. */
  readonly isDurable?: boolean;
}

/** Writes a file whole or not at all: readers see the old content or the new, never a part. The folder must exist. */
export async function replaceFile(
  file: string,
  content: string | Uint8Array,
  options: ReplaceOptions = {},
): Promise<void> {
  const draft = draftOf(file);
  try {
    await withHandle(await open(draft, "wx", options.mode ?? 0o600), async (handle) => {
      await handle.writeFile(content);
      if (options.isDurable === true) await handle.sync();
    });
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  if (options.isDurable === true) await withHandle(await open(dirname(file), "r"), (folder) => folder.sync());
}

/** `replaceFile` for callers that must not yield; not durable. */
export function replaceFileSync(file: string, content: string, mode = 0o600): void {
  const draft = draftOf(file);
  try {
    writeFileSync(draft, content, { mode, flag: "wx" });
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/** Beside the file (a rename does not cross file systems), and one for each call: calls at the same time do not meet. */
function draftOf(file: string): string {
  return `${file}.${randomBytes(6).toString("hex")}.new`;
}

async function withHandle(handle: FileHandle, work: (handle: FileHandle) => Promise<void>): Promise<void> {
  try {
    await work(handle);
  } finally {
    await handle.close();
  }
}
