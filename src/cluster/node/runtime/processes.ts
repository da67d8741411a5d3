import { readdirSync, readFileSync } from "node:fs";

/** A process that is told apart from later ones with the same number by its start time (in clock ticks since boot). */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: string;
}

/** Parses a line of /proc/<pid>/stat. */
export function parseStat(
  line: string,
): (ProcessIdentity & { readonly parent: number; readonly state: string }) | undefined {
  const end = line.lastIndexOf(")");
  const pid = Number.parseInt(line, 10);
  const rest = line.slice(end + 2).split(" ");
  const startTicks = rest[19];
  if (end < 0 || Number.isNaN(pid) || startTicks === undefined) return undefined;
  return { pid, startTicks, parent: Number(rest[1]), state: rest[0] ?? "" };
}

/** Who has this process id now. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined;
  }
}

/** Whether this very process still runs (a zombie does not). */
export function isAlive(identity: ProcessIdentity): boolean {
  try {
    const now = parseStat(readFileSync(`/proc/${identity.pid}/stat`, "utf8"));
    return now?.startTicks === identity.startTicks && now.state !== "Z" && now.state !== "X";
  } catch {
    return false;
  }
}

/** Sends a signal to this very process; nothing happens when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  sendSignal(identity.pid, signal);
}

/** Sends a signal to a process, or to a group when negative; nothing happens when it is gone. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
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
export function signalGroup(leader: ProcessIdentity, signal: NodeJS.Signals): void {
  const now = identityOf(leader.pid);
  if (now === undefined || now.startTicks === leader.startTicks) sendSignal(-leader.pid, signal);
}

/** The ids of all processes below one, itself included. Reads all of /proc: for rare use. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(Number(name));
    if (stat !== undefined) children.set(stat.parent, [...(children.get(stat.parent) ?? []), stat.pid]);
  }
  const tree = [root];
  for (let index = 0; index < tree.length; index += 1) tree.push(...(children.get(tree[index] ?? -1) ?? []));
  return tree;
}

function readStat(pid: number): ReturnType<typeof parseStat> {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined;
  }
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
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const rest = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      cpuNanos += ((Number(rest[11]) + Number(rest[12])) / ticksPerSecond) * 1e9;
    } catch {
      // The process ended between the two reads.
    }
  }
  return { memoryBytes, cpuNanos };
}
