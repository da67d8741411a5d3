import { requireProgram, runCommand } from "../commands.js";
import { NodeError } from "../errors.js";
import { sysctlLine } from "./script.js";
import type { SandboxRecord } from "./types.js";

type Sysctl = readonly [name: string, value: string];

/** Those that a container cannot set itself: a plain user's container does not own the network that it is in. */
export function isForNetworkOwner([name]: Sysctl): boolean {
  return name.startsWith("net.");
}

/** Sets a pod's sysctls of the network as its owner; `enter` is the way there. Throws `StartError`'s cause as a `NodeError`. */
export async function setNetworkSysctls({ sysctls = [] }: SandboxRecord, enter: readonly string[]): Promise<void> {
  const own = sysctls.filter(isForNetworkOwner);
  const [, ...words] = enter;
  if (own.length === 0 || enter.length === 0) return;
  const script = ['fail() { echo "$*" >&2; exit 1; }', ...own.map(sysctlLine), ""].join("\n");
  const result = await runCommand(requireProgram("nsenter"), [...words, "/bin/sh", "-s"], script);
  if (result.code !== 0) throw new NodeError("CreateContainerError", result.stderr.trim());
}
