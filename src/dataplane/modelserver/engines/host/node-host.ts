/** A model in a Node process of its own: it can be ended whatever it does. */
import { limitedCommand } from "./limits.js";
import { type ProcessHostOptions, processHosts } from "./process-host.js";
import { workerFile } from "./thread-host.js";
import type { OpenHost } from "./types.js";

/** Processes of this very Node with an empty environment. */
export function nodeHosts(options: Omit<ProcessHostOptions, "command" | "env">): OpenHost {
  const heapMb = Math.max(16, Math.ceil(options.memoryBytes / 2 ** 20));
  return processHosts({
    ...options,
    command: limitedCommand([process.execPath, `--max-old-space-size=${heapMb}`, workerFile()], options.memoryBytes),
    env: { ORT_DISABLE_TELEMETRY: "1" },
  });
}
