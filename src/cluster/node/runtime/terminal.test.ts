import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { unless } from "../../../testing/unless.js";
import { findProgram } from "../commands.js";
import { onTerminal, relayInput, type TerminalOptions } from "./terminal.js";

const python = findProgram("python3");
const noPython = python === "/usr/bin/python3" ? undefined : "this machine has no /usr/bin/python3";
const noScript = findProgram("script") === undefined ? "this machine has no script" : undefined;
let root = "";

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "argosy-image-"));
  mkdirSync(join(root, "usr/bin"), { recursive: true });
});
afterAll(() => rmSync(root, { recursive: true }));

const options = (more: Partial<TerminalOptions>): TerminalOptions => ({
  imageRoot: undefined,
  env: new Map(),
  size: { columns: 91, rows: 27 },
  ...more,
});

interface Ran {
  readonly code: unknown;
  readonly stdout: string;
}

function run([file = "", ...args]: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(file, args, { encoding: "utf8" }, (error, stdout) =>
      resolve({ code: error?.code ?? 0, stdout }),
    );
    child.stdin?.end();
  });
}

const command = ["sh", "-c", 'test -t 0 && stty size; echo $TERM $SHELL "it\'s"; exit 7'];

unless(noScript)("a terminal by script: size, names, exit code", async () => {
  const plain = await run(onTerminal(command, options({})));
  const named = await run(
    onTerminal(
      command,
      options({
        env: new Map([
          ["SHELL", "/bin/odd"],
          ["TERM", "dumb"],
        ]),
      }),
    ),
  );

  expect(plain).toMatchObject({ code: 7, stdout: expect.stringMatching(/^27 91\r\nxterm .*it's\r\n$/) });
  expect(named.code).toBe(7);
  expect(named.stdout).toContain("/bin/odd it's");
});

unless(noScript)(
  "a terminal before another one: lines stay as they are, and what was typed at once is not shown",
  async () => {
    const relayed = ["sh", "-c", "stty size; printf 'one\\ntwo\\r\\n'; od -An -c -N 7"];
    const [file = "", ...args] = onTerminal(relayed, options({ isRelay: true }));
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit", "pipe"] });
    relayInput(child).end("typed\n");

    // Its end is told to the other terminal, by the character that means it.
    expect(await text(child.stdout ?? Readable.from([]))).toBe("27 91\none\ntwo\r\n   t   y   p   e   d  \\n 004\n");
  },
);

unless(noPython)("a terminal by python3, where an image has no script", async () => {
  writeFileSync(join(root, "usr/bin/python3"), "");
  const made = onTerminal(command, options({ imageRoot: root }));

  expect(made[0]).toBe("/usr/bin/python3");
  expect(await run(made)).toMatchObject({ code: 7, stdout: expect.stringMatching(/^27 91\r\nxterm .*it's\r\n$/) });
  rmSync(join(root, "usr/bin/python3"));
});

test("an image with neither is told so; busybox's script is none", () => {
  symlinkSync("../../bin/busybox", join(root, "usr/bin/script"));

  expect(() => onTerminal(command, options({ imageRoot: root }))).toThrow(
    "the image has no program that makes a terminal",
  );
});
