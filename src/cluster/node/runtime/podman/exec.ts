import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Readable, Transform } from "node:stream";
import type { Clock } from "../../../../kernel/clock/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { isObject } from "../../../../kernel/schema/index.js";
import { plainEnvironment } from "../../commands.js";
import { NodeError } from "../../errors.js";
import type { Attempt } from "../attempt.js";
import { sendSignal } from "../processes.js";
import { onTerminal, relayInput, TerminalResizer } from "../terminal.js";
import type { ExecOptions, ExecSession } from "../types.js";
import type { PodmanEngine } from "./engine.js";
import { FirstLines } from "./first-lines.js";

interface ExecRequest {
  readonly attempt: Attempt;
  readonly options: ExecOptions;
  readonly engine: PodmanEngine;
  readonly clock: Clock;
  /** The attempt's own. */
  readonly folder: string;
}

const relayed: ReadonlyMap<string, string> = new Map([["TERM", "xterm"]]);
const notStartedCode = 255;
const notFoundCode = 127;
let counter = 0;

/**
 * Runs a command in a container, with its namespaces, rights, environment and folder: by the program that podman itself runs containers
 * with, because podman would start three processes of its own for each.
 */
export function execIn(request: ExecRequest): ExecSession {
  const { attempt, options, engine, clock, folder } = request;
  counter += 1;
  const pidFile = join(folder, `exec-${counter}.pid`);
  const processFile = join(folder, `exec-${counter}.json`);
  const { engineId = "" } = attempt.saved;
  const words = ["--log-format", "json", "exec", "--pid-file", pidFile];
  // With a terminal everything is said in a file: its size has to be there before the program is.
  if (options.tty) writeFileSync(processFile, JSON.stringify(processOf(engine, engineId, options)), { mode: 0o600 });
  const direct = options.tty
    ? [engine.programs.runtime, ...words, "--process", processFile, engineId]
    : [engine.programs.runtime, ...words, engineId, ...options.command];
  const [program = "", ...args] = options.tty
    ? onTerminal(direct, { imageRoot: undefined, env: relayed, size: options.size, isRelay: true })
    : direct;
  const child = spawn(program, args, {
    cwd: "/",
    detached: true,
    env: { ...plainEnvironment, TERM: "xterm" },
    // A terminal whose input nobody has goes without, which is not an end of it.
    stdio: [
      options.stdin || options.tty ? "pipe" : "ignore",
      "pipe",
      "pipe",
      ...(options.tty ? ["pipe" as const] : []),
    ],
  });
  return sessionOf(child, { options, pidFile, processFile, clock });
}

/** The container's own process as podman described it, with another command and on a terminal. */
function processOf(engine: PodmanEngine, id: string, { command, size }: ExecOptions): JsonObject {
  const config: unknown = JSON.parse(readFileSync(engine.configOf(id), "utf8"));
  const own = isObject(config) && isObject(config["process"]) ? config["process"] : {};
  const env = Array.isArray(own["env"]) ? own["env"] : [];
  const hasTerm = env.some((each) => typeof each === "string" && each.startsWith("TERM="));
  return {
    ...own,
    args: [...command],
    env: hasTerm ? env : [...env, "TERM=xterm"],
    terminal: true,
    ...(size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }),
  };
}

function sessionOf(
  child: ChildProcess,
  {
    options: { tty, stdin: hasInput },
    pidFile,
    processFile,
    clock,
  }: {
    readonly options: ExecOptions;
    readonly pidFile: string;
    readonly processFile: string;
    readonly clock: Clock;
  },
): ExecSession {
  const { stdin, stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new NodeError("ExecFailed", "the command has no output");
  stdin?.on("error", () => undefined);
  const input = tty ? relayInput(child) : (stdin ?? undefined);
  const cause = new StartCause();
  const readable: Readable = tty ? stdout.pipe(new FirstLines()).pipe(cause) : stderr.pipe(cause);
  const exited = new Promise<number>((resolve) => {
    child.on("error", () => resolve(126));
    child.on("close", (code, signal) => {
      for (const file of [pidFile, processFile]) rmSync(file, { force: true });
      resolve(code === notStartedCode && cause.wasSaid ? notFoundCode : (code ?? (signal === "SIGKILL" ? 137 : 143)));
    });
  });
  const resizer = new TerminalResizer(clock, () => child.pid ?? 0);
  return {
    stdin: hasInput ? input : undefined,
    stdout: tty ? readable : stdout,
    stderr: tty ? undefined : readable,
    exited,
    resize: (size) => {
      if (tty) resizer.resize(size);
    },
    kill: () => {
      const pid = Number(readText(pidFile));
      if (pid > 0) sendSignal(pid, "SIGKILL");
      if (child.pid !== undefined) sendSignal(-child.pid, "SIGKILL");
    },
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

const failure = /^\{"level":"error","msg":"(?:exec failed: )?(?:unable to start container process: )?.*\}\s*$/;

/** Passes output on, and puts into plain words why a command was not started: that is a line of the runtime's log, and the only one. */
class StartCause extends Transform {
  wasSaid = false;
  #isFirst = true;

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, chunk: Buffer | string) => void): void {
    const text = this.#isFirst && chunk[0] === 0x7b ? messageIn(chunk.toString("utf8")) : undefined;
    this.#isFirst = false;
    this.wasSaid = text !== undefined;
    done(null, text === undefined ? chunk : `${text}\n`);
  }
}

function messageIn(line: string): string | undefined {
  if (!failure.test(line)) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    if (!isObject(value) || typeof value["msg"] !== "string") return undefined;
    return value["msg"].replace(/^exec failed: /, "").replace(/^unable to start container process: /, "");
  } catch {
    return undefined;
  }
}
