import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { formatMark, markOf } from "../kernel/files/index.js";
import {
  DirectoryInUseError,
  type Layout,
  layoutOf,
  readState,
  runningProcess,
  takeDirectory,
  writeState,
} from "./layout.js";

function fresh(): Layout {
  const folder = mkdtempSync(join(tmpdir(), "argosy-layout-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return layoutOf(join(folder, "data"));
}

test("a taken directory names this process until it is given back", async () => {
  const layout = fresh();

  const giveBack = await takeDirectory(layout);
  expect(await runningProcess(layout)).toEqual(markOf(process.pid));
  expect(statSync(layout.pid).mode & 0o777).toBe(0o600);
  expect(statSync(layout.logs).mode & 0o777).toBe(0o700);

  await giveBack();
  expect(await runningProcess(layout)).toBeUndefined();
  expect(existsSync(layout.pid)).toBe(false);
});

test("a directory of a running process is refused with what to do; once that was killed it is free", async () => {
  const layout = fresh();
  mkdirSync(layout.root);
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const mark = markOf(other.pid ?? 0);
  writeFileSync(layout.pid, formatMark(mark ?? { pid: 0, startTicks: "" }));

  await expect(takeDirectory(layout)).rejects.toThrow(
    `process ${other.pid}: stop it with \`argosy down --data ${layout.root}\``,
  );
  await expect(takeDirectory(layout)).rejects.toBeInstanceOf(DirectoryInUseError);

  other.kill("SIGKILL");
  await once(other, "exit");
  await takeDirectory(layout);
  expect(await runningProcess(layout)).toMatchObject({ pid: process.pid });
});

test.each(["", "what is this", `${process.pid} 1\n`])("the mark %j is nobody's", async (text) => {
  const layout = fresh();
  mkdirSync(layout.root);
  writeFileSync(layout.pid, text);

  expect(await runningProcess(layout)).toBeUndefined();
});

test("a file where the directory should be is refused with the option to change", async () => {
  const layout = fresh();
  writeFileSync(layout.root, "");

  await expect(takeDirectory(layout)).rejects.toThrow(`cannot use ${layout.root} as data directory`);
  await expect(takeDirectory(layout)).rejects.toThrow("choose another with --data");
});

test("what must stay the same is read as it was written", async () => {
  const layout = fresh();
  await takeDirectory(layout);
  expect(await readState(layout)).toBeUndefined();

  const state = {
    version: 1,
    members: [{ name: "cloud", nodes: 2, index: 1 }],
    ports: { hub: 6440, ingress: 8080 },
  } as const;
  await writeState(layout, state);

  expect(await readState(layout)).toEqual(state);
  expect(JSON.parse(readFileSync(layout.state, "utf8"))).toEqual(state);
});

test.each([
  ["", /Unexpected end of JSON/],
  ['{"version": 1, "members": [', /JSON/],
  ['{"version": 2, "members": [], "ports": {}}', /no state of this version/],
  ['{"version": 1, "members": [{"name": "cloud", "nodes": 1}], "ports": {}}', /its number/],
  ['{"version": 1, "members": [{"name": "cloud", "nodes": 1, "index": 0}], "ports": {}}', /its number/],
  ['{"version": 1, "members": ["cloud"], "ports": {}}', /a member needs a name/],
  ['{"version": 1, "members": [], "ports": {"hub": 70000}}', /the port hub is 70000/],
])("a damaged state (%j) is refused: nothing starts anew beside the old data", async (text, reason) => {
  const layout = fresh();
  mkdirSync(layout.root);
  writeFileSync(layout.state, text);

  await expect(readState(layout)).rejects.toThrow(reason);
  await expect(readState(layout)).rejects.toThrow(
    new RegExp(`^${layout.state} is damaged: .*; restore it, or move it away .*, or start over with --fresh$`),
  );
});

test("a state that cannot be read is not taken for a new directory", async () => {
  const layout = fresh();
  mkdirSync(layout.state, { recursive: true });

  await expect(readState(layout)).rejects.toThrow("is damaged: EISDIR");
});
