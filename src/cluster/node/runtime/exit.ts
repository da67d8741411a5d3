import type { ContainerRecord } from "./types.js";

/** How a container's end is told: exit code, reason, and a message where the program itself could not speak. */
export function describeExit(end: {
  readonly code: number;
  /** What the first process said before the program: `ok`, or `error …`; absent when it did not come that far. */
  readonly started: string | undefined;
  readonly outOfMemory: boolean;
  logTail(): string;
}): Pick<ContainerRecord, "exitCode" | "reason" | "message"> {
  const { code, started, outOfMemory } = end;
  if (started === "ok") {
    // As upstream: the reason also when a process below it was killed, the code as it is.
    const reason = outOfMemory ? "OOMKilled" : code === 0 ? "Completed" : "Error";
    return { exitCode: code, reason };
  }
  const cause = started?.replace(/^error /, "") ?? end.logTail().trim();
  const message = cause === "" ? `the container's namespaces could not be made (exit code ${code})` : cause;
  return { exitCode: 128, reason: "StartError", message };
}
