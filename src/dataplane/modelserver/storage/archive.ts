/** Archives of models, unpacked into a folder: nothing outside of it, no links, and no more than was reckoned with. */
import { createReadStream, createWriteStream } from "node:fs";
import { copyFile, mkdir, open, rm, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import { asDownloadError, DownloadError } from "./failures.js";
import { readZip } from "./zip.js";

/** Bounds of what comes out. */
export interface ArchiveLimits {
  readonly maxEntries: number;
  /** All files together. */
  readonly maxBytes: number;
  /** What the disk has room for; more is `NoSpace`. */
  readonly roomBytes?: number;
  /** What is left of a quota; more is `QuotaExceeded`. */
  readonly quotaBytes?: number;
}

/** What came out: what later archives of the same model may have less. */
export interface Unpacked {
  readonly entries: number;
  readonly bytes: number;
}

/** What of an archive counts. */
export interface Unpacking {
  readonly folder: string;
  readonly limits: ArchiveLimits;
  /** Only what is below this folder of the archive, without it; absent: all of it. */
  readonly only?: string;
  /** A layer of an image: `.wh.NAME` removes what an earlier one had. */
  readonly isLayer?: boolean;
}

/** A file of an archive as it is found. */
export interface ArchiveEntry {
  readonly name: string;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Files from a few bytes that become terabytes are none. */
const MAX_RATIO = 1_000;
const MAX_ENTRIES = 100_000;

/** Bounds for an archive in a folder: what its disk holds, what an archive of that size may hold, and what earlier ones of the model left of a quota. */
export async function limitsFor(
  archive: string,
  folder: string,
  { before, quotaBytes }: { readonly before: Unpacked; readonly quotaBytes?: number },
): Promise<ArchiveLimits> {
  const { size } = await stat(archive);
  const { bavail, bsize } = await statfs(folder);
  return {
    maxEntries: MAX_ENTRIES - before.entries,
    maxBytes: Math.max(2 ** 26, size * MAX_RATIO),
    roomBytes: bavail * bsize,
    ...(quotaBytes === undefined ? {} : { quotaBytes: quotaBytes - before.bytes }),
  };
}

/** Unpacks a file by what is in it: zip, tar, tar in gzip. Throws `DownloadError`. */
export async function unpack(archive: string, address: string, unpacking: Unpacking): Promise<Unpacked> {
  const unpacker = new Unpacker(address, unpacking);
  try {
    const head = await headOf(archive);
    if (head.subarray(0, 4).equals(Buffer.from([0x50, 0x4b, 3, 4]))) {
      for await (const entry of readZip(archive, address)) await unpacker.take(entry);
      return unpacker.unpacked;
    }
    if (head.subarray(0, 4).equals(Buffer.from([0x28, 0xb5, 0x2f, 0xfd])))
      throw new DownloadError("Unsupported", `${address} is compressed with zstd; use gzip or none`);
    const isGzip = head[0] === 0x1f && head[1] === 0x8b;
    await unpackTar(archive, isGzip, unpacker);
    return unpacker.unpacked;
  } catch (error) {
    const known = asDownloadError(error, address);
    if (known.download !== "Unavailable") throw known;
    throw new DownloadError("InvalidArchive", `${address} cannot be unpacked: ${known.message.replace(/^.*?: /, "")}`, {
      cause: error,
    });
  }
}

async function headOf(file: string): Promise<Buffer> {
  const handle = await open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(8), 0, 8, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function unpackTar(archive: string, isGzip: boolean, unpacker: Unpacker): Promise<void> {
  const tar = extract();
  const parts = isGzip ? [createReadStream(archive), createGunzip()] : [createReadStream(archive)];
  const feeding = pipeline([...parts, tar]).catch((error: unknown) => {
    tar.destroy(error instanceof Error ? error : new DownloadError("InvalidArchive", String(error)));
  });
  try {
    for await (const entry of tar) {
      const { name, type, linkname } = entry.header;
      if (type === "file" || type === "contiguous-file") await unpacker.take({ name, body: bytesOf(entry) });
      else {
        if (type === "link" || type === "symlink") await unpacker.link(name, type, linkname ?? "");
        else if (type !== "directory" && type !== null) unpacker.refuse(name, `is a ${type}`);
        entry.resume();
      }
    }
  } finally {
    tar.destroy();
    await feeding;
  }
}

async function* bytesOf(entry: AsyncIterable<unknown>): AsyncIterable<Uint8Array> {
  for await (const chunk of entry) if (chunk instanceof Uint8Array) yield chunk;
}

class Unpacker {
  readonly #address: string;
  readonly #unpacking: Unpacking;
  #entries = 0;
  #bytes = 0;

  constructor(address: string, unpacking: Unpacking) {
    this.#address = address;
    this.#unpacking = unpacking;
  }

  get unpacked(): Unpacked {
    return { entries: this.#entries, bytes: this.#bytes };
  }

  /** Writes a file; its body is read in any case. */
  async take({ name, body }: ArchiveEntry): Promise<void> {
    const { isLayer = false } = this.#unpacking;
    this.#enter(name);
    const path = this.#pathOf(name);
    if (path === undefined || (isLayer && (await this.#whiteOut(path)))) {
      for await (const chunk of body) this.#count(name, chunk);
      return;
    }
    const target = join(this.#unpacking.folder, path);
    await mkdir(dirname(target), { recursive: true });
    const counted = this.#counted(name, body);
    // Never through something that an archive or an earlier layer has put there.
    await rm(target, { recursive: true, force: true });
    await pipeline(Readable.from(counted), createWriteStream(target, { mode: 0o644, flags: "wx" }));
  }

  /** A link to a file of the archive that was there before becomes a copy of it; all others are refused. */
  async link(name: string, type: "link" | "symlink", to: string): Promise<void> {
    const path = this.#pathOf(name);
    if (path === undefined) return;
    this.#enter(name);
    // A symbolic link is relative to its own folder, a hard one to the archive's.
    const from = type === "symlink" && !to.startsWith("/") ? `${dirname(normal(name))}/${to}` : to;
    const source = this.#pathOf(resolved(from) ?? this.refuse(name, `is a link to ${to}, outside of it`));
    if (source === undefined) this.refuse(name, `is a link to ${to}, which is not part of the model`);
    const [file, target] = [join(this.#unpacking.folder, source), join(this.#unpacking.folder, path)];
    const found = await stat(file).catch(() => undefined);
    if (found?.isFile() !== true) this.refuse(name, `is a link to ${to}, which is no file before it`);
    this.#bytes += found.size;
    this.#check(name);
    await mkdir(dirname(target), { recursive: true });
    await rm(target, { recursive: true, force: true });
    await copyFile(file, target);
  }

  #enter(name: string): void {
    const { maxEntries } = this.#unpacking.limits;
    this.#entries += 1;
    if (this.#entries > maxEntries) this.refuse(name, `is one of more than ${maxEntries}`);
  }

  refuse(name: string, why: string): never {
    throw new DownloadError("InvalidArchive", `${this.#address}: ${JSON.stringify(name)} ${why}`);
  }

  async *#counted(name: string, body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const chunk of body) {
      this.#count(name, chunk);
      yield chunk;
    }
  }

  #count(name: string, { length }: Uint8Array): void {
    this.#bytes += length;
    this.#check(name);
  }

  #check(name: string): void {
    const { quotaBytes = Number.POSITIVE_INFINITY, roomBytes = Number.POSITIVE_INFINITY } = this.#unpacking.limits;
    if (this.#bytes > quotaBytes)
      throw new DownloadError(
        "QuotaExceeded",
        `${this.#address}: ${JSON.stringify(name)} makes the model more than it may have`,
      );
    if (this.#bytes > roomBytes)
      throw new DownloadError(
        "NoSpace",
        `${this.#address}: ${JSON.stringify(name)} makes it more than the disk has room for`,
      );
    if (this.#bytes > this.#unpacking.limits.maxBytes)
      this.refuse(name, `makes it more than ${this.#unpacking.limits.maxBytes} bytes`);
  }

  /** Path below the folder; `undefined` for what does not count. */
  #pathOf(name: string): string | undefined {
    const clean = resolved(normal(name));
    if (clean === undefined || name.includes("\0") || (name.startsWith("/") && this.#unpacking.isLayer !== true))
      this.refuse(name, "leads out of the folder");
    const { only } = this.#unpacking;
    if (only === undefined) return clean;
    return clean.startsWith(`${only}/`) ? clean.slice(only.length + 1) : undefined;
  }

  async #whiteOut(path: string): Promise<boolean> {
    const at = path.lastIndexOf("/") + 1;
    const [folder, last] = [path.slice(0, at), path.slice(at)];
    if (!last.startsWith(".wh.")) return false;
    const gone = last === ".wh..wh..opq" ? folder : `${folder}${last.slice(4)}`;
    await rm(join(this.#unpacking.folder, gone), { recursive: true, force: true });
    return true;
  }
}

const normal = (name: string): string => name.replaceAll("\\", "/").replace(/^\/+/, "");

/** Without `.` and `..`; `undefined` where it leads out. */
function resolved(path: string): string | undefined {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.length === 0 ? undefined : parts.join("/");
}
