import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm, rmdir, stat, unlink } from "node:fs/promises";
import path from "node:path";
import type { Random } from "../../kernel/clock/index.js";
import { ArgosyError, messageOf } from "../../kernel/errors/index.js";
import { listDirectory } from "./directory-list.js";
import { readBlobFile } from "./directory-read.js";
import { namesOfKey, OWN_PREFIX } from "./keys.js";
import { mediaTypeOf } from "./media-types.js";
import { inspectFile, sidecarPath, writeSidecar } from "./sidecar.js";
import { BlobError, type BlobInfo, type BlobStore, type PutOptions } from "./types.js";

export interface DirectoryBlobsOptions {
  /** Made when absent, mode 0700. */
  readonly directory: string;
  readonly random: Random;
}

/**
 * The directory home: one plain file a blob (a person may read them, and drop files in), below folders that follow the key;
 * checksums and media type in a small file of the store's own beside it. A put writes a temporary file, syncs it and renames it.
 */
export async function openDirectoryBlobs(options: DirectoryBlobsOptions): Promise<BlobStore> {
  const root = path.resolve(options.directory);
  const temporary = path.join(root, `${OWN_PREFIX}tmp`);
  await atHome(async () => {
    await mkdir(root, { recursive: true, mode: 0o700 });
    // What a killed process left half written was never acknowledged.
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { mode: 0o700 });
  });
  const home: Home = { root, temporary, random: options.random, inTurn: turns() };
  const fileOf = (key: string): string => path.join(root, ...namesOfKey(key));

  return {
    put: (key, content, putOptions = {}) => atHome(() => putFile(home, key, { content, ...putOptions })),
    head: (key) => atHome(() => inspectFile(key, fileOf(key))),
    get: (key, { range, signal } = {}) =>
      atHome(() => {
        signal?.throwIfAborted();
        return readBlobFile(key, fileOf(key), range);
      }),
    list: (query = {}) => atHome(() => listDirectory(root, query)),
    delete: (key) => atHome(() => home.inTurn(fileOf(key), () => deleteFile(root, fileOf(key)))),
    close: async () => {},
  };
}

interface Home {
  readonly root: string;
  readonly temporary: string;
  readonly random: Random;
  /** Runs changes of one file one after the other: blob and sidecar are two files that belong together. */
  readonly inTurn: <T>(file: string, work: () => Promise<T>) => Promise<T>;
}

function turns(): Home["inTurn"] {
  const last = new Map<string, Promise<unknown>>();
  return async (file, work) => {
    const before = last.get(file) ?? Promise.resolve();
    const mine = before.then(work, work);
    last.set(file, mine);
    try {
      return await mine;
    } finally {
      if (last.get(file) === mine) last.delete(file);
    }
  };
}

type PutFile = PutOptions & { readonly content: Uint8Array | AsyncIterable<Uint8Array> };

async function putFile(home: Home, key: string, put: PutFile): Promise<BlobInfo> {
  const names = namesOfKey(key);
  const target = path.join(home.root, ...names);
  const partial = path.join(home.temporary, home.random.uuid());
  const file = await open(partial, "wx", 0o600);
  try {
    const written = await closing(file, writeContent(file, put));
    const { mtimeMs } = await stat(partial);
    const info: BlobInfo = {
      key,
      sizeBytes: written.sizeBytes,
      etag: written.md5,
      sha256: written.sha256,
      modifiedMs: Math.floor(mtimeMs),
      contentType: put.contentType ?? mediaTypeOf(names.at(-1) ?? ""),
    };
    const partialSidecar = await writeSidecar(`${partial}.json`, info, mtimeMs);
    const move = { partial, partialSidecar, onlyIfAbsent: put.onlyIfAbsent === true, key };
    await home.inTurn(target, () => moveIn(home.root, target, move));
    return info;
  } catch (error) {
    await rm(partial, { force: true });
    await rm(`${partial}.json`, { force: true });
    throw error;
  }
}

