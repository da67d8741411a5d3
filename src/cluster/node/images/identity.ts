import { readFileSync, realpathSync, statSync } from "node:fs";
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
  const user = rowsOf(root, "etc/passwd").find(([, , id]) => id === String(uid));
  const [name, , , gid] = user ?? [];
  if (name === undefined) return { groups: [] };
  const groups = rowsOf(root, "etc/group")
    .filter(([, , , members = ""]) => members.split(",").includes(name))
    .map(([, , id]) => Number(id))
    .filter((id) => Number.isInteger(id));
  return /^\d+$/.test(gid ?? "") ? { gid: Number(gid), groups } : { groups };
}

/** The user of that name in an image's passwd file. */
export function userNamed(root: string, name: string): { readonly uid: number; readonly gid: number } | undefined {
  const [, , uid = "", gid = ""] = rowsOf(root, "etc/passwd").find(([own]) => own === name) ?? [];
  return /^\d+$/.test(uid) && /^\d+$/.test(gid) ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

/** The group of that name in an image's group file. */
export function groupNamed(root: string, name: string): number | undefined {
  const [, , gid = ""] = rowsOf(root, "etc/group").find(([own]) => own === name) ?? [];
  return /^\d+$/.test(gid) ? Number(gid) : undefined;
}

const maxBytes = 4 * 1024 * 1024;

/** Lines of a file of the image; none where a link leads out of it, or it is no file to be read. */
function rowsOf(root: string, name: string): string[][] {
  try {
    const path = realpathSync(join(root, name));
    const stat = statSync(path);
    if (!path.startsWith(`${realpathSync(root)}/`) || !stat.isFile() || stat.size > maxBytes) return [];
    return readFileSync(path, "utf8")
      .split("\n")
      .map((line) => line.split(":"));
  } catch {
    return [];
  }
}
