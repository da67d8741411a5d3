import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** Which process serves a directory. Start ticks tell it from a later process with the same number. */
export interface ProcessMark {
  readonly pid: number;
  readonly startedAt: string;
  /** Field 22 of /proc/PID/stat; empty where there is no /proc. */
  readonly startTicks: string;
}

/** When a process began, in the kernel's clock ticks; empty when there is no such process (or no /proc). */
export function startTicksOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The command in parentheses may contain spaces; fields are counted from behind it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : (fields[19] ?? "");
  } catch {
    return "";
  }
}

/** The mark in a file, if it is one; `undefined` otherwise. */
export async function readMark(file: string): Promise<ProcessMark | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(file, "utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const fields = new Map<string, unknown>(Object.entries(value));
    const pid = fields.get("pid");
    const startedAt = fields.get("startedAt");
    const startTicks = fields.get("startTicks");
    if (typeof pid !== "number" || !Number.isInteger(pid) || pid <= 0) return undefined;
    return {
      pid,
      startedAt: typeof startedAt === "string" ? startedAt : "",
      startTicks: typeof startTicks === "string" ? startTicks : "",
    };
  } catch {
    return undefined;
  }
}

/** Whether the marked process is still that process. */
export function isAlive(mark: ProcessMark): boolean {
  if (mark.startTicks !== "") return startTicksOf(mark.pid) === mark.startTicks;
  try {
    process.kill(mark.pid, 0);
    return true;
  } catch {
    return false;
  }
}
