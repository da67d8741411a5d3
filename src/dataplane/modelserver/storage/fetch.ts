/** Bringing a model to this node: from whatever store its URI names, through a cache that is addressed by content. */
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock, Random } from "../../../kernel/clock/types.js";
import type { Logger } from "../../../kernel/log/types.js";
import { ModelError } from "../failures.js";
import { ContentCache, keysOf } from "./cache.js";
import { digestFile } from "./checksums.js";
import { downloadFile, partsFileOf } from "./download.js";
import { asDownloadError, DownloadError } from "./failures.js";
import { isSingleArchive } from "./keys.js";
import { openSource } from "./open-source.js";
import { type Environment, readSettings, readTrust } from "./settings.js";
import { localFolder } from "./sources/local.js";
import type { ListedFile, Listing, RemoteFile, Source } from "./types.js";

/** Where a model comes from and goes to. */
export interface FetchOptions {
  /** `s3://bucket/folder/`, `hf://org/model`, …, `file:///folder`, or a folder. */
  readonly uri: string;
  /** An `.s3cfg`, or an entry of KServe's Secret `storage-config`. */
  readonly storageConfig?: string;
  /** Environment with the stores' own variables. */
  readonly env?: Environment;
  /** Folder in which the model's files are laid out; its other content stays. What is on this machine stays where it is. */
  readonly destination: string;
  /** Folder that all programs of this machine may use at once; see `ContentCache`. */
  readonly cache: string;
  /** What it may hold; default 10 GiB. */
  readonly cacheBytes?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The most that the model may have, as listed and unpacked; more is `QuotaExceeded`. */
  readonly maxBytes?: number;
  /** How long faults are retried while nothing comes; default 60 s. Without end also a full disk is waited for, with pauses up to a minute. */
  readonly retryForMs?: number;
  /** Told of the files while the store is asked for them, as they were the last time on this machine; then as they are listed. */
  readonly onListed?: (files: readonly ListedFile[]) => void;
  /** Told of each fault that is retried. */
  readonly onRetry?: (error: ModelError) => void;
  /** Bytes of one ranged read; default 8 MiB. */
  readonly partBytes?: number;
  /** Ranged reads at once; default 4. */
  readonly parallel?: number;
  /** Longest silence of a store; default 20 s. */
  readonly stallMs?: number;
  /** Breaks it off; what was read is kept for the next time. */
  readonly signal?: AbortSignal | undefined;
}

/** Changes and false checksums that are believed to be accidents. */
const MAX_SURPRISES = 5;

/**
 * Makes the model's files be on this node and returns their folder. Downloads are resumed after faults and crashes, checked (size, and whatever checksum
 * the store names) and kept by SHA-256; a model that is in the cache as the store lists it is not read again. Throws `ModelError`; its
 * subclass `DownloadError` says by name why a download failed. Rejects with the signal's reason when that is aborted.
 */
export async function fetchModel(options: FetchOptions): Promise<string> {
  const { uri, storageConfig, env = {}, stallMs, signal, clock } = options;
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:/.test(uri) || uri.startsWith("file:")) return localFolder(uri);
  const progress = { atMs: clock.monotonicMs() };
  const client = { ...(stallMs === undefined ? {} : { stallMs }), signal };
  await retrying(options, progress, async () => {
    // Anew each time: credentials in mounted files change.
    const settings = await readSettings(storageConfig, env, { ...client, ...(await readTrust(env)) });
    const source = await openSource(uri, { settings, clock });
    try {
      await layOut(source, options, () => {
        progress.atMs = clock.monotonicMs();
      });
    } finally {
      await source.close();
    }
  });
  return options.destination;
}

/** What all files of one fetch have in common. */
interface Fetching {
  readonly options: FetchOptions;
  /** Absent: there is none that can be used. */
  readonly cache: ContentCache | undefined;
  /** What is left for files whose size the store does not name; absent: whatever there is. */
  mostBytes?: number;
  readonly onProgress: () => void;
}

