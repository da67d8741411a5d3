import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What an image says about one of its users. */
export interface ImageIdentity {
  /** The user's own group. */
  readonly gid?: number;
  /** Other groups that list the user. */
  readonly groups: readonly number[];
}

/** Looks a user up in an image's own passwd and group files; nothing where they do not know it. */
export function identityOf(root: string, uid: number): ImageIdentity {
  const user = rowsOf(join(root, "etc/passwd")).find(([, , id]) => id === String(uid));
  const [name, , , gid] = user ?? [];
  if (name === undefined) return { groups: [] };
  const groups = rowsOf(join(root, "etc/group"))
    .filter(([, , , members = ""]) => members.split(",").includes(name))
    .map(([, , id]) => Number(id))
    .filter((id) => Number.isInteger(id));
  return /^\d+$/.test(gid ?? "") ? { gid: Number(gid), groups } : { groups };
}

function rowsOf(path: string): string[][] {
  try {
    return readFileSync(path, "utf8")
      .split("\n")
      .map((line) => line.split(":"));
  } catch {
    return [];
  }
}
