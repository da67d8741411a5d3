import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { rotatingLogFile } from "./log-file.js";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "argosy-log-"));
  onTestFinished(() => rmSync(made, { recursive: true }));
  return made;
}

test("a log keeps its newest lines in three files of bounded size", () => {
  const base = folder();
  const file = join(base, "argosy.log");
  const megabyte = "x".repeat(2 ** 20);
  const write = rotatingLogFile(file);

  for (let index = 0; index < 45; index += 1) write(`${index} ${megabyte}`);
  rotatingLogFile(file)("after a restart\n");

  expect(readdirSync(base).sort()).toEqual(["argosy.log", "argosy.log.1", "argosy.log.2"]);
  for (const name of readdirSync(base)) expect(statSync(join(base, name)).size).toBeLessThan(12 * 2 ** 20);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const text = readFileSync(file, "utf8");
  expect(text).toContain("\n44 x");
  expect(text.endsWith("\nafter a restart\n")).toBe(true);
});

test("a log that cannot be written does not stop the program, and goes on once it can", () => {
  const file = join(folder(), "argosy.log");
  mkdirSync(file);
  const write = rotatingLogFile(file);

  write("lost");
  rmSync(file, { recursive: true });
  write("kept");

  expect(readFileSync(file, "utf8")).toBe("kept\n");
});
