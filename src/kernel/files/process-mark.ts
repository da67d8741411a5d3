import { statOf } from "./process-stat.js";

/** A process, told apart from a later one with the same number by its start. */
export interface ProcessMark {
  readonly pid: number;
  /** Clock ticks since the machine's boot; empty where there is no /proc. */
  readonly startTicks: string;
}

/** The mark of a process that runs; `undefined` when it does not (a zombie does not). */
export function markOf(pid: number): ProcessMark | undefined {
  const stat = statOf(pid);
  if (stat !== undefined) return hasEnded(stat.state) ? undefined : { pid, startTicks: stat.startTicks };
  return pid > 0 && !hasProc() && exists(pid) ? { pid, startTicks: "" } : undefined;
}

/** Whether this very process still runs. */
export function isRunning(mark: ProcessMark): boolean {
  return markOf(mark.pid)?.startTicks === mark.startTicks;
}

/** A mark as the text of a file: number and start. */
export function formatMark({ pid, startTicks }: ProcessMark): string {
  return `${pid} ${startTicks}\n`;
}

/** The mark that `formatMark` wrote; `undefined` when the text is none. */
export function parseMark(text: string): ProcessMark | undefined {
  const match = /^([1-9]\d*) ?(\d*)\s*$/.exec(text);
  return match === null ? undefined : { pid: Number(match[1]), startTicks: match[2] ?? "" };
}

function hasEnded(state: string): boolean {
  return state === "Z" || state === "X";
}

function hasProc(): boolean {
  return statOf(process.pid) !== undefined;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process cannot be signalled, and is there.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
