import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCli } from "./main.js";
import type { Terminal } from "./output/terminal.js";

async function run(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const terminal: Terminal = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    readStdin: async () => "",
    live: false,
    columns: 100,
    env: {},
  };
  const code = await runCli(words, terminal);
  return { code, out, err };
}

test("help goes to stdout, lists every command and shows examples", async () => {
  const top = await run("--help");
  const apply = await run("apply", "--help");

  expect(top.code).toBe(0);
  for (const command of [
    "start",
    "up",
    "down",
    "status",
    "apply",
    "get",
    "describe",
    "delete",
    "logs",
    "explain",
    "doctor",
    "version",
    "completion",
  ]) {
    expect(top.out).toContain(`\n  ${command}`);
  }
  expect(top.out).not.toContain("__complete");
  expect(apply.out).toContain("Examples:\n  argosy apply -f service.yaml");
});

test("a mistyped command or option is answered with what was probably meant, exit code 2", async () => {
  const command = await run("stauts");
  const option = await run("get", "pods", "--all-namespace");

  expect(command).toMatchObject({ code: 2, out: "" });
  expect(command.err).toMatch(/Did you mean status\?/);
  expect(option).toMatchObject({ code: 2 });
  expect(option.err).toMatch(/Did you mean --all-namespaces\?/);
});

test("bad values are refused with the values that are good", async () => {
  expect((await run("get", "pods", "-o", "xml")).err).toContain("use one of table, wide, json, yaml, name");
  expect(await run("completion", "tcsh")).toMatchObject({ code: 2, err: expect.stringContaining("bash, zsh, fish") });
});

test("without a fleet, commands say how to start one, exit code 3", async () => {
  const directory = mkdtempSync(join(tmpdir(), "argosy-cli-"));
  try {
    for (const words of [["get", "pods"], ["status"], ["explain", "pod/a"]]) {
      const result = await run(...words, "--data", join(directory, "none"));
      expect(result.code, words.join(" ")).toBe(3);
      expect(result.err).toContain("argosy up");
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("a file where the data directory should be is refused with what to do, exit code 2", async () => {
  const directory = mkdtempSync(join(tmpdir(), "argosy-cli-"));
  try {
    const data = join(directory, "file");
    writeFileSync(data, "");

    for (const words of [["up"], ["up", "--detach"]]) {
      expect(await run(...words, "--data", data)).toMatchObject({
        code: 2,
        err: expect.stringMatching(`cannot use ${data} as data directory: .*; choose another with --data`),
      });
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("completion offers commands and options", async () => {
  expect((await run("__complete", "--", "ex")).out).toBe("explain\n");
  expect((await run("__complete", "--", "get", "--out")).out).toBe("--output\n");
  expect((await run("completion", "bash")).out).toContain("complete -F _argosy argosy");
});

test("version tells what it is and what it serves", async () => {
  for (const word of ["version", "--version", "-V"])
    expect((await run(word)).out).toMatch(/^argosy \d+\.\d+\.\d+\nKubernetes API v1\.34/);
});

test("counts and lists that cannot be meant are refused before anything starts", async () => {
  const limit = await run("explain", "hmls/digits", "--limit", "x");
  const requests = await run("start", "--requests", "none");
  const members = await run("start", "--members", "a,b");

  expect(limit).toMatchObject({ code: 2, err: expect.stringContaining('--limit "x"') });
  expect(requests).toMatchObject({ code: 2, err: expect.stringContaining('--requests "none"') });
  expect(members).toMatchObject({ code: 2, err: expect.stringContaining("cloud and edge") });
});
