/** Model files of a node, found by their content: what several pods read and write at once, within a budget. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, statfs, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock, Random, Timer } from "../../../kernel/clock/types.js";
import { errnoOf, replaceFile } from "../../../kernel/files/index.js";
import type { Logger } from "../../../kernel/log/types.js";
import { asString, isObject, parseJson } from "../../../kernel/schema/index.js";
import { digestFile } from "./checksums.js";
import { partsFileOf } from "./download.js";
import { DownloadError } from "./failures.js";
import type { ListedFile, RemoteFile } from "./types.js";

const DEFAULT_MAX_BYTES = 10 * 2 ** 30;
/** A partial file that nobody has written to for longer was left by a pod that does not come back. */
const ABANDONED_MS = 24 * 3_600_000;
/** Who downloads says so this often; whose word is older is gone. */
const BEAT_MS = 5_000;
const SILENT_MS = 30_000;
const LOOK_MS = 250;
/** Room that is left on the disk for others. */
const SPARE_BYTES = 64 * 2 ** 20;
/** Models of more files are not remembered. */
const MAX_REMEMBERED = 100;

/** What a cache works with. */
export interface CacheOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** What was used longest ago goes when there is more; default 10 GiB. */
  readonly maxBytes?: number;
  /** Who waits for others waits no longer. */
  readonly signal?: AbortSignal | undefined;
}

/** A download that was held against the store's checksum. */
export interface Checked {
  /** Those of `keysOf`. */
  readonly keys: readonly string[];
  readonly partial: string;
  readonly sha256: string;
  /** The checksum is none of the content. */
  readonly isOpaque: boolean;
}

function withoutChecksum(file: RemoteFile): RemoteFile {
  const { checksum, ...rest } = file;
  return checksum === undefined ? file : rest;
}

/**
 * A folder with `blobs/SHA256`, `known/KEY` (which content a key stands for), `listed/URI` (what a store had there), `partial/` and `locks/`. Nothing in it is believed: what is laid out is
 * held against its name and the store's checksum. Files appear whole, by a rename. Several programs may use it at once: of those that want
 * the same file one reads it, and the others wait; one that dies is followed by another, which goes on where it was.
 */
