import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "./at-end.js";

/** A new folder, taken away `atEnd`: ask before anything begins that writes into it. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `argosy-${name}-`));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