async function writeContent(
  file: FileHandle,
  put: PutFile,
): Promise<{ sizeBytes: number; md5: string; sha256: string }> {
  const md5 = createHash("md5");
  const sha256 = createHash("sha256");
  let sizeBytes = 0;
  for await (const chunk of put.content instanceof Uint8Array ? [put.content] : put.content) {
    if (put.signal?.aborted === true)
      throw new BlobError("Aborted", "the upload was broken off", { cause: put.signal.reason });
    sizeBytes += chunk.byteLength;
    if (put.maxBytes !== undefined && sizeBytes > put.maxBytes) {
      throw new BlobError("TooLarge", `the content is longer than ${put.maxBytes} bytes`);
    }
    md5.update(chunk);
    sha256.update(chunk);
    await writeAll(file, chunk);
  }
  const digests = { sizeBytes, md5: md5.digest("hex"), sha256: sha256.digest("hex") };
  checkDigest("SHA-256", put.sha256, digests.sha256);
  checkDigest("MD5", put.md5, digests.md5);
  await file.sync();
  return digests;
}

async function closing<T>(file: FileHandle, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength; ) {
    const { bytesWritten } = await file.write(chunk, offset, chunk.byteLength - offset);
    offset += bytesWritten;
  }
}

function checkDigest(name: string, expected: string | undefined, actual: string): void {
  if (expected !== undefined && expected !== actual) {
    throw new BlobError("BadDigest", `the ${name} of the content is ${actual}, stated was ${expected}`);
  }
}

interface Move {
  readonly key: string;
  readonly partial: string;
  readonly partialSidecar: string;
  readonly onlyIfAbsent: boolean;
}

async function moveIn(root: string, target: string, move: Move): Promise<void> {
  const folder = path.dirname(target);
  // A delete of the folder's last blob may remove it between our two steps, so a second round is normal.
  for (let round = 0; ; round++) {
    const created = await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      await refuseConflict(target, move);
      await rename(move.partialSidecar, sidecarPath(target));
      await rename(move.partial, target);
      await syncFolders(folder, created === undefined ? folder : path.dirname(created));
      return;
    } catch (error) {
      if (round >= 10 || codeOf(error) !== "ENOENT" || !target.startsWith(root)) throw error;
    }
  }
}

async function refuseConflict(target: string, move: Move): Promise<void> {
  const there = await stat(target).catch(() => undefined);
  if (there?.isDirectory() === true) throw new BlobError("Conflict", `${move.key} is a folder of other blobs`);
  if (there !== undefined && move.onlyIfAbsent) throw new BlobError("Exists", `${move.key} exists already`);
}

/** Makes the new names durable, from the blob's folder up to the first folder that was there before. */
async function syncFolders(from: string, upTo: string): Promise<void> {
  for (let folder = from; ; folder = path.dirname(folder)) {
    const handle = await open(folder, "r");
    await closing(handle, handle.sync());
    if (folder === upTo || folder === path.dirname(folder)) return;
  }
}

async function deleteFile(root: string, file: string): Promise<boolean> {
  const there = await stat(file).catch(() => undefined);
  if (there === undefined || there.isDirectory()) return false;
  await unlink(file);
  await rm(sidecarPath(file), { force: true });
  for (let folder = path.dirname(file); folder.startsWith(root) && folder !== root; folder = path.dirname(folder)) {
    const removed = await rmdir(folder).then(
      () => true,
      () => false,
    );
    if (!removed) break;
  }
  return true;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** Translates failures of the file system into blob errors. */
async function atHome<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // Refusals, and failures of the content's source that are somebody else's, pass as they are.
    if (error instanceof ArgosyError) throw error;
    const code = codeOf(error);
    const text = messageOf(error);
    if (code === "ENOSPC" || code === "EDQUOT")
      throw new BlobError("NoSpace", `the artifact store's disk is full: ${text}`, { cause: error });
    if (code === "ENOTDIR" || code === "EEXIST" || code === "EISDIR") {
      throw new BlobError("Conflict", "a part of the key is a blob itself, so it cannot be a folder", { cause: error });
    }
    if (code === "ENAMETOOLONG")
      throw new BlobError("InvalidKey", "the key is too long for this file system", { cause: error });
    throw new BlobError(code === "ABORT_ERR" ? "Aborted" : "Unavailable", `the artifact store failed: ${text}`, {
      cause: error,
    });
  }
}
