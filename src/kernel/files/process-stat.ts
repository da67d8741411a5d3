import { readFileSync } from "node:fs";

/** A line of /proc/PID/stat (proc(5)). */
export interface ProcessStat {
  readonly pid: number;
  /** When it started, in clock ticks since the machine's boot: tells a process from a later one with the same number. */
  readonly startTicks: string;
  /** One letter; `Z` (zombie) and `X` (dead) do not run any more. */
  readonly state: string;
  readonly parent: number;
  /** Number of its controlling terminal, 0 without one. */
  readonly terminal: number;
  /** User and system time, in clock ticks. */
  readonly cpuTicks: number;
}

/** Parses a line of /proc/PID/stat; `undefined` when it is none. */
export function parseStat(line: string): ProcessStat | undefined {
  // The command, in parentheses, may contain spaces and parentheses: the fields are counted from behind it.
  const end = line.lastIndexOf(")");
  const pid = Number.parseInt(line, 10);
  const fields = line.slice(end + 2).split(" ");
  const startTicks = fields[19];
  if (end < 0 || Number.isNaN(pid) || startTicks === undefined) return undefined;
  return {
    pid,
    startTicks,
    state: fields[0] ?? "",
    parent: Number(fields[1]),
    terminal: Number(fields[4]),
    cpuTicks: Number(fields[11]) + Number(fields[12]),
  };
}

/** What /proc says of a process, a zombie too; `undefined` when there is none, or no /proc. */
export function statOf(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined;
  }
}
