/** Servers as processes on a core of their own, and what they take. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

const canPin = spawnSync("taskset", ["-c", "0", "true"]).status === 0;

/** Whether servers and generator have a core each. */
export const isPinned = (): boolean => canPin;

/** Leaves core 0 to the servers. */
export function pinSelf(): void {
  if (canPin) spawnSync("taskset", ["-a", "-c", "-p", "1", String(process.pid)]);
}

/** Starts a program on core 0; its output goes nowhere. */
export function start(command: string, args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  const options = { stdio: "ignore", env: { ...process.env, ...env } } as const;
  return canPin ? spawn("taskset", ["-c", "0", command, ...args], options) : spawn(command, [...args], options);
}

/** Ends a program. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), 5000);
  await ended;
  clearTimeout(hard);
}

/** User and system time of a process and all below it. */
export function cpuSecondsOf(pid: number): number {
  let ticks = 0;
  for (const each of [pid, ...descendants(pid)]) {
    const fields = statOf(each);
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks / 100;
}

/** Resident memory of a process and all below it. */
export function residentMibOf(pid: number): number {
  let pages = 0;
  for (const each of [pid, ...descendants(pid)])
    pages += Number(readFileSync(`/proc/${each}/statm`, "utf8").split(" ")[1]);
  return Math.round(pages / 256);
}

function descendants(pid: number): number[] {
  const folder = `/proc/${pid}/task`;
  if (!existsSync(folder)) return [];
  const children = readdirSync(folder).flatMap((task) => readWords(`${folder}/${task}/children`).map(Number));
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function readWords(file: string): string[] {
  return existsSync(file)
    ? readFileSync(file, "utf8")
        .split(" ")
        .filter((word) => word !== "")
    : [];
}

/** Fields behind the name; the user's time is the twelfth. */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}
