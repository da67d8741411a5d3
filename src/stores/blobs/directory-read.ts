import { type FileHandle, open } from "node:fs/promises";
import { resolveRange } from "./keys.js";
import { describeFile } from "./sidecar.js";
import { BlobError, type BlobRead, type RangeRequest } from "./types.js";

const CHUNK_BYTES = 256 * 1024;

/**
 * Opens a blob for reading; `undefined` when there is none. What is told of it is told of the file that was opened, even when
 * the blob is replaced meanwhile. The file stays open until the body is read, left, or discarded.
 */
export async function readBlobFile(
  key: string,
  file: string,
  range: RangeRequest | undefined,
): Promise<BlobRead | undefined> {
  const handle = await openIfThere(file);
  if (handle === undefined) return undefined;
  try {
    const info = await describeFile(key, file, await handle.stat());
    if (info === undefined) {
      await handle.close();
      return undefined;
    }
    const bytes = range === undefined ? undefined : resolveRange(range, info.sizeBytes);
    const body = chunksOf(handle, bytes?.start ?? 0, bytes === undefined ? info.sizeBytes : bytes.end + 1);
    return {
      info,
      ...(bytes === undefined ? {} : { range: bytes }),
      body: { [Symbol.asyncIterator]: () => body },
      discard: async () => void (await body.return()),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function openIfThere(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, "r");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG") return undefined;
    throw error;
  }
}

interface Chunks extends AsyncIterator<Uint8Array, undefined> {
  return(): Promise<IteratorReturnResult<undefined>>;
}

/** Not a generator: one that is left before its first step would not close the file. */
function chunksOf(handle: FileHandle, from: number, until: number): Chunks {
  let position = from;
  let isOpen = true;
  const finish = async (): Promise<IteratorReturnResult<undefined>> => {
    if (isOpen) {
      isOpen = false;
      await handle.close();
    }
    return { done: true, value: undefined };
  };
  return {
    next: async () => {
      if (!isOpen || position >= until) return finish();
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, until - position));
      try {
        const { bytesRead } = await handle.read(chunk, 0, chunk.byteLength, position);
        // Replacing a blob makes a new file, so ours can only have been cut by somebody else.
        if (bytesRead === 0) throw new BlobError("Unavailable", "the blob's file became shorter while it was read");
        position += bytesRead;
        return { done: false, value: chunk.subarray(0, bytesRead) };
      } catch (error) {
        await finish();
        throw error;
      }
    },
    return: finish,
  };
}
