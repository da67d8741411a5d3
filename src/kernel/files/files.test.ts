import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { unless } from "../../testing/unless.js";
import {
  formatMark,
  isMissing,
  isRunning,
  markOf,
  parseMark,
  parseStat,
  replaceFile,
  replaceFileSync,
  statOf,
} from "./index.js";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "argosy-files-"));
  onTestFinished(() => rmSync(made, { recursive: true }));
  return made;
}

test("a file is replaced whole, with the rights asked for, and no draft stays", async () => {
  const file = join(folder(), "a");
  writeFileSync(file, "a long text that was there before", { mode: 0o644 });

  await replaceFile(file, "new");
  expect(readFileSync(file, "utf8")).toBe("new");
  expect(statSync(file).mode & 0o777).toBe(0o600);

  await replaceFile(file, Buffer.from([1, 2]), { mode: 0o640, isDurable: true });
  expect([...readFileSync(file)]).toEqual([1, 2]);
  expect(statSync(file).mode & 0o777).toBe(0o640);

  replaceFileSync(file, "again");
  expect(readFileSync(file, "utf8")).toBe("again");
  expect(readdirSync(join(file, ".."))).toEqual(["a"]);
});

test("writers at the same time leave the text of one of them", async () => {
  const file = join(folder(), "a");
  const texts = Array.from({ length: 20 }, (_, index) => String(index).repeat(10_000));

  await Promise.all(texts.map((text) => replaceFile(file, text)));

  expect(texts).toContain(readFileSync(file, "utf8"));
  expect(readdirSync(join(file, ".."))).toEqual(["a"]);
});

test("a file that cannot be replaced stays as it was, and no draft stays", async () => {
  const base = folder();
  const file = join(base, "a");
  writeFileSync(join(base, "b"), "");
  // A folder that is not empty cannot be renamed over.
  mkdirSync(join(file, "inside"), { recursive: true });

  await expect(replaceFile(file, "new")).rejects.toThrow();
  expect(() => replaceFileSync(file, "new")).toThrow();

  expect(readdirSync(base).sort()).toEqual(["a", "b"]);
  const missing: unknown = await replaceFile(join(base, "none", "a"), "new").catch((error: unknown) => error);
  expect(isMissing(missing)).toBe(true);
  expect(isMissing(new Error("ENOENT"))).toBe(false);
});

test("a mark holds while its process runs, and not for a later one with its number", async () => {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const mark = markOf(child.pid ?? 0);
  expect(mark).toBeDefined();
  if (mark === undefined) return;

  expect(isRunning(mark)).toBe(true);
  expect(isRunning({ pid: mark.pid, startTicks: "1" })).toBe(false);
  expect(parseMark(formatMark(mark))).toEqual(mark);

  child.kill("SIGKILL");
  await once(child, "exit");
  expect(isRunning(mark)).toBe(false);
  expect(markOf(mark.pid)).toBeUndefined();
});

test("text that is no mark is none", () => {
  expect(parseMark("")).toBeUndefined();
  expect(parseMark("0 12")).toBeUndefined();
  expect(parseMark("-1 12")).toBeUndefined();
  expect(parseMark("twelve 12")).toBeUndefined();
  expect(parseMark("12 later")).toBeUndefined();
  expect(parseMark("12\n")).toEqual({ pid: 12, startTicks: "" });
});

test("a command with spaces and parentheses does not shift the fields of a process", () => {
  const line = `42 (a ) S 1 (b) R 7 42 42 34816 -1 4194304 ${"0 ".repeat(4)}11 5 0 0 20 0 1 0 987654 1 2`;
  expect(parseStat(line)).toEqual({
    pid: 42,
    startTicks: "987654",
    state: "R",
    parent: 7,
    terminal: 34816,
    cpuTicks: 16,
  });
  expect(parseStat("")).toBeUndefined();
  expect(parseStat("42 (sh) R 1")).toBeUndefined();
});

unless(process.platform === "linux" ? undefined : `${process.platform} has no /proc`)(
  "the machine's own processes are read",
  () => {
    expect(statOf(process.pid)).toMatchObject({ pid: process.pid, parent: process.ppid });
    expect(statOf(2 ** 30)).toBeUndefined();
  },
);
