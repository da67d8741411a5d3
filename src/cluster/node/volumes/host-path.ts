import { existsSync, mkdirSync, type Stats, statSync, writeFileSync } from "node:fs";
import { NodeError } from "../errors.js";
import { isWithin } from "../runtime/mount-table.js";

/** Checks (and where asked makes) a path of the machine for a hostPath volume. Throws `FailedMount`. */
export function prepareHostPath(path: string, type: string, hiddenPaths: readonly string[]): string {
  if (hiddenPaths.some((hidden) => isWithin(path, hidden))) {
    throw new NodeError("FailedMount", `hostPath ${path} lies in Argosy's own data directory, which pods may not see`);
  }
  if (type === "DirectoryOrCreate") mkdirSync(path, { recursive: true });
  if (type === "FileOrCreate" && !existsSync(path)) writeFileSync(path, "");
  if (!existsSync(path)) {
    throw new NodeError("FailedMount", `hostPath type check failed: ${path} does not exist on this machine`);
  }
  const check = checks[type];
  if (check !== undefined && !check(statSync(path))) {
    throw new NodeError("FailedMount", `hostPath type check failed: ${path} is not of type ${type}`);
  }
  return path;
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
