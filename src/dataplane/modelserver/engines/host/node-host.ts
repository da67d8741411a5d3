/** A model in a Node process of its own: it can be ended whatever it does. */
import { readFileSync } from "node:fs";
import { limitedCommand } from "./limits.js";
import { type ProcessHostOptions, processHosts } from "./process-host.js";
import { workerFile } from "./thread-host.js";
import type { OpenHost } from "./types.js";

/** Processes of this very Node with an empty environment. */
export function nodeHosts(options: Omit<ProcessHostOptions, "command" | "env">): OpenHost {
  const heapMb = Math.max(16, Math.ceil(options.memoryBytes / 2 ** 20));
  const command = [process.execPath, `--max-old-space-size=${heapMb}`, workerFile()] as const;
  return processHosts({
    ...options,
    command: limitedCommand(command, options.memoryBytes + setAside()),
    env: { ORT_DISABLE_TELEMETRY: "1" },
  });
}

let aside: number | undefined;

/** What Node sets aside for code, in bytes: version 24 half a gibibyte, which the kernel takes for data although little of it is ever used. */
function setAside(): number {
  aside ??= readMaps()
    .filter(({ rights }) => rights.startsWith("rwx"))
    .reduce((sum, { bytes }) => sum + bytes, 0);
  return aside;
}

/** The mappings of this process; none where there is no /proc. Source: proc_pid_maps(5). */
function readMaps(): readonly { readonly bytes: number; readonly rights: string }[] {
  let text = "";
  try {
    text = readFileSync("/proc/self/maps", "latin1");
  } catch {
    // Not on Linux: there is no limit of that kind either.
  }
  return [...text.matchAll(/^([0-9a-f]+)-([0-9a-f]+) (\S+)/gm)].map(([, from = "0", to = "0", rights = ""]) => ({
    bytes: Number.parseInt(to, 16) - Number.parseInt(from, 16),
    rights,
  }));
}
