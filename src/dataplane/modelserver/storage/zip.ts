/** Zip archives, read by their directory (APPNOTE 6.3.10): stored and deflated files, with 64-bit sizes. */
import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { createInflateRaw } from "node:zlib";
import { DownloadError } from "./failures.js";

const END = 0x06054b50;
const END_64 = 0x06064b50;
const FILE = 0x02014b50;
const LOCAL = 0x04034b50;
const MAX_DIRECTORY = 64 * 2 ** 20;

interface ZipFile {
  readonly name: string;
  readonly method: number;
  readonly flags: number;
  readonly isLink: boolean;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
}

/** The files of an archive in the order of its directory; folders have no entry. Throws `DownloadError` of reason `InvalidArchive`. */
export async function* readZip(
  archive: string,
  address: string,
): AsyncGenerator<{ readonly name: string; readonly body: AsyncIterable<Uint8Array> }> {
  const fail = (why: string): never => {
    throw new DownloadError("InvalidArchive", `${address}: ${why}`);
  };
  const handle = await open(archive, "r");
  try {
    for (const file of await directoryOf(handle, fail)) {
      if (file.name.endsWith("/")) continue;
      const name = JSON.stringify(file.name);
      if ((file.flags & 1) !== 0) fail(`${name} is encrypted`);
      if (file.isLink) fail(`${name} is a link`);
      if (file.method !== 0 && file.method !== 8) fail(`${name} is packed by method ${file.method}; use deflate`);
      yield { name: file.name, body: bodyOf(handle, file, fail) };
    }
  } finally {
    await handle.close();
  }
}

type Fail = (why: string) => never;

async function bytesAt(handle: FileHandle, position: number, length: number, fail: Fail): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position);
  return bytesRead === length ? buffer : fail("it ends before its directory says so");
}

async function directoryOf(handle: FileHandle, fail: Fail): Promise<ZipFile[]> {
  const { size } = await handle.stat();
  const tail = await bytesAt(handle, Math.max(0, size - 65_557), Math.min(size, 65_557), fail);
  const at = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (at < 0 || at + 22 > tail.length || tail.readUInt32LE(at) !== END) fail("it has no directory");
  let [length, offset] = [tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
  if (length === 0xffffffff || offset === 0xffffffff) {
    if (at < 20) fail("it has no 64-bit directory");
    const end = await bytesAt(handle, Number(tail.readBigUInt64LE(at - 20 + 8)), 56, fail);
    if (end.readUInt32LE(0) !== END_64) fail("it has no 64-bit directory");
    [length, offset] = [Number(end.readBigUInt64LE(40)), Number(end.readBigUInt64LE(48))];
  }
  if (length > MAX_DIRECTORY || offset + length > size) fail("its directory is larger than it can be");
  return entriesOf(await bytesAt(handle, offset, length, fail), fail);
}

function entriesOf(directory: Buffer, fail: Fail): ZipFile[] {
  const files: ZipFile[] = [];
  for (let at = 0; at + 46 <= directory.length; ) {
    if (directory.readUInt32LE(at) !== FILE) fail("its directory is damaged");
    const [nameLength, extraLength, noteLength] = [28, 30, 32].map((field) => directory.readUInt16LE(at + field));
    const nameEnd = at + 46 + (nameLength ?? 0);
    const extraEnd = nameEnd + (extraLength ?? 0);
    const next = extraEnd + (noteLength ?? 0);
    if (next > directory.length) fail("its directory is damaged");
    const wide = wideFields(directory.subarray(nameEnd, extraEnd));
    const field = (position: number): number => {
      const value = directory.readUInt32LE(at + position);
      return value === 0xffffffff ? (wide.shift() ?? fail("its directory is damaged")) : value;
    };
    const flags = directory.readUInt16LE(at + 8);
    const [size, packed, offset] = [field(24), field(20), field(42)];
    const mode = directory.readUInt32LE(at + 38) >>> 16;
    files.push({
      name: directory.subarray(at + 46, nameEnd).toString((flags & 0x800) === 0 ? "latin1" : "utf8"),
      method: directory.readUInt16LE(at + 10),
      isLink: (mode & 0xf000) === 0xa000,
      ...{ flags, size, packed, offset },
    });
    at = next;
  }
  return files;
}

/** 64-bit sizes, in the order of those that need them. */
function wideFields(extra: Buffer): number[] {
  for (let at = 0; at + 4 <= extra.length; ) {
    const [id, length] = [extra.readUInt16LE(at), extra.readUInt16LE(at + 2)];
    if (id === 1)
      return Array.from({ length: Math.floor(Math.min(length, extra.length - at - 4) / 8) }, (_, index) =>
        Number(extra.readBigUInt64LE(at + 4 + index * 8)),
      );
    at += 4 + length;
  }
  return [];
}

async function* bodyOf(handle: FileHandle, file: ZipFile, fail: Fail): AsyncGenerator<Uint8Array> {
  const local = await bytesAt(handle, file.offset, 30, fail);
  if (local.readUInt32LE(0) !== LOCAL) fail(`${JSON.stringify(file.name)} is not where the directory says`);
  const from = file.offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  const packed = Readable.from(slices(handle, from, file.packed, fail));
  const body = file.method === 0 ? packed : packed.pipe(createInflateRaw());
  packed.on("error", (error) => body.destroy(error));
  let size = 0;
  for await (const chunk of body) {
    if (!(chunk instanceof Uint8Array)) continue;
    size += chunk.length;
    if (size > file.size) fail(`${JSON.stringify(file.name)} is larger than the directory says`);
    yield chunk;
  }
  if (size !== file.size) fail(`${JSON.stringify(file.name)} is smaller than the directory says`);
}

async function* slices(handle: FileHandle, from: number, length: number, fail: Fail): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; at += 2 ** 18)
    yield await bytesAt(handle, from + at, Math.min(2 ** 18, length - at), fail);
}
