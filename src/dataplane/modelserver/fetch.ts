/** Bringing a model to this node: from a folder, or from an S3 store through a cache that is addressed by content. */
import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { copyFile, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Clock, Random } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { replaceFile } from "../../kernel/files/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { ModelError } from "./failures.js";
import type { S3Object, S3Reader } from "./s3.js";
import { asDownloadError, createS3Reader, readS3Settings } from "./s3.js";
import { settingsInEnvironment } from "./s3-settings.js";
import { SharedCache } from "./shared-cache.js";

/** Where a model comes from and goes to. */
export interface FetchOptions {
  /** `s3://bucket/folder/`, `s3://bucket/model.onnx`, `file:///folder`, or a folder. */
  readonly uri: string;
  /** An s3cmd configuration file; for `s3://`. */
  readonly s3cfg?: string;
  /** Environment with AWS' variables, where there is no such file. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Folder in which the model's files are laid out (s3 only); its other content stays. */
  readonly destination: string;
  /** Cache of this program's own: one program at a time downloads into it. */
  readonly cache: string;
  /** Folder that other pods of the node use too; see `SharedCache`. */
  readonly sharedCache?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** How long faults of the network are retried; default 60 s. */
  readonly retryForMs?: number;
  /** Told of each fault that is retried. */
  readonly onRetry?: (error: ModelError) => void;
  /** Bytes of one ranged read; default 8 MiB. */
  readonly partBytes?: number;
  /** Ranged reads at once; default 4. */
  readonly parallel?: number;
}

/**
 * Makes the model's files be on this node and returns their folder. Downloads are resumed after a crash, checked (size, and MD5
 * where the store's ETag is one) and kept by SHA-256; a model that is in the cache as the store lists it is not read again.
 * Throws `ModelError`.
 */
export async function fetchModel(options: FetchOptions): Promise<string> {
  const { uri } = options;
  if (uri.startsWith("s3://")) return fetchFromS3(options);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(uri)?.[1];
  if (scheme !== undefined && scheme !== "file")
    throw new ModelError("ModelDownloadFailed", `${uri}: ${scheme}:// is not offered; use s3://, file:// or a folder`);
  const folder = scheme === "file" ? fileURLToPath(uri) : resolve(uri);
  const found = await stat(folder).catch((error: unknown) => {
    throw new ModelError("ModelNotFound", `${uri}: ${messageOf(error)}`, { cause: error });
  });
  return found.isDirectory() ? folder : dirname(folder);
}

async function fetchFromS3(options: FetchOptions): Promise<string> {
  const match = /^s3:\/\/([^/]+)\/?(.*)$/.exec(options.uri);
  if (match?.[1] === undefined) throw new ModelError("ModelDownloadFailed", `${options.uri} names no bucket`);
  const settings =
    options.s3cfg === undefined ? settingsInEnvironment(options.env ?? {}) : await readS3Settings(options.s3cfg);
  if (settings === undefined)
    throw new ModelError(
      "ModelDownloadFailed",
      `${options.uri}: no .s3cfg with the store's address and keys is given, and no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`,
    );
  const reader = createS3Reader(settings, options.clock);
  const [bucket, path] = [match[1], match[2] ?? ""];
  try {
    await retrying(options, async () => {
      const files = chooseFiles(await reader.list(bucket, path), path, options.uri);
      for (const { object, name } of files) {
        const blob = await bring(reader, bucket, object, options);
        await place(blob, join(options.destination, name));
      }
      options.log.info("model fetched", { uri: options.uri, files: files.length });
    });
  } finally {
    await reader.close();
  }
  return options.destination;
}

/** The prefix is a folder (with or without its slash) or one object. */
function chooseFiles(objects: readonly S3Object[], path: string, uri: string): { object: S3Object; name: string }[] {
  const exact = objects.find(({ key }) => key === path && !path.endsWith("/"));
  if (exact !== undefined) return [{ object: exact, name: path.split("/").at(-1) ?? path }];
  const folder = path === "" || path.endsWith("/") ? path : `${path}/`;
  const files = objects
    .filter(({ key }) => key.startsWith(folder) && !key.endsWith("/"))
    .map((object) => ({ object, name: object.key.slice(folder.length) }));
  if (files.length === 0) throw new ModelError("ModelDownloadFailed", `${uri} holds no files`);
  for (const { name } of files) {
    const bad = name.split("/").some((segment) => segment === "" || segment === "." || segment === "..");
    if (bad || name.includes("\0"))
      throw new ModelError("ModelDownloadFailed", `${uri} holds ${JSON.stringify(name)}, which is no file name`);
  }
  return files;
}

