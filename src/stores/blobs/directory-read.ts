import { type FileHandle, open } from "node:fs/promises";
import { BlobError, type BlobInfo, type BlobRead, type ByteRange } from "./types.js";

const CHUNK_BYTES = 256 * 1024;

/** Opens a blob file for reading; the file stays open until the body is read, left, or discarded. */
export async function readBlobFile(file: string, info: BlobInfo, range: ByteRange | undefined): Promise<BlobRead> {
  const handle = await open(file, "r");
  const from = range?.start ?? 0;
  const body = chunksOf(handle, from, range === undefined ? info.sizeBytes : range.end + 1);
  return {
    info,
    ...(range === undefined ? {} : { range }),
    body: { [Symbol.asyncIterator]: () => body },
    discard: async () => void (await body.return()),
  };
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
