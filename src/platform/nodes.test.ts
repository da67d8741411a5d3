import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { temporaryFolder } from "../testing/folder.js";
import { unless } from "../testing/unless.js";

/** In a user namespace that maps nobody no other can be made: neither as root nor as a plain user is anything of a pod's possible. */
const confined = ["--user", process.execPath, join(import.meta.dirname, "../../bin/argosy.mjs")];
const reason =
  spawnSync("unshare", ["--user", "true"]).status === 0 ? undefined : "user namespaces cannot be made on this machine";

unless(reason)("a machine that can isolate no pods is told so before anything starts, with a way without", () => {
  const data = temporaryFolder("no-pods");

  const { status, stderr } = spawnSync("unshare", [...confined, "up", "--data", data, "--members", "site"], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });

  expect(stderr).toMatch(/^error: this machine cannot isolate pods: unshare -Urm: .*: `argosy up --without nodes`\n$/);
  expect(status).toBe(1);
  expect(existsSync(join(data, "clusters"))).toBe(false);
});
