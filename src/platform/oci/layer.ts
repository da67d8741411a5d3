import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { type Pack, pack } from "tar-stream";

/** What a layer holds: at an absolute path of the image, a file of this machine, a text, or a folder. */
export type LayerEntry = {
  readonly path: string;
  /** Number of the user and group that own it; default 0. */
  readonly owner?: number;
  readonly mode?: number;
} & ({ readonly file: string } | { readonly text: string } | { readonly isFolder: true });

/** A blob of an image: where it lies and what it is called. */
export interface Blob {
  readonly file: string;
  readonly digest: string;
  readonly size: number;
}

/** A layer: the blob is compressed, `diffId` is of what it unpacks to. */
export interface Layer extends Blob {
  readonly diffId: string;
}

/** Writes a layer (OCI image layer, tar+gzip) into a folder: the same entries give the same bytes, since owners, times and order are set. */
export async function writeLayer(entries: readonly LayerEntry[], folder: string): Promise<Layer> {
  const archive = pack();
  const [plain, packed] = [new Digest(), new Digest()];
  const draft = join(folder, "draft");
  const writing = pipeline(
    archive.pipe(new PassThrough()),
    plain,
    createGzip({ level: 6 }),
    packed,
    createWriteStream(draft),
  );
  const filling = fill(archive, entries).catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : undefined);
    throw error;
  });
  await Promise.all([filling, writing]);
  const { hash, size } = packed.result();
  const file = join(folder, hash);
  await rename(draft, file);
  return { file, digest: `sha256:${hash}`, size, diffId: `sha256:${plain.result().hash}` };
}

async function fill(archive: Pack, entries: readonly LayerEntry[]): Promise<void> {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  const folders = new Set<string>(sorted.filter((entry) => "isFolder" in entry).map(({ path }) => path));
  for (const entry of sorted) {
    for (const folder of above(entry.path).filter((path) => !folders.has(path))) {
      folders.add(folder);
      await addFolder(archive, { path: folder, isFolder: true });
    }
    if ("isFolder" in entry) await addFolder(archive, entry);
    else await addFile(archive, entry);
  }
  archive.finalize();
}

function above(path: string): readonly string[] {
  const names = path.split("/").slice(1, -1);
  return names.map((_, at) => `/${names.slice(0, at + 1).join("/")}`);
}

const OWNER = (owner = 0) => ({ uid: owner, gid: owner, mtime: new Date(0) });

async function addFolder(archive: Pack, entry: LayerEntry): Promise<void> {
  const { path, owner, mode = 0o755 } = entry;
  archive.entry({ name: `${path.slice(1)}/`, type: "directory", mode, ...OWNER(owner) });
}

async function addFile(archive: Pack, entry: LayerEntry): Promise<void> {
  const name = entry.path.slice(1);
  if ("text" in entry) {
    archive.entry({ name, mode: entry.mode ?? 0o644, ...OWNER(entry.owner) }, entry.text);
    return;
  }
  if (!("file" in entry)) return;
  const { size, mode } = await stat(entry.file);
  const isProgram = (mode & 0o100) !== 0;
  const header = { name, size, mode: entry.mode ?? (isProgram ? 0o755 : 0o644), ...OWNER(entry.owner) };
  await pipeline(createReadStream(entry.file), archive.entry(header));
}

/** Passes bytes on and knows their number and SHA-256. */
class Digest extends Transform {
  readonly #hash = createHash("sha256");
  #size = 0;

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, data: Buffer) => void): void {
    this.#hash.update(chunk);
    this.#size += chunk.length;
    done(null, chunk);
  }

  /** To be asked once, at the end. */
  result(): { readonly hash: string; readonly size: number } {
    return { hash: this.#hash.digest("hex"), size: this.#size };
  }
}
