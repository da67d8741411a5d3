import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeLibrary } from "./preloaded.js";

/** A disk that can be made read-only under the programs that have files open on it; see `read-only-disk.c`. */
export interface FragileDisk {
  /** A folder on it. */
  readonly folder: string;
  /** What a process must be started with to feel it. */
  readonly environment: Readonly<Record<string, string>>;
  turn(state: "read-only" | "writable"): void;
  remove(): void;
}

/** Makes one; or says why this machine cannot. */
export function fragileDisk(): FragileDisk | string {
  const place = mkdtempSync(join(tmpdir(), "argosy-fragile-"));
  const [folder, library, toggle] = ["disk", "read-only-disk.so", "read-only"].map((name) => join(place, name)) as [
    string,
    string,
    string,
  ];
  const remove = (): void => rmSync(place, { recursive: true, force: true });
  const fault = makeLibrary("read-only-disk.c", library);
  if (fault !== undefined) {
    remove();
    return fault;
  }
  return {
    folder,
    environment: { LD_PRELOAD: library, ARGOSY_TEST_DISK: folder, ARGOSY_TEST_DISK_SWITCH: toggle },
    turn: (state) => (state === "read-only" ? writeFileSync(toggle, "") : rmSync(toggle, { force: true })),
    remove,
  };
}
