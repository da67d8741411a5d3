import { chmod, chown, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** A file of a configMap, secret, projected or downwardAPI volume. */
export interface PayloadFile {
  readonly path: string;
  readonly content: Uint8Array;
  readonly mode: number;
}

/** Who the files belong to, where that is not the agent. */
export interface PayloadOwner {
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Writes files so that readers see all of the old or all of the new: they lie in a dated folder behind the link `..data`,
 * which is replaced in one step. Does nothing when nothing changed. Returns whether something did.
 */
export async function writePayload(
  folder: string,
  files: readonly PayloadFile[],
  stamp: string,
  owner: PayloadOwner,
): Promise<boolean> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const current = await readlink(join(folder, "..data")).catch(() => undefined);
  if (current !== undefined && (await isSame(join(folder, current), files))) return false;
  const fresh = `..${stamp}`;
  await mkdir(join(folder, fresh), { recursive: true, mode: 0o755 });
  for (const file of files) await writeFileOf(join(folder, fresh), file, owner);
  await rm(join(folder, "..data_next"), { force: true });
  await symlink(fresh, join(folder, "..data_next"));
  await rename(join(folder, "..data_next"), join(folder, "..data"));
  await linkNames(folder, new Set(files.map((file) => file.path.split("/")[0] ?? file.path)));
  if (current !== undefined && current !== fresh) await rm(join(folder, current), { recursive: true, force: true });
  return true;
}

async function writeFileOf(folder: string, file: PayloadFile, owner: PayloadOwner): Promise<void> {
  const path = join(folder, file.path);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, file.content);
  await chmod(path, file.mode);
  if (owner.uid !== undefined || owner.gid !== undefined) await chown(path, owner.uid ?? 0, owner.gid ?? 0);
}

async function linkNames(folder: string, names: ReadonlySet<string>): Promise<void> {
  const present = (await readdir(folder)).filter((name) => !name.startsWith(".."));
  for (const name of present) if (!names.has(name)) await rm(join(folder, name), { force: true });
  for (const name of names) if (!present.includes(name)) await symlink(join("..data", name), join(folder, name));
}

async function isSame(folder: string, files: readonly PayloadFile[]): Promise<boolean> {
  const present = await listFiles(folder, "");
  if (present.length !== files.length) return false;
  for (const file of files) {
    const content = await readFile(join(folder, file.path)).catch(() => undefined);
    if (content === undefined || !content.equals(file.content)) return false;
  }
  return true;
}

async function listFiles(folder: string, prefix: string): Promise<string[]> {
  const entries = await readdir(join(folder, prefix), { withFileTypes: true }).catch(() => []);
  const files: string[] = [];
  for (const entry of entries) {
    const path = join(prefix, entry.name);
    if (entry.isDirectory()) files.push(...(await listFiles(folder, path)));
    else files.push(path);
  }
  return files;
}