/** The object's content in the cache, by its SHA-256; downloaded if it is not there. */
async function bring(reader: S3Reader, bucket: string, object: S3Object, options: FetchOptions): Promise<string> {
  const identity = createHash("sha256")
    .update(JSON.stringify([options.uri, bucket, object.key, object.etag, object.size]))
    .digest("hex");
  const folders = {
    known: join(options.cache, "known"),
    blobs: join(options.cache, "blobs"),
    partial: join(options.cache, "partial"),
  };
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  const known = join(folders.known, identity);
  const digest = await readFile(known, "utf8").catch(() => undefined);
  if (digest !== undefined && /^[0-9a-f]{64}$/.test(digest)) {
    const blob = join(folders.blobs, digest);
    const size = await stat(blob).then(
      (found) => found.size,
      () => -1,
    );
    if (size === object.size) return blob;
  }
  const partial = join(folders.partial, identity);
  const expected = /^"?([0-9a-f]{32})"?$/.exec(object.etag)?.[1];
  const content = expected === undefined ? undefined : { md5: expected, size: object.size };
  const shared = content === undefined ? undefined : sharedCacheOf(options);
  // A download that was begun is finished.
  const isTaken = content !== undefined && !(await exists(partial)) && (await shared?.take(content, partial)) === true;
  if (!isTaken) await download(reader, bucket, object, { partial, options });
  const { sha256, md5 } = await digestFile(partial);
  if (expected !== undefined && expected !== md5) {
    await rm(partial, { force: true });
    await rm(`${partial}.parts`, { force: true });
    throw new ModelError(
      "ModelDownloadFailed",
      `${object.key}: the content does not have the MD5 that the store names`,
      { transient: true },
    );
  }
  const blob = join(folders.blobs, sha256);
  // Another replica may have been faster: then its blob has the same content.
  await rename(partial, blob).catch(async (error: unknown) => {
    if (!(await exists(blob))) throw error;
  });
  await rm(`${partial}.parts`, { force: true });
  await replaceFile(known, sha256);
  if (content !== undefined && !isTaken) await shared?.give(content, blob);
  return blob;
}

function sharedCacheOf({ sharedCache, clock, random, log }: FetchOptions): SharedCache | undefined {
  return sharedCache === undefined ? undefined : new SharedCache({ folder: sharedCache, clock, random, log });
}

function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** Reads what is missing of an object into a file of its full size; `<file>.parts` says which parts are there. */
async function download(
  reader: S3Reader,
  bucket: string,
  object: S3Object,
  { partial, options }: { partial: string; options: FetchOptions },
): Promise<void> {
  const partBytes = options.partBytes ?? 8 * 2 ** 20;
  const count = Math.ceil(object.size / partBytes);
  const done = new Set(await readParts(`${partial}.parts`, partBytes));
  let recording: Promise<void> = Promise.resolve();
  const file = await open(partial, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    await file.truncate(object.size);
    const missing = Array.from({ length: count }, (_, index) => index).filter((index) => !done.has(index));
    const worker = async (): Promise<void> => {
      for (let part = missing.shift(); part !== undefined; part = missing.shift()) {
        const from = part * partBytes;
        await readPart(reader, bucket, object, { file, from, to: Math.min(from + partBytes, object.size) - 1 });
        done.add(part);
        if (count === 1) continue;
        await file.datasync();
        recording = recording.then(() =>
          replaceFile(`${partial}.parts`, JSON.stringify({ partBytes, done: [...done] })),
        );
      }
    };
    const results = await Promise.allSettled(Array.from({ length: Math.min(options.parallel ?? 4, count) }, worker));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    await file.datasync();
  } finally {
    await recording;
    await file.close();
  }
}

async function readPart(
  reader: S3Reader,
  bucket: string,
  object: S3Object,
  { file, from, to }: { file: FileHandle; from: number; to: number },
): Promise<void> {
  let at = from;
  try {
    for await (const chunk of await reader.read(bucket, object, { from, to })) {
      if (at + chunk.length > to + 1)
        throw new ModelError("ModelDownloadFailed", `${object.key}: the store sends more than was asked for`);
      await file.write(chunk, 0, chunk.length, at);
      at += chunk.length;
    }
  } catch (error) {
    throw asDownloadError(error, `s3://${bucket}/${object.key}`);
  }
  if (at !== to + 1)
    throw new ModelError(
      "ModelDownloadFailed",
      `${object.key}: the store sends ${at - from} of ${to + 1 - from} bytes`,
      { transient: true },
    );
}

async function readParts(file: string, partBytes: number): Promise<number[]> {
  const text = await readFile(file, "utf8").catch(() => "");
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("done" in value) || !("partBytes" in value)) return [];
    if (value.partBytes !== partBytes || !Array.isArray(value.done)) return [];
    return value.done.filter((part): part is number => typeof part === "number");
  } catch {
    return [];
  }
}

async function digestFile(file: string): Promise<{ sha256: string; md5: string }> {
  const sha256 = createHash("sha256");
  const md5 = createHash("md5");
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) {
    sha256.update(chunk);
    md5.update(chunk);
  }
  return { sha256: sha256.digest("hex"), md5: md5.digest("hex") };
}

/** Shares the blocks where the file system can. Written aside first: a reader never sees half a file. */
async function place(blob: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  const aside = `${target}.fetching`;
  await copyFile(blob, aside, constants.COPYFILE_FICLONE);
  await rename(aside, target);
}

async function retrying(options: FetchOptions, step: () => Promise<void>): Promise<void> {
  const { clock, random, log } = options;
  const deadline = clock.monotonicMs() + (options.retryForMs ?? 60_000);
  for (let attempt = 0; ; attempt++) {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof ModelError && error.transient) || clock.monotonicMs() > deadline) throw error;
      const delayMs = Math.min(5_000, 100 * 2 ** attempt) * (0.5 + random.next() / 2);
      options.onRetry?.(error);
      log.warn("model download interrupted", { cause: error.message, delayMs });
      await clock.sleep(delayMs);
    }
  }
}
