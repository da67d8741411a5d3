import type { Dirent, Stats } from "node:fs";
import { chmod, chown, lstat, mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join, normalize } from "node:path";
import { NodeError } from "../errors.js";

const whiteout = ".wh.";
const opaque = ".wh..wh..opq";

/**
 * Lays an unpacked layer over a root, moving its files there: `.wh.NAME` takes away what is below, `.wh..wh..opq` everything beside it. No
 * link is ever followed, neither the layer's nor the root's, and no device comes along: a layer reaches nothing but the root.
 * `folders` are those that the layer speaks of itself, as its archive lists them: others keep their mode and owner.
 */
export async function applyLayer(from: string, root: string, folders: readonly string[]): Promise<void> {
  const own = new Set(folders.map((path) => normalize(join("/", path)).replace(/(.)\/$/, "$1")));
  await merge({ from, to: root, path: "/", own });
}

interface Merge {
  readonly from: string;
  readonly to: string;
  /** In the image. */
  readonly path: string;
  readonly own: ReadonlySet<string>;
}

async function merge({ from, to, path, own }: Merge): Promise<void> {
  const [wanted, present] = [await stat(from), await stat(to)];
  // Whoever is not root cannot move files out of and into folders that he may not write.
  for (const folder of [from, to]) await chmod(folder, 0o700);
  const entries = await readdir(from, { withFileTypes: true });
  for (const { name } of entries.filter((entry) => entry.name.startsWith(whiteout))) await takeAway(to, name);
  for (const entry of entries.filter((each) => !each.name.startsWith(whiteout)))
    await place(entry, { from: join(from, entry.name), to: join(to, entry.name), path: join(path, entry.name), own });
  await giveAttributes(to, own.has(path) ? wanted : present);
}

async function takeAway(folder: string, mark: string): Promise<void> {
  if (mark === opaque) {
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
    return;
  }
  // Others of this kind are notes of who made the layer.
  if (mark.startsWith(`${whiteout}${whiteout}`)) return;
  const name = mark.slice(whiteout.length);
  if (["", ".", ".."].includes(name))
    throw new NodeError("ErrImagePull", `the image has a layer that takes away "${name}"`);
  await rm(join(folder, name), { recursive: true, force: true });
}

async function place(entry: Dirent, place: Merge): Promise<void> {
  if (entry.isBlockDevice() || entry.isCharacterDevice()) return;
  const { from, to } = place;
  const present = await lstat(to).catch(() => undefined);
  const isFolder = entry.isDirectory();
  if (present !== undefined && !(isFolder && present.isDirectory())) await rm(to, { recursive: true, force: true });
  if (!isFolder) {
    await rename(from, to);
    return;
  }
  const isNew = present?.isDirectory() !== true;
  if (isNew) await mkdir(to);
  // A new folder is as the layer has it, spoken of or not.
  await merge(isNew ? { ...place, own: new Set([...place.own, place.path]) } : place);
}

async function giveAttributes(folder: string, { mode, uid, gid, atime, mtime }: Stats): Promise<void> {
  if (process.getuid?.() === 0) await chown(folder, uid, gid);
  await chmod(folder, mode & 0o7777);
  await utimes(folder, atime, mtime);
}