export class ContentCache {
  readonly #options: CacheOptions;

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  /** Makes the folders. Throws where that cannot be. */
  async open(): Promise<void> {
    for (const part of ["blobs", "known", "listed", "partial", "locks"])
      await mkdir(join(this.#options.folder, part), { recursive: true, mode: 0o700 });
    const probe = join(this.#options.folder, "locks", this.#options.random.uuid());
    await (await open(probe, "wx", 0o600)).close();
    await rm(probe, { force: true });
  }

  /** The files that a URI led to the last time; none where that is not known. A hint, and no more. */
  async recall(uri: string): Promise<readonly ListedFile[]> {
    const found = parseJson(await readFile(this.#listedOf(uri), "utf8").catch(() => ""));
    return Array.isArray(found)
      ? found.filter(isObject).map(({ name, size }) => ({
          name: asString(name),
          ...(typeof size === "number" ? { size } : {}),
        }))
      : [];
  }

  /** Notes what it led to. */
  async remember(uri: string, files: readonly ListedFile[]): Promise<void> {
    if (files.length > MAX_REMEMBERED) return;
    const text = JSON.stringify(files.map(({ name, size }) => ({ name, size })));
    const file = this.#listedOf(uri);
    if ((await readFile(file, "utf8").catch(() => "")) !== text) await replaceFile(file, text).catch(() => undefined);
  }

  #listedOf(uri: string): string {
    return join(this.#options.folder, "listed", createHash("sha256").update(uri).digest("hex"));
  }

  /** Where a download is written that may be taken up again. */
  partialOf(key: string): string {
    return join(this.#options.folder, "partial", key);
  }

  /**
   * Lays a file out from the cache. False when it is not there, or is not what it should be (then it goes). `keys` are those of `keysOf`.
   */
  async lay(file: RemoteFile, keys: readonly string[], target: string): Promise<boolean> {
    for (const key of keys) {
      const known = await readFile(join(this.#options.folder, "known", key), "utf8").catch(() => "");
      const [, sha256, opaque] = /^([0-9a-f]{64})( opaque)?$/.exec(known) ?? [];
      if (sha256 === undefined) continue;
      if (await this.#layBlob(opaque === undefined ? file : withoutChecksum(file), sha256, target)) return true;
    }
    return false;
  }

  async #layBlob(file: RemoteFile, sha256: string, target: string): Promise<boolean> {
    const { clock, log } = this.#options;
    const blob = this.#blobOf(sha256);
    const found = await stat(blob).catch(() => undefined);
    if (found === undefined || (file.size !== undefined && found.size !== file.size)) return false;
    const aside = `${target}.fetching`;
    await mkdir(dirname(target), { recursive: true });
    try {
      await copyFile(blob, aside, constants.COPYFILE_FICLONE);
    } catch (error) {
      // It was let go meanwhile.
      if (errnoOf(error) === "ENOENT") return false;
      throw error;
    }
    const digests = await digestFile(aside, file.checksum?.algorithm);
    if (digests.sha256 !== sha256) {
      log.warn("a file in the models' cache is not what its name says, and is removed", { blob });
      await rm(blob, { force: true });
      await rm(aside, { force: true });
      return false;
    }
    if (file.checksum !== undefined && digests.asked !== file.checksum.hex) {
      log.warn("a key in the models' cache leads to other content than the store's", { blob });
      await rm(aside, { force: true });
      return false;
    }
    await rename(aside, target);
    const seconds = clock.now() / 1000;
    await utimes(blob, seconds, seconds).catch(() => undefined);
    return true;
  }

  /** Takes a checked download into the cache, and lays it out. */
  async keep(file: RemoteFile, { keys, partial, sha256, isOpaque }: Checked, target: string): Promise<void> {
    const blob = this.#blobOf(sha256);
    // Another may have been faster: then its blob has the same content.
    await rename(partial, blob).catch(async (error: unknown) => {
      if ((await stat(blob).catch(() => undefined)) === undefined) throw error;
    });
    await rm(partsFileOf(partial), { force: true });
    // The store's checksum of what it encrypts is none of the content: it is known by its version alone.
    const known = isOpaque ? keys.slice(0, 1) : keys;
    for (const key of known)
      await replaceFile(join(this.#options.folder, "known", key), isOpaque ? `${sha256} opaque` : sha256);
    if (!(await this.#layBlob(isOpaque ? withoutChecksum(file) : file, sha256, target)))
      throw new DownloadError(
        "ChecksumMismatch",
        `${file.address}: what was downloaded is gone from ${blob}, or is another`,
      );
    const { size } = await stat(blob).catch(() => ({ size: 0 }));
    if (size > this.#maxBytes) await rm(blob, { force: true });
    await this.#trim(this.#maxBytes);
  }

  /**
   * Runs `work` while nobody else works for `key`. Undefined when somebody else did meanwhile, and it may be there now.
   */
  async alone<T>(key: string, work: () => Promise<T>): Promise<T | undefined> {
    const lock = join(this.#options.folder, "locks", key);
    if (!(await this.#lock(lock))) {
      await this.#waitFor(lock);
      return undefined;
    }
    let timer: Timer | undefined;
    const beat = (): void => {
      const seconds = this.#options.clock.now() / 1000;
      utimes(lock, seconds, seconds).catch(() => undefined);
      timer = this.#options.clock.setTimer(BEAT_MS, beat);
    };
    timer = this.#options.clock.setTimer(BEAT_MS, beat);
    try {
      return await work();
    } finally {
      timer.cancel();
      await rm(lock, { force: true });
    }
  }

  async #lock(lock: string): Promise<boolean> {
    try {
      await (await open(lock, "wx", 0o600)).close();
      return true;
    } catch (error) {
      if (errnoOf(error) === "EEXIST") return false;
      throw error;
    }
  }

  /** Two that both find it silent both go on: they write the same bytes to the same places. */
  async #waitFor(lock: string): Promise<void> {
    const { clock, signal } = this.#options;
    for (;;) {
      const found = await stat(lock).catch(() => undefined);
      if (found === undefined) return;
      if (clock.now() - found.mtimeMs > SILENT_MS) {
        await rm(lock, { force: true });
        return;
      }
      await clock.sleep(LOOK_MS, signal);
    }
  }

  /** Lets others go until `bytes` fit on the disk; none when that would not help. Throws `DownloadError` when they do not fit even then. */
  async makeRoom(bytes: number, what: string): Promise<void> {
    const { folder } = this.#options;
    const free = async (): Promise<number> => {
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize - SPARE_BYTES;
    };
    const blobs = await this.#blobs();
    const most = blobs.reduce((sum, { size }) => sum + size, await free());
    if (most < bytes)
      throw new DownloadError(
        "NoSpace",
        `${what} has ${bytes} bytes, and ${folder} has room for ${Math.max(0, most)} without what is kept there`,
      );
    // What is larger than the budget will not stay: it takes nobody's place in it.
    if (bytes <= this.#maxBytes) await this.#trim(this.#maxBytes - bytes);
    for (const { path } of blobs) {
      if ((await free()) >= bytes) return;
      await rm(path, { force: true });
    }
    const left = await free();
    if (left < bytes)
      throw new DownloadError("NoSpace", `${what} has ${bytes} bytes, and ${folder} has room for ${Math.max(0, left)}`);
  }

  get #maxBytes(): number {
    return this.#options.maxBytes ?? DEFAULT_MAX_BYTES;
  }

  #blobOf(sha256: string): string {
    return join(this.#options.folder, "blobs", sha256);
  }

  /** Those used longest ago first. */
  async #blobs(): Promise<{ readonly path: string; readonly size: number }[]> {
    const found = await filesIn(join(this.#options.folder, "blobs"));
    return found.sort((a, b) => a.changedMs - b.changedMs);
  }

  /** Lets go what was used longest ago, what was left half read, and keys of what is gone. */
  async #trim(maxBytes: number): Promise<void> {
    const { folder, clock } = this.#options;
    for (const { path, changedMs } of await filesIn(join(folder, "partial")))
      if (clock.now() - changedMs > ABANDONED_MS) await rm(path, { force: true });
    const blobs = await this.#blobs();
    let total = blobs.reduce((sum, { size }) => sum + size, 0);
    if (total <= maxBytes) return;
    for (const { path, size } of blobs) {
      if (total <= maxBytes) break;
      await rm(path, { force: true });
      total -= size;
    }
    for (const { path } of await filesIn(join(folder, "listed"))) await rm(path, { force: true });
    for (const { path } of await filesIn(join(folder, "known"))) {
      const sha256 = (await readFile(path, "utf8").catch(() => "")).slice(0, 64);
      if ((await stat(this.#blobOf(sha256)).catch(() => undefined)) === undefined) await rm(path, { force: true });
    }
  }
}

async function filesIn(
  folder: string,
): Promise<{ readonly path: string; readonly size: number; readonly changedMs: number }[]> {
  const files: { readonly path: string; readonly size: number; readonly changedMs: number }[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile() === true) files.push({ path, size: found.size, changedMs: found.mtimeMs });
  }
  return files;
}

/**
 * Under which keys a file is known: where it is with its version, and its checksum with its size, which is the same wherever it is. None where the
 * store names neither version nor checksum.
 */
export function keysOf(file: RemoteFile): string[] {
  const { address, name, version, checksum, size } = file;
  const keyed = (parts: readonly unknown[]): string => createHash("sha256").update(JSON.stringify(parts)).digest("hex");
  return [
    ...(version === undefined ? [] : [keyed(["version", address, name, version, size ?? null])]),
    // Few bits stand for nothing.
    ...(checksum === undefined || checksum.algorithm === "crc32c"
      ? []
      : [keyed(["checksum", checksum.algorithm, checksum.hex, size ?? null])]),
  ];
}
