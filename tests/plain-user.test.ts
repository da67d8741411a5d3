import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../src/kernel/assets/index.js";
import { type Finished, runProgram } from "./support/argosy.js";

const nobody = 65534;

/** Runs a command as a user without any rights; the tests themselves run as root where this matters. */
function asPlainUser(home: string, words: readonly string[]): Promise<Finished> {
  const drop =
    process.getuid?.() === 0 ? ["setpriv", "--reuid", String(nobody), "--regid", String(nobody), "--clear-groups"] : [];
  const [command = "env", ...rest] = [...drop, "env", `HOME=${home}`, "CI=true", ...words];
  return runProgram(command, rest);
}

test("the main job runs as a plain Linux user: pods with mounts of their own and a loopback address each", async ({
  skip,
}) => {
  const home = mkdtempSync(join(tmpdir(), "argosy-plain-user-"));
  try {
    if (process.getuid?.() === 0) {
      chownSync(home, nobody, nobody);
    }
    const program = join(packageRoot(), "bin", "argosy.mjs");
    const readable = await asPlainUser(home, [process.execPath, program, "version"]);
    if (readable.code !== 0) {
      skip(`skipped, because a plain user cannot run this clone: ${readable.stderr.trim().split("\n").at(-1) ?? ""}`);
    }
    const namespaces = await asPlainUser(home, ["unshare", "-Urm", "true"]);
    if (namespaces.code !== 0) {
      skip(`skipped, because this machine gives plain users no namespaces: ${namespaces.stderr.trim()}`);
    }

    const done = await asPlainUser(home, [
      process.execPath,
      program,
      "start",
      "--exit",
      "-o",
      "json",
      "--data",
      join(home, "data"),
    ]);

    expect(done.code, done.stderr).toBe(0);
    expect(done.stderr).toContain("each with a loopback address");
    expect(JSON.parse(done.stdout)).toMatchObject({
      requests: { sent: 1000, failed: 0, byMember: { cloud: 300, edge: 700 } },
    });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}, 240_000);
