import { existsSync, mkdirSync, realpathSync, type Stats, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { NodeError } from "../errors.js";
import { isWithin } from "../runtime/mount-table.js";

/** Folders of the machine that pods may not mount, and folders below those that they may. */
export interface HostPathRules {
  readonly hiddenPaths: readonly string[];
  readonly sharedPaths: readonly string[];
}

/**
 * Checks (and where asked makes) a path of the machine for a hostPath volume. Returns where it really is: a link is no way around the rules.
 * Throws `FailedMount`.
 */
export function prepareHostPath(wanted: string, type: string, rules: HostPathRules): string {
  const path = realPathOf(wanted);
  const isAmong = (folders: readonly string[]): boolean => folders.some((folder) => isWithin(path, realPathOf(folder)));
  if (isAmong(rules.hiddenPaths) && !isAmong(rules.sharedPaths)) {
    throw new NodeError(
      "FailedMount",
      `hostPath ${wanted} lies in Argosy's own data directory, which pods may not see`,
    );
  }
  if (type === "DirectoryOrCreate") mkdirSync(path, { recursive: true });
  if (type === "FileOrCreate" && !existsSync(path)) writeFileSync(path, "");
  if (!existsSync(path)) {
    throw new NodeError("FailedMount", `hostPath type check failed: ${wanted} does not exist on this machine`);
  }
  const check = checks[type];
  if (check !== undefined && !check(statSync(path))) {
    throw new NodeError("FailedMount", `hostPath type check failed: ${wanted} is not of type ${type}`);
  }
  return path;
}

/** The path without links; of one that does not exist (yet), as far as it exists. */
function realPathOf(path: string): string {
  const whole = resolve(path);
  try {
    return realpathSync(whole);
  } catch {
    const above = dirname(whole);
    return above === whole ? whole : join(realPathOf(above), basename(whole));
  }
}

const checks: Readonly<Record<string, (stat: Stats) => boolean>> = {
  Directory: (stat) => stat.isDirectory(),
  DirectoryOrCreate: (stat) => stat.isDirectory(),
  File: (stat) => stat.isFile(),
  FileOrCreate: (stat) => stat.isFile(),
  Socket: (stat) => stat.isSocket(),
  CharDevice: (stat) => stat.isCharacterDevice(),
  BlockDevice: (stat) => stat.isBlockDevice(),
};
