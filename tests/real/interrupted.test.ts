import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/kernel/assets/index.js";
import { temporaryFolder } from "../../src/testing/folder.js";
import { eventually } from "../support/polling.js";

/** Whether a process runs. */
function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test.for(["fuzz", "serve"])(
  "%s that is interrupted ends the programs that it started, and leaves no folder",
  async (command) => {
    const folder = temporaryFolder("interrupted");
    const [pids, temporary] = [join(folder, "pids"), join(folder, "tmp")];
    mkdirSync(temporary);
    for (const name of ["etcd", "kube-apiserver"]) {
      writeFileSync(join(folder, name), `#!/bin/sh\necho $$ >> ${pids}\nexec sleep 600\n`);
      chmodSync(join(folder, name), 0o755);
    }
    const program = join(packageRoot(), "dist", "tests", "real", "main.js");
    const child = spawn(process.execPath, [program, command, "--programs", folder], {
      env: { ...process.env, TMPDIR: temporary },
      stdio: "ignore",
    });
    const ended = once(child, "exit");
    const started = (): number[] => (existsSync(pids) ? readFileSync(pids, "utf8").trim().split("\n").map(Number) : []);
    await eventually("both run", () => (started().length === 2 ? true : undefined));

    child.kill("SIGINT");

    expect(await ended).toEqual([130, null]);
    await eventually("they ended", () => (started().some(runs) ? undefined : true));
    expect(readdirSync(temporary)).toEqual([]);
  },
);
