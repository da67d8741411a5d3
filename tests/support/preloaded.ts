import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "../../src/kernel/assets/index.js";

/** Makes the library of a C file of this folder, to be preloaded into programs (`LD_PRELOAD`); or says why this machine cannot. */
export function makeLibrary(source: string, library: string): string | undefined {
  const file = join(packageRoot(), "tests", "support", source);
  const made = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, file, "-ldl"], { encoding: "utf8" });
  if (made.status === 0) return undefined;
  return made.error === undefined
    ? `cc cannot make the library of ${source}: ${made.stderr.trim()}`
    : `there is no C compiler (cc) to make the library of ${source}`;
}
