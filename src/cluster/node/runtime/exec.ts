import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { statOf } from "../../../kernel/files/index.js";
import { findProgram, plainEnvironment, requireProgram, runCommand } from "../commands.js";
import { NodeError, shellQuote } from "../errors.js";
import type { Isolation } from "../isolation/detect.js";
import type { NodeFiles, SavedContainer } from "./process-files.js";
import { processTree, sendSignal } from "./processes.js";
import type { ExecOptions, ExecSession } from "./types.js";

interface ExecRequest {
  readonly container: SavedContainer;
  /** Host process id of the container's first process. */
  readonly init: number;
  readonly files: NodeFiles;
  readonly isolation: Isolation;
  readonly joinFiles: readonly string[];
  readonly options: ExecOptions;
}

let counter = 0;

/** Runs a command in a running container's namespaces and groups, with its environment, folder and rights. */
export function startExec(request: ExecRequest): Promise<ExecSession> {
  const { options, container, files } = request;
  counter += 1;
  const script = join(files.attempt(container), `exec-${counter}.sh`);
  writeFileSync(script, execScript(request), { mode: 0o600 });
  const fd = openSync(script, "r");
  rmSync(script);
  const joinGroups = 'while [ "$1" != -- ]; do echo $$ 2>/dev/null >"$1"; shift; done; shift; exec "$@"';
  // The script comes as an open file: the environment in it never shows in a process list.
  const args = [
    "-c",
    joinGroups,
    "sh",
    ...request.joinFiles,
    "--",
    ...enterArguments(request),
    "/bin/sh",
    "/proc/self/fd/3",
  ];
  const child = spawn("/bin/sh", args, {
    cwd: "/",
    detached: true,
    env: plainEnvironment,
    stdio: [options.stdin ? "pipe" : "ignore", "pipe", "pipe", fd],
  });
  closeSync(fd);
  return Promise.resolve(sessionOf(child, request));
}

function enterArguments(request: ExecRequest): string[] {
  const { isolation } = request;
  const flags = ["-m", "-u", "-i", "-n", ...(isolation.hasPidNamespace ? ["-p"] : [])];
  if (isolation.mode === "user") flags.splice(flags.indexOf("-n"), 1, "-U", "--preserve-credentials");
  return [requireProgram("nsenter"), "-t", String(request.init), ...flags, "--"];
}

function execScript(request: ExecRequest): string {
  const { container, options } = request;
  const command = options.tty ? terminalCommand(options.command) : options.command;
  return [
    `cd ${shellQuote(container.workingDir)} 2>/dev/null`,
    readFileSync(join(request.files.attempt(container), "env.sh"), "utf8"),
    `exec 3<&-; exec ${[...container.execPrefix, ...command].map(shellQuote).join(" ")}`,
    "",
  ].join("\n");
}

function terminalCommand(command: readonly string[]): string[] {
  const script = findProgram("script");
  if (script === undefined) {
    throw new NodeError(
      "NoTerminal",
      "this machine has no program that makes a terminal (script of util-linux): use exec without -t",
    );
  }
  return [script, "-qefc", command.map(shellQuote).join(" "), "/dev/null"];
}

function sessionOf(child: ChildProcess, request: ExecRequest): ExecSession {
  const { stdin, stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new NodeError("ExecFailed", "the command has no output");
  stdin?.on("error", () => undefined);
  const exited = new Promise<number>((resolve) => {
    child.on("error", () => resolve(126));
    child.on("close", (code, signal) => resolve(code ?? (signal === "SIGKILL" ? 137 : 143)));
  });
  return {
    stdin: stdin ?? undefined,
    stdout,
    stderr: request.options.tty ? undefined : stderr,
    exited,
    resize: (columns, rows) => {
      if (request.options.tty) resizeTerminal(request, child.pid ?? 0, { columns, rows });
    },
    kill: () => {
      if (child.pid !== undefined) sendSignal(-child.pid, "SIGKILL");
    },
  };
}

/** The terminal is that of the command's session leader; its number is the same inside the container. */
function resizeTerminal(request: ExecRequest, pid: number, size: { columns: number; rows: number }): void {
  const terminal = processTree(pid)
    .map(terminalOf)
    .find((number) => number !== undefined);
  if (terminal === undefined) return;
  const args = [
    ...enterArguments(request),
    "stty",
    "-F",
    `/dev/pts/${terminal}`,
    "cols",
    String(size.columns),
    "rows",
    String(size.rows),
  ];
  // A terminal that keeps its old size is no reason to end the session.
  void runCommand(args[0] ?? "nsenter", args.slice(1));
}

function terminalOf(pid: number): number | undefined {
  const device = statOf(pid)?.terminal ?? 0;
  const major = (device >> 8) & 0xfff;
  // 136: UNIX98 pseudo-terminals.
  return major === 136 ? (device & 0xff) | ((device >> 12) & 0xfff00) : undefined;
}

/** The last bytes of a file as text; empty when there is none. */
export function readTail(path: string, bytes: number): string {
  try {
    const fd = openSync(path, "r");
    const size = fstatSync(fd).size;
    const buffer = Buffer.alloc(Math.min(size, bytes));
    readSync(fd, buffer, 0, buffer.length, Math.max(0, size - bytes));
    closeSync(fd);
    return buffer.toString("utf8");
  } catch {
    return "";
  }
}
