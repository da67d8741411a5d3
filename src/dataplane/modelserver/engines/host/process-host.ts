/** A model in a process of its own, spoken to over its standard input and output. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Clock, Timer } from "../../../../kernel/clock/types.js";
import { messageOf } from "../../../../kernel/errors/index.js";
import { createFrameReader, encodeFrame, type HostCall, readReply } from "./messages.js";
import type { Host, HostEvents, OpenHost } from "./types.js";

/** How to start the process. */
export interface ProcessHostOptions {
  readonly command: readonly [string, ...string[]];
  /** The whole environment of the process: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Most resident bytes; beyond it the process is killed. */
  readonly memoryBytes: number;
  /** Most bytes of tensors in one answer. */
  readonly maxAnswerBytes: number;
  readonly clock: Clock;
}

const WATCH_MS = 100;
const LAST_WORDS = 2000;

/** Processes with an environment of their own, watched for the memory they take. */
export function processHosts(options: ProcessHostOptions): OpenHost {
  return (events) => new ProcessHost(options, events);
}

class ProcessHost implements Host {
  readonly #options: ProcessHostOptions;
  readonly #events: HostEvents;
  readonly #child: ChildProcess;
  #said = "";
  #watch: Timer | undefined;
  #isOver = false;
  #tookTooMuch = false;

  constructor(options: ProcessHostOptions, events: HostEvents) {
    this.#options = options;
    this.#events = events;
    const [command, ...args] = options.command;
    // A group of its own: what the model starts ends with it.
    this.#child = spawn(command, args, {
      ...{ cwd: options.cwd, env: { ...options.env }, detached: true },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child.unref();
    this.#listen();
    this.#keepWatch();
  }

  send(call: HostCall): void {
    const stdin = this.#child.stdin;
    if (stdin === null || !stdin.writable) return;
    const parts =
      call.op === "run" ? encodeFrame({ id: call.id, op: "run" }, call.inputs) : encodeFrame({ ...call, tensors: [] });
    stdin.cork();
    for (const part of parts) stdin.write(part);
    stdin.uncork();
  }

  kill(): void {
    this.#isOver = true;
    this.#watch?.cancel();
    this.#killGroup();
  }

  memoryBytes(): number {
    return residentBytes(this.#child.pid);
  }

  #listen(): void {
    const { stdout, stderr, stdin } = this.#child;
    const frames = createFrameReader(this.#options.maxAnswerBytes);
    stdout?.on("data", (chunk: Buffer) => {
      if (this.#isOver) return;
      try {
        for (const frame of frames.push(chunk)) this.#events.replied(readReply(frame));
      } catch (error) {
        this.#end("crash", messageOf(error));
      }
    });
    stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said = `${this.#said}${text}`.slice(-LAST_WORDS);
    });
    // What cannot be written any more is told by the process' end.
    stdin?.on("error", () => undefined);
    this.#child.on("error", (error) => this.#end("crash", `it could not be started: ${messageOf(error)}`));
    this.#child.on("close", (code, signal) => {
      const words = this.#said.trim().split("\n").slice(-3).join(" ");
      const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
      const memory =
        this.#tookTooMuch || /MemoryError|out of memory|bad_alloc|Cannot allocate memory/i.test(this.#said);
      this.#end(memory ? "memory" : "crash", words === "" ? how : `${how}: ${words.slice(-400)}`);
    });
  }

  #keepWatch(): void {
    this.#watch = this.#options.clock.setTimer(WATCH_MS, () => {
      const taken = residentBytes(this.#child.pid);
      if (taken > this.#options.memoryBytes) {
        this.#tookTooMuch = true;
        this.#end("memory", `it took ${mebibytes(taken)} of the ${mebibytes(this.#options.memoryBytes)} it may have`);
      } else if (!this.#isOver) this.#keepWatch();
    });
  }

  #end(kind: "crash" | "memory", words: string): void {
    if (this.#isOver) return;
    this.kill();
    this.#events.ended(kind, words);
  }

  #killGroup(): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      this.#child.kill("SIGKILL");
    }
  }
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/** Resident bytes of a process and its children's first generation, 0 where `/proc` does not say. */
function residentBytes(pid: number | undefined): number {
  if (pid === undefined) return 0;
  let children: string[] = [];
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
  } catch {
    // Kernels without CONFIG_PROC_CHILDREN.
  }
  return [String(pid), ...children].reduce((sum, each) => sum + (each === "" ? 0 : residentOf(each)), 0);
}

function residentOf(pid: string): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * 4096;
  } catch {
    return 0;
  }
}
