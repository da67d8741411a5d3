import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

test("this Node knows the setting by which full collections come seldom", () => {
  const { stdout } = spawnSync(process.execPath, ["--v8-options"], { encoding: "utf8" });
  expect(stdout).toContain("--heap-growing-percent ");
});
