import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../src/kernel/assets/index.js";

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
  const source = join(packageRoot(), "tests", "support", "read-only-disk.c");
  const made = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], { encoding: "utf8" });
  if (made.status !== 0) {
    remove();
    return made.error === undefined
      ? `cc cannot make the library that plays the disk: ${made.stderr.trim()}`
      : "there is no C compiler (cc) to make the library that plays the disk";
  }
  return {
    folder,
    environment: { LD_PRELOAD: library, ARGOSY_TEST_DISK: folder, ARGOSY_TEST_DISK_SWITCH: toggle },
    turn: (state) => (state === "read-only" ? writeFileSync(toggle, "") : rmSync(toggle, { force: true })),
    remove,
  };
}
