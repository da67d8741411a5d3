import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../../kernel/clock/index.js";
import { plainEnvironment, requireProgram } from "../commands.js";
import { NodeError, shellQuote } from "../errors.js";
import type { Isolation } from "../isolation/detect.js";
import type { NodeFiles, SavedContainer } from "./process-files.js";
import { sendSignal } from "./processes.js";
import { lookUp } from "./script.js";
import { onTerminal, TerminalResizer } from "./terminal.js";
import type { ExecOptions, ExecSession } from "./types.js";

interface ExecRequest {
  readonly container: SavedContainer;
  /** Host process id of the container's first process. */
  readonly init: number;
  readonly files: NodeFiles;
  readonly isolation: Isolation;
  /** See `PodAddress`. */
  readonly enter: readonly string[];
  readonly joinFiles: readonly string[];
  readonly options: ExecOptions;
  readonly clock: Clock;
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
  const { isolation, container, enter } = request;
  const hasPids = isolation.hasPidNamespace && container.hostPid !== true;
  const flags = ["-m", "-u", "-n", ...(container.hostIpc === true ? [] : ["-i"]), ...(hasPids ? ["-p"] : [])];
  if (isolation.mode === "user") flags.splice(flags.indexOf("-n"), 1, "-U", "--preserve-credentials");
  // A plain user's container does not own its network: that is entered as its owner, first.
  const first = isolation.mode === "user" ? enter : [];
  return [...first, requireProgram("nsenter"), "-t", String(request.init), ...flags, "--"];
}

function execScript(request: ExecRequest): string {
  const { container, options } = request;
  const envLines = readFileSync(join(request.files.attempt(container), "env.sh"), "utf8");
  const command = options.tty ? onTerminal(options.command, terminalOptions(request, envLines)) : options.command;
  return [
    `cd ${shellQuote(container.workingDir)} 2>/dev/null`,
    envLines,
    ...ownerLines(request),
    "fail() { printf '%s\\n' \"$*\" >&2; exit 127; }",
    ...lookUp(options.command[0] ?? ""),
    `lookup ${shellQuote(options.command[0] ?? "")}`,
    `exec 3<&-; exec ${[...container.execPrefix, ...command].map(shellQuote).join(" ")}`,
    "",
  ].join("\n");
}

/** `kubectl cp` unpacks with `tar`, which as root gives files to who owned them: a plain user's pods know one user only. */
function ownerLines({ isolation, options }: ExecRequest): string[] {
  const isTar = /^(?:.*\/)?tar$/.test(options.command[0] ?? "");
  return isolation.mode === "user" && isTar ? ['export TAR_OPTIONS="--no-same-owner $TAR_OPTIONS"'] : [];
}

function terminalOptions({ container, options }: ExecRequest, envLines: string): Parameters<typeof onTerminal>[1] {
  const names = [...envLines.matchAll(/^export (SHELL|TERM)='([^']*)'$/gm)];
  const env = new Map(names.map(([, name = "", value = ""]): [string, string] => [name, value]));
  return { imageRoot: container.imageRoot, env, size: options.size };
}

function sessionOf(child: ChildProcess, request: ExecRequest): ExecSession {
  const { stdin, stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new NodeError("ExecFailed", "the command has no output");
  stdin?.on("error", () => undefined);
  const exited = new Promise<number>((resolve) => {
    child.on("error", () => resolve(126));
    child.on("close", (code, signal) => resolve(code ?? (signal === "SIGKILL" ? 137 : 143)));
  });
  const resizer = new TerminalResizer(request.clock, () => child.pid ?? 0);
  return {
    stdin: stdin ?? undefined,
    stdout,
    stderr: request.options.tty ? undefined : stderr,
    exited,
    resize: (size) => {
      if (request.options.tty) resizer.resize(size);
    },
    kill: () => {
      if (child.pid !== undefined) sendSignal(-child.pid, "SIGKILL");
    },
  };
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