async function layOut(source: Source, options: FetchOptions, onProgress: () => void): Promise<void> {
  const { destination, log, onListed, uri } = options;
  const opening = openCache(options);
  let cache: ContentCache | undefined;
  let listing: Listing;
  try {
    listing = await source.list();
  } finally {
    cache = await opening;
  }
  onListed?.(listing.files);
  checkSize(listing, options);
  await mkdir(destination, { recursive: true }).catch((error: unknown) => {
    throw asDownloadError(error, destination);
  });
  const known = totalOf(listing);
  const { maxBytes } = options;
  const fetching: Fetching = {
    ...{ options, cache, onProgress },
    ...(maxBytes === undefined ? {} : { mostBytes: maxBytes - known }),
  };
  try {
    if (listing.layout === "layers" || isSingleArchive(listing.files.map(({ name }) => name)))
      await unpackAll(listing, fetching);
    else for (const file of listing.files) await bringWithin(file, join(destination, file.name), fetching);
  } catch (error) {
    throw asDownloadError(error, shownUri(uri));
  }
  await cache?.remember(uri, listing.files);
  log.info("model fetched", { uri: shownUri(uri), files: listing.files.length });
}

const totalOf = ({ files }: Listing): number => files.reduce((sum, { size = 0 }) => sum + size, 0);

function checkSize(listing: Listing, { uri, maxBytes }: FetchOptions): void {
  const total = totalOf(listing);
  if (maxBytes !== undefined && total > maxBytes)
    throw new DownloadError("QuotaExceeded", `${shownUri(uri)} has ${total} bytes, and may have ${maxBytes}`);
}

