/** Limits that the kernel keeps for a process, set by util-linux' programs where they are. */
import { existsSync } from "node:fs";

/**
 * The command under a limit on its data (RLIMIT_DATA), without core dumps. An allocation beyond it fails at once, where the
 * watch on resident memory may come late. Without `prlimit` the command as it is.
 */
export function limitedCommand(command: readonly [string, ...string[]], dataBytes: number): [string, ...string[]] {
  const program = systemProgram("prlimit");
  return program === undefined ? [...command] : [program, `--data=${dataBytes}`, "--core=0", ...command];
}

/** Where a program of the system lies. */
export function systemProgram(name: string): string | undefined {
  return ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
    .map((folder) => `${folder}/${name}`)
    .find((path) => existsSync(path));
}
