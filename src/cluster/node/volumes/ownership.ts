import { chmod, lchown, lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

const groupOfFile = 0o660;
/** Files made in a folder get its group. */
const groupOfFolder = 0o2770;

/**
 * Gives a volume to a group, as kubelet does for `fsGroup`: everything in it belongs to the group, which may read and
 * write. With `OnRootMismatch` only when its top does not look like that yet. Does nothing as a plain user.
 */
export async function giveToGroup(folder: string, group: number, policy: string | undefined): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const top = await lstat(folder);
  const isGiven = top.gid === group && (top.mode & groupOfFolder) === groupOfFolder;
  if (policy === "OnRootMismatch" && isGiven) return;
  // The top comes last: it tells whether all else is done.
  await giveBelow(folder, group);
  await give(folder, group);
}

async function giveBelow(folder: string, group: number): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await giveBelow(path, group);
    await give(path, group);
  }
}

async function give(path: string, group: number): Promise<void> {
  const stat = await lstat(path);
  if (stat.gid !== group) await lchown(path, stat.uid, group);
  if (stat.isSymbolicLink()) return;
  const mode = (stat.mode & 0o7777) | (stat.isDirectory() ? groupOfFolder : groupOfFile);
  if (mode !== (stat.mode & 0o7777) || stat.gid !== group) await chmod(path, mode);
}