async function unpackAll({ files, layout, folder: only }: Listing, fetching: Fetching): Promise<void> {
  const { destination, maxBytes: quotaBytes } = fetching.options;
  // Late: most models are no archives, and pods wait for what is loaded here.
  const { limitsFor, unpack } = await import("./archive.js");
  // Beside what it becomes, and gone before anybody looks.
  const aside = join(destination, ".fetching");
  let before = { entries: 0, bytes: 0 };
  try {
    for (const [index, file] of files.entries()) {
      const archive = join(aside, String(index));
      await bring(file, archive, fetching);
      const quota = quotaBytes === undefined ? { before } : { before, quotaBytes };
      const { entries, bytes } = await unpack(archive, file.address, {
        folder: destination,
        limits: await limitsFor(archive, destination, quota),
        ...(only === undefined ? {} : { only }),
        isLayer: layout === "layers",
      });
      before = { entries: before.entries + entries, bytes: before.bytes + bytes };
      await rm(archive, { force: true });
    }
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** A cache is a help and never a cause of failure. */
async function openCache(options: FetchOptions): Promise<ContentCache | undefined> {
  const { cache, cacheBytes, clock, random, log, onListed, signal, uri } = options;
  const limit = cacheBytes === undefined ? {} : { maxBytes: cacheBytes };
  const opened = new ContentCache({ folder: cache, clock, random, log, signal, ...limit });
  try {
    await opened.open();
    const before = await opened.recall(uri);
    if (before.length > 0) onListed?.(before);
    return opened;
  } catch (error) {
    log.warn("the models' cache cannot be used; the model is fetched without it", { cache, err: error });
    return undefined;
  }
}

/** The same; what the store told no size of is taken off what others may have. */
async function bringWithin(file: RemoteFile, target: string, fetching: Fetching): Promise<void> {
  await bring(file, target, fetching);
  const { mostBytes } = fetching;
  if (mostBytes === undefined || file.size !== undefined) return;
  fetching.mostBytes = mostBytes - (await stat(target)).size;
  if (fetching.mostBytes < 0)
    throw new DownloadError("QuotaExceeded", `${file.address} makes it more than ${fetching.options.maxBytes} bytes`);
}

/** Lays one file out: from the cache, or from the store into the cache. */
async function bring(file: RemoteFile, target: string, fetching: Fetching): Promise<void> {
  const { cache, options } = fetching;
  options.signal?.throwIfAborted();
  await mkdir(dirname(target), { recursive: true });
  if (cache === undefined) {
    const partial = `${target}.fetching`;
    await readChecked(file, partial, fetching);
    await rm(partsFileOf(partial), { force: true });
    await rename(partial, target);
    return;
  }
  const keys = keysOf(file);
  // What has no name that changes with it cannot be waited for, nor be taken up again.
  const key = keys[0] ?? options.random.uuid();
  for (;;) {
    if (await cache.lay(file, keys, target)) return;
    const isDone = await cache.alone(key, async () => {
      if (await cache.lay(file, keys, target)) return true;
      const partial = cache.partialOf(key);
      if (file.size !== undefined) await cache.makeRoom(file.size, file.address);
      const checked = await readChecked(file, partial, fetching);
      await cache.keep(file, { keys, partial, ...checked }, target);
      return true;
    });
    if (isDone === true) return;
    fetching.onProgress();
  }
}

/** Reads a file and holds it against its checksum. */
async function readChecked(
  file: RemoteFile,
  partial: string,
  { options, mostBytes, onProgress }: Fetching,
): Promise<{ readonly sha256: string; readonly isOpaque: boolean }> {
  const most = mostBytes === undefined ? {} : { mostBytes };
  const isOpaque = await downloadFile(file, partial, { ...options, ...most, onProgress });
  const { checksum } = file;
  const { sha256, asked } = await digestFile(partial, checksum?.algorithm);
  if (checksum === undefined || isOpaque || asked === checksum.hex) return { sha256, isOpaque };
  await rm(partial, { force: true });
  await rm(partsFileOf(partial), { force: true });
  const names: Partial<Record<typeof checksum.algorithm, string>> = { md5: "MD5", sha256: "SHA-256", sha1: "SHA-1" };
  throw new DownloadError(
    "ChecksumMismatch",
    `${file.address}: the content does not have the ${names[checksum.algorithm] ?? checksum.algorithm} that the store names`,
  );
}

async function retrying(options: FetchOptions, progress: { atMs: number }, step: () => Promise<void>): Promise<void> {
  const { clock, signal, retryForMs = 60_000 } = options;
  let surprises = 0;
  let full = 0;
  for (let attempt = 0; ; attempt++) {
    const before = progress.atMs;
    try {
      return await step();
    } catch (error) {
      signal?.throwIfAborted();
      if (retryForMs === Number.POSITIVE_INFINITY && isFull(error)) {
        // What came until then is kept, and is no reason to be quicker.
        await pause(error, Math.min(60_000, 1_000 * 2 ** full++), options);
        continue;
      }
      if (!isTransient(error)) throw error;
      if (isSurprise(error)) surprises += 1;
      if (clock.monotonicMs() - progress.atMs > retryForMs || surprises >= MAX_SURPRISES) throw error;
      if (progress.atMs !== before) attempt = 0;
      await pause(error, delayAfter(error, attempt, options), options);
    }
  }
}

async function pause(error: ModelError, delayMs: number, { clock, log, onRetry, signal }: FetchOptions): Promise<void> {
  onRetry?.(error);
  log.warn("model download interrupted", { cause: error.message, delayMs });
  await clock.sleep(delayMs, signal);
}

const isTransient = (error: unknown): error is ModelError => error instanceof ModelError && error.transient;

const isFull = (error: unknown): error is DownloadError => error instanceof DownloadError && error.isFull;

const isSurprise = (error: ModelError): boolean =>
  error instanceof DownloadError &&
  (error.download === "ChangedDuringDownload" || error.download === "ChecksumMismatch");

function delayAfter(error: ModelError, attempt: number, { random }: FetchOptions): number {
  const asked = error instanceof DownloadError ? error.retryAfterMs : 0;
  return Math.max(asked, Math.min(5_000, 100 * 2 ** attempt) * (0.5 + random.next() / 2));
}

const shownUri = (uri: string): string => uri.replace(/[?#].*$/s, "").replace(/\/\/[^/@]*@/, "//");
