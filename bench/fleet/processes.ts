/** Processes that a measurement starts, and what they take. None outlives the program. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { cpuMicrosOf, residentBytesOf } from "../apiserver/servers.js";

const running = new Set<number>();
process.once("exit", () => {
  for (const pid of running) kill(pid, "SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));

/** A started process; `said` resolves with the first line of a stream that matches. */
export interface Started {
  readonly child: ChildProcess;
  said(stream: "stdout" | "stderr", pattern: RegExp, seconds: number): Promise<string>;
  /** Ends it: SIGTERM, and SIGKILL when that is not heard within 10 s. */
  end(): Promise<void>;
}

export function start(words: readonly string[], env: NodeJS.ProcessEnv = process.env): Started {
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "pipe"], env });
  const pid = child.pid ?? 0;
  running.add(pid);
  let [stdout, stderr] = ["", ""];
  const listeners = new Set<() => void>();
  const heard = (): void => {
    for (const listener of listeners) listener();
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout = (stdout + text).slice(-100_000);
    heard();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-100_000);
    heard();
  });
  const ended = new Promise<void>((resolve) =>
    child.once("exit", () => {
      running.delete(pid);
      heard();
      resolve();
    }),
  );
  return {
    child,
    said: (stream, pattern, seconds) =>
      new Promise((resolve, reject) => {
        const finish = (act: () => void): void => {
          clearTimeout(timer);
          listeners.delete(look);
          act();
        };
        const why = (what: string): Error => new Error(`${words.slice(0, 3).join(" ")} ${what}: ${stderr.slice(-800)}`);
        const timer = setTimeout(() => finish(() => reject(why(`is not ready within ${seconds} s`))), seconds * 1000);
        const look = (): void => {
          const line = (stream === "stdout" ? stdout : stderr).split("\n").find((each) => pattern.test(each));
          if (line !== undefined) finish(() => resolve(line));
          else if (child.exitCode !== null) finish(() => reject(why("ended")));
        };
        listeners.add(look);
        look();
      }),
    end: async () => {
      kill(pid, "SIGCONT");
      kill(pid, "SIGTERM");
      const timer = setTimeout(() => kill(pid, "SIGKILL"), 10_000);
      if (child.exitCode === null && child.signalCode === null) await ended;
      clearTimeout(timer);
    },
  };
}

/** The number in a file that a process writes which outlives whoever started it; it ends with this program at the latest. */
export function adopt(pidFile: string): { pid(): number | undefined; end(): void } {
  const pid = (): number | undefined => {
    try {
      return Number((JSON.parse(readFileSync(pidFile, "utf8")) as { pid: number }).pid);
    } catch {
      return undefined;
    }
  };
  const end = (): void => {
    const found = pid();
    if (found !== undefined) kill(found, "SIGKILL");
    rmSync(pidFile, { force: true });
  };
  process.prependOnceListener("exit", end);
  return { pid, end };
}

/** Sends a signal; a process that is gone is no fault. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}

/** CPU time of processes so far, in microseconds. */
export function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuMicrosOf(pid), 0);
}

/** Resident memory of processes, in MB. */
export function residentMbOf(pids: readonly number[]): number {
  return Math.round(pids.reduce((sum, pid) => sum + residentBytesOf(pid), 0) / 1024 / 1024);
}

/** The file name of a process's program. */
export function programOf(pid: number): string {
  return basename(readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0] ?? "");
}
