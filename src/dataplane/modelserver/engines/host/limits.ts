/** Limits that the kernel keeps for a process, set by util-linux' programs where they are. */
import { existsSync } from "node:fs";

/**
 * The command under a limit on its data (RLIMIT_DATA), without core dumps, killed when we are gone. An allocation beyond the
 * limit fails at once, where the watch on resident memory may come late. Without `prlimit` and `setpriv`: the command as it is.
 */
export function limitedCommand(command: readonly [string, ...string[]], dataBytes: number): [string, ...string[]] {
  const [prlimit, setpriv] = [systemProgram("prlimit"), systemProgram("setpriv")];
  const limited: [string, ...string[]] =
    prlimit === undefined ? [...command] : [prlimit, `--data=${dataBytes}`, "--core=0", ...command];
  return setpriv === undefined ? limited : [setpriv, "--pdeathsig", "KILL", ...limited];
}

/** Where a program of the system lies. */
export function systemProgram(name: string): string | undefined {
  return ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
    .map((folder) => `${folder}/${name}`)
    .find((path) => existsSync(path));
}
