import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { compareKeys, partOfName } from "./keys.js";
import { inspectFile } from "./sidecar.js";
import type { BlobInfo, BlobPage, ListQuery } from "./types.js";

const MAX_PAGE = 1000;

interface Entry {
  /** Key of a blob, or of a folder with its `/`. */
  readonly key: string;
  readonly file: string;
  readonly isFolder: boolean;
}

interface Walk {
  readonly prefix: string;
  readonly after: string;
  readonly rollUp: boolean;
}

/** Lists a blob directory in key order, entering only folders that can hold what is asked for. */
export async function listDirectory(root: string, query: ListQuery): Promise<BlobPage> {
  const limit = Math.max(1, Math.min(query.limit ?? MAX_PAGE, MAX_PAGE));
  const walk: Walk = { prefix: query.prefix ?? "", after: query.after ?? "", rollUp: query.delimiter === "/" };
  const blobs: BlobInfo[] = [];
  const prefixes: string[] = [];
  let last = "";
  for await (const entry of entries(root, "", walk)) {
    if (blobs.length + prefixes.length === limit) return { blobs, prefixes, next: last };
    if (entry.isFolder) {
      prefixes.push(entry.key);
    } else {
      const info = await inspectFile(entry.key, entry.file);
      if (info === undefined) continue;
      blobs.push(info);
    }
    last = entry.key;
  }
  return { blobs, prefixes };
}

async function* entries(folder: string, base: string, walk: Walk): AsyncGenerator<Entry, void, undefined> {
  for (const entry of await readFolder(folder, base)) {
    if (!entry.isFolder) {
      if (entry.key.startsWith(walk.prefix) && compareKeys(entry.key, walk.after) > 0) yield entry;
      continue;
    }
    const inside = entry.key.startsWith(walk.prefix);
    if (!inside && !walk.prefix.startsWith(entry.key)) continue;
    if (inside && walk.rollUp && entry.key !== walk.prefix) {
      if (compareKeys(entry.key, walk.after) > 0 && (await holdsBlob(entry))) yield entry;
      continue;
    }
    // Everything in the folder sorts before `after`, unless `after` lies in it.
    if (compareKeys(entry.key, walk.after) < 0 && !walk.after.startsWith(entry.key)) continue;
    yield* entries(entry.file, entry.key, walk);
  }
}

/** A folder is a prefix only while a blob is somewhere below: a put that was broken off may leave empty ones. */
async function holdsBlob(folder: Entry): Promise<boolean> {
  const walk: Walk = { prefix: "", after: "", rollUp: false };
  for await (const _ of entries(folder.file, folder.key, walk)) return true;
  return false;
}

async function readFolder(folder: string, base: string): Promise<Entry[]> {
  const found = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException): Dirent[] => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
    throw error;
  });
  const list: Entry[] = [];
  for (const item of found) {
    const part = partOfName(item.name);
    if (part === undefined || !(item.isFile() || item.isDirectory())) continue;
    const isFolder = item.isDirectory();
    list.push({ key: `${base}${part}${isFolder ? "/" : ""}`, file: path.join(folder, item.name), isFolder });
  }
  return list.sort((a, b) => compareKeys(a.key, b.key));
}
