import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { OWN_PREFIX } from "./keys.js";
import { mediaTypeOf } from "./media-types.js";
import type { BlobInfo } from "./types.js";

/** Where the store notes what a blob file does not say itself. Hashed, so that long names stay within the file system's limit. */
export function sidecarPath(file: string): string {
  const hash = createHash("sha256").update(path.basename(file)).digest("hex").slice(0, 32);
  return path.join(path.dirname(file), `${OWN_PREFIX}${hash}.json`);
}

interface Sidecar {
  readonly md5: string;
  readonly sha256: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
}

/** Writes and syncs a sidecar for content that has this modification time; returns the path. */
export async function writeSidecar(file: string, info: BlobInfo, mtimeMs: number): Promise<string> {
  const content: Sidecar = {
    md5: info.etag,
    sha256: info.sha256 ?? "",
    contentType: info.contentType,
    sizeBytes: info.sizeBytes,
    mtimeMs,
  };
  const handle = await open(file, "wx", 0o600);
  try {
    await handle.writeFile(JSON.stringify(content));
    await handle.sync();
  } finally {
    await handle.close();
  }
  return file;
}

/**
 * What is known of a blob file; `undefined` for an absent file or a folder. A sidecar counts only while size and time fit:
 * a file that was changed or dropped in by hand has an etag by size and time instead, and no checksum.
 */
export async function inspectFile(key: string, file: string): Promise<BlobInfo | undefined> {
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR" || error.code === "ENAMETOOLONG") return undefined;
    throw error;
  });
  return found === undefined ? undefined : describeFile(key, file, found);
}

/** The same for a file whose state is known; `undefined` for a folder. */
export async function describeFile(key: string, file: string, found: Stats): Promise<BlobInfo | undefined> {
  if (!found.isFile()) return undefined;
  const common = { key, sizeBytes: found.size, modifiedMs: Math.floor(found.mtimeMs) };
  const sidecar = await readSidecar(file);
  if (sidecar !== undefined && sidecar.sizeBytes === found.size && sidecar.mtimeMs === found.mtimeMs) {
    return { ...common, etag: sidecar.md5, sha256: sidecar.sha256, contentType: sidecar.contentType };
  }
  const etag = `${Math.round(found.mtimeMs * 1000).toString(16)}-${found.size.toString(16)}`;
  return { ...common, etag, contentType: mediaTypeOf(file) };
}

async function readSidecar(file: string): Promise<Sidecar | undefined> {
  const text = await readFile(sidecarPath(file), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    return isSidecar(parsed) ? parsed : undefined;
  } catch {
    // A torn or foreign file says nothing; the blob itself is what counts.
    return undefined;
  }
}

function isSidecar(value: unknown): value is Sidecar {
  if (typeof value !== "object" || value === null) return false;
  const { md5, sha256, contentType, sizeBytes, mtimeMs }: Partial<Record<keyof Sidecar, unknown>> = value;
  return (
    typeof md5 === "string" &&
    typeof sha256 === "string" &&
    typeof contentType === "string" &&
    typeof sizeBytes === "number" &&
    typeof mtimeMs === "number"
  );
}
