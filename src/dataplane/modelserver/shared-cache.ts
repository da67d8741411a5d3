/** Model files that the pods of a node share: content, found by the checksum that the store itself names. */
import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { copyFile, mkdir, readdir, rename, rm, stat, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Random } from "../../kernel/clock/types.js";
import type { Logger } from "../../kernel/log/types.js";

const DEFAULT_MAX_BYTES = 10 * 2 ** 30;
/** A file that is being written for longer was left behind by a pod that was killed. */
const ABANDONED_MS = 3_600_000;
const BEING_WRITTEN = ".new-";

/** What a shared cache works with. */
export interface SharedCacheOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The files used longest ago go when there is more; default 10 GiB. */
  readonly maxBytes?: number;
}

/** Which content is meant. */
export interface SharedContent {
  /** As the store lists it. */
  readonly md5: string;
  readonly size: number;
}

/**
 * A cache that several pods read and write at once. Nothing in it is believed: what is taken is held against the store's checksum, so
 * a pod cannot give others a model that is not the store's. Files appear whole, by a rename; nobody writes to one that has its name.
 * The cache is a help and never a cause of failure: what cannot be read or written is as if it were not there.
 */
export class SharedCache {
  readonly #options: SharedCacheOptions;

  constructor(options: SharedCacheOptions) {
    this.#options = options;
  }

  /** Copies the content to a file of the caller's own. False when the cache does not have it. */
  async take(content: SharedContent, target: string): Promise<boolean> {
    const file = this.#fileOf(content);
    try {
      if ((await stat(file)).size !== content.size) return false;
      await copyFile(file, target, constants.COPYFILE_FICLONE);
      if ((await md5Of(target)) === content.md5) {
        const seconds = this.#options.clock.now() / 1000;
        await utimes(file, seconds, seconds).catch(() => {});
        return true;
      }
      this.#options.log.warn("a file in the shared cache is not what its name says, and is removed", { file });
      await rm(file, { force: true });
    } catch (error) {
      this.#options.log.debug("not in the shared cache", { file, err: error });
    }
    await rm(target, { force: true });
    return false;
  }

  /** Puts a checked file there for others. */
  async give(content: SharedContent, source: string): Promise<void> {
    const { folder, random, log } = this.#options;
    const file = this.#fileOf(content);
    const aside = join(folder, `${BEING_WRITTEN}${random.uuid()}`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await this.#makeRoom(content.size);
      const { bavail, bsize } = await statfs(folder);
      if (content.size * 2 > bavail * bsize || content.size > this.#maxBytes) return;
      await copyFile(source, aside, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
      await rename(aside, file);
    } catch (error) {
      log.debug("the shared cache takes nothing", { folder, err: error });
      await rm(aside, { force: true }).catch(() => {});
    }
  }

  get #maxBytes(): number {
    return this.#options.maxBytes ?? DEFAULT_MAX_BYTES;
  }

  #fileOf({ md5, size }: SharedContent): string {
    return join(this.#options.folder, `md5-${md5}-${size}`);
  }

  /** Lets go what was used longest ago until `bytes` more fit, and what was left half written. */
  async #makeRoom(bytes: number): Promise<void> {
    const { folder, clock } = this.#options;
    const files: { readonly path: string; readonly size: number; readonly usedMs: number }[] = [];
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      if (found === undefined) continue;
      if (!name.startsWith(BEING_WRITTEN)) files.push({ path, size: found.size, usedMs: found.mtimeMs });
      else if (clock.now() - found.mtimeMs > ABANDONED_MS) await rm(path, { force: true });
    }
    let total = files.reduce((sum, { size }) => sum + size, bytes);
    for (const { path, size } of files.sort((a, b) => a.usedMs - b.usedMs)) {
      if (total <= this.#maxBytes) return;
      await rm(path, { force: true });
      total -= size;
    }
  }
}

async function md5Of(file: string): Promise<string> {
  const md5 = createHash("md5");
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) md5.update(chunk);
  return md5.digest("hex");
}
