import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../kernel/assets/index.js";
import { nodeFlags } from "./node-flags.js";

const text = (...path: string[]): string => readFileSync(join(packageRoot(), ...path), "utf8");

test("all ways to start Argosy give Node the same flags", () => {
  expect(text("bin", "argosy.mjs").split("\n")[1]).toBe(`// 2>/dev/null; exec node ${nodeFlags.join(" ")} "$0" "$@"`);
  expect(JSON.parse(text("package.json")).scripts.start).toBe(`node ${nodeFlags.join(" ")} scripts/start.mjs`);
});

test("the program can be run by a link, as package managers make one", () => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-link-"));
  try {
    const link = join(folder, "argosy");
    symlinkSync(join(packageRoot(), "bin", "argosy.mjs"), link);
    const { status, stdout, stderr } = spawnSync(link, ["version"], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/\d+\.\d+\.\d+/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
