import { readdirSync, readFileSync } from "node:fs";
import { isRunning, type ProcessMark, statOf } from "../../../kernel/files/index.js";

/** Sends a signal to this very process; nothing happens when it is gone. */
export function signalProcess(identity: ProcessMark, signal: NodeJS.Signals | number): void {
  if (!isRunning(identity)) return;
  sendSignal(identity.pid, signal);
}

/** Sends a signal to a process, or to a group when negative; nothing happens when it is gone. */
export function sendSignal(pid: number, signal: NodeJS.Signals | number): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already, which is what was wanted.
  }
}

/**
 * Sends a signal to the process group that this process leads or led. Nothing happens when its number belongs to another
 * process by now; while members of the group are left, the kernel does not give the number away.
 */
export function signalGroup(leader: ProcessMark, signal: NodeJS.Signals): void {
  const now = statOf(leader.pid);
  if (now === undefined || now.startTicks === leader.startTicks) sendSignal(-leader.pid, signal);
}

/** The ids of all processes below one, itself included. Reads all of /proc: for rare use. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat !== undefined) children.set(stat.parent, [...(children.get(stat.parent) ?? []), stat.pid]);
  }
  const tree = [root];
  for (let index = 0; index < tree.length; index += 1) tree.push(...(children.get(tree[index] ?? -1) ?? []));
  return tree;
}

const pageBytes = 4096;
const ticksPerSecond = 100;

/** Memory (resident, private part) and CPU time of some processes together. */
export function usageOf(pids: readonly number[]): { memoryBytes: number; cpuNanos: number } {
  let memoryBytes = 0;
  let cpuNanos = 0;
  for (const pid of pids) {
    try {
      const [, resident = "0", shared = "0"] = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ");
      memoryBytes += (Number(resident) - Number(shared)) * pageBytes;
      cpuNanos += ((statOf(pid)?.cpuTicks ?? 0) / ticksPerSecond) * 1e9;
    } catch {
      // The process ended between the two reads.
    }
  }
  return { memoryBytes, cpuNanos };
}
