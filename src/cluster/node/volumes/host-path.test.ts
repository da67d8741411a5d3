import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { prepareHostPath } from "./host-path.js";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function machine() {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "argosy-host-path-")));
  folders.push(root);
  const data = join(root, "data");
  const shared = join(data, "models");
  mkdirSync(join(data, "tokens"), { recursive: true });
  return { root, data, shared, rules: { hiddenPaths: [data], sharedPaths: [shared] } };
}

test("what is hidden is refused, what is shared below it is made and given", () => {
  const { root, data, shared, rules } = machine();

  expect(() => prepareHostPath(join(data, "tokens"), "", rules)).toThrow("lies in Argosy's own data directory");
  expect(prepareHostPath(join(shared, "demo"), "DirectoryOrCreate", rules)).toBe(join(shared, "demo"));
  expect(existsSync(join(shared, "demo"))).toBe(true);
  expect(prepareHostPath(root, "Directory", rules)).toBe(root);
  expect(() => prepareHostPath(join(root, "none"), "", rules)).toThrow("does not exist on this machine");
});

test("neither dots nor links lead around the rules", () => {
  const { root, data, shared, rules } = machine();
  mkdirSync(join(shared, "demo"), { recursive: true });
  symlinkSync(data, join(shared, "demo", "up"));
  symlinkSync(data, join(root, "aside"));
  writeFileSync(join(data, "tokens", "admin"), "secret");

  for (const path of [
    `${shared}/../tokens`,
    join(shared, "demo", "up", "tokens"),
    join(shared, "demo", "up", "new"),
    join(root, "aside"),
    join(root, "aside", "tokens", "admin"),
  ]) {
    expect(() => prepareHostPath(path, "DirectoryOrCreate", rules), path).toThrow("which pods may not see");
  }
  expect(existsSync(join(data, "new"))).toBe(false);
});
