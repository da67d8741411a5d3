import type { ChildProcess } from "node:child_process";
import { existsSync, lstatSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { PassThrough, type Writable } from "node:stream";
import type { Clock } from "../../../kernel/clock/index.js";
import { statOf } from "../../../kernel/files/index.js";
import { findProgram, runCommand } from "../commands.js";
import { NodeError, shellQuote } from "../errors.js";
import { processTree } from "./processes.js";
import type { TerminalSize } from "./types.js";

export interface TerminalOptions {
  /** The image's own root; absent: the machine's userland. */
  readonly imageRoot: string | undefined;
  readonly env: ReadonlyMap<string, string>;
  readonly size: TerminalSize | undefined;
  /** The command brings a terminal of its own: this one passes everything on, and says on descriptor 3 when it does. Default: no. */
  readonly isRelay?: boolean;
}

const folders = ["/usr/bin", "/bin", "/usr/local/bin"];
const pythonTerminal =
  "import os,pty,sys\ns=pty.spawn(['/bin/sh','-c',sys.argv[1]])\nsys.exit(os.WEXITSTATUS(s) if os.WIFEXITED(s) else 128+os.WTERMSIG(s))";

/**
 * The command on a pseudo-terminal of its own, made by a program of the container: `script` of util-linux, or Python. Its
 * input and output are what the terminal shows. Throws `NoTerminal` where the container has neither.
 */
export function onTerminal(command: readonly string[], options: TerminalOptions): string[] {
  const shell = options.env.get("SHELL");
  const { size, isRelay = false } = options;
  const settings = size === undefined ? "" : ` cols ${size.columns} rows ${size.rows}`;
  const inner = [
    `stty ${isRelay ? "raw -echo" : "echo"}${settings} 2>/dev/null`,
    ...(isRelay ? ["(printf . >&3) 2>/dev/null", "exec 3>&-"] : []),
    options.env.has("TERM") ? "" : "export TERM=xterm",
    // The maker of the terminal starts what SHELL names.
    shell === undefined ? "" : `export SHELL=${shellQuote(shell)}`,
    `exec ${command.map(shellQuote).join(" ")}`,
  ].filter((line) => line !== "");
  return [...(shell === undefined ? [] : ["/usr/bin/env", "SHELL=/bin/sh"]), ...maker(inner.join("; "), options)];
}

/**
 * The input of a terminal that passes everything on (`isRelay`; descriptor 3 of the child is a pipe). What comes waits until the terminal
 * does so: before that it would show what is typed, and swallow the end of it.
 */
export function relayInput(child: ChildProcess): Writable {
  const input = new PassThrough();
  child.stdio[3]?.once("data", () => {
    if (child.stdin !== null) input.pipe(child.stdin);
  });
  return input;
}

function maker(line: string, { imageRoot }: TerminalOptions): string[] {
  const script = programOf("script", imageRoot);
  if (script !== undefined) return [script, "-qefc", line, "/dev/null"];
  const python = programOf("python3", imageRoot);
  if (python !== undefined) return [python, "-c", pythonTerminal, line];
  const where = imageRoot === undefined ? "this machine" : "the image";
  throw new NodeError(
    "NoTerminal",
    `${where} has no program that makes a terminal (script of util-linux, or python3): leave tty out, or use exec without -t`,
  );
}

/** Busybox has a `script` too, but its exit code is not the command's. */
function programOf(name: string, root: string | undefined): string | undefined {
  if (root === undefined) return findProgram(name);
  return folders.map((folder) => join(folder, name)).find((path) => isProgram(join(root, path)));
}

function isProgram(path: string): boolean {
  try {
    return !lstatSync(path).isSymbolicLink() || !readlinkSync(path).includes("busybox");
  } catch {
    return false;
  }
}

const retryMs = 50;
const maxTries = 40;

/** Sets the size of the terminal that a process or one of its descendants runs on, from outside; the last size wins. */
export class TerminalResizer {
  readonly #root: () => number;
  readonly #clock: Clock;
  #wanted: TerminalSize | undefined;
  #isSetting = false;

  constructor(clock: Clock, root: () => number) {
    this.#clock = clock;
    this.#root = root;
  }

  resize(size: TerminalSize): void {
    this.#wanted = size;
    if (this.#isSetting) return;
    this.#isSetting = true;
    void this.#set().finally(() => {
      this.#isSetting = false;
    });
  }

  /** The terminal may not be there yet; one that keeps its size is no reason to end anything. */
  async #set(): Promise<void> {
    for (let tries = 0; this.#wanted !== undefined && tries < maxTries; tries += 1) {
      const size = this.#wanted;
      const path = terminalPath(this.#root());
      if (path !== undefined) {
        this.#wanted = undefined;
        await setSize(path, size);
      } else await this.#clock.sleep(retryMs);
    }
  }
}

async function setSize(path: string, { columns, rows }: TerminalSize): Promise<void> {
  const stty = findProgram("stty");
  if (stty !== undefined) await runCommand(stty, ["-F", path, "cols", String(columns), "rows", String(rows)]);
}

/** The terminal as this process reaches it: in the mount namespace of who runs on it. */
function terminalPath(root: number): string | undefined {
  for (const pid of root > 0 ? processTree(root) : []) {
    const number = terminalOf(pid);
    const path = `/proc/${pid}/root/dev/pts/${number}`;
    if (number !== undefined && existsSync(path)) return path;
  }
  return undefined;
}

function terminalOf(pid: number): number | undefined {
  const device = statOf(pid)?.terminal ?? 0;
  const major = (device >> 8) & 0xfff;
  // 136: UNIX98 pseudo-terminals.
  return major === 136 ? (device & 0xff) | ((device >> 12) & 0xfff00) : undefined;
}
