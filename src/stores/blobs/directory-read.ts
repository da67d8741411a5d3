import { type FileHandle, open } from "node:fs/promises";
import { BlobError, type BlobInfo, type BlobRead, type ByteRange } from "./types.js";

const CHUNK_BYTES = 256 * 1024;

/** Opens a blob file for reading; the file stays open until the body is read, left, or discarded. */
export async function readBlobFile(file: string, info: BlobInfo, range: ByteRange | undefined): Promise<BlobRead> {
  const handle = await open(file, "r");
  let open_ = true;
  const close = async (): Promise<void> => {
    if (!open_) return;
    open_ = false;
    await handle.close();
  };
  const from = range?.start ?? 0;
  const until = range === undefined ? info.sizeBytes : range.end + 1;
  return {
    info,
    ...(range === undefined ? {} : { range }),
    body: readChunks(handle, { from, until }, close),
    discard: close,
  };
}

async function* readChunks(
  handle: FileHandle,
  { from, until }: { from: number; until: number },
  close: () => Promise<void>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for (let position = from; position < until; ) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, until - position));
      const { bytesRead } = await handle.read(chunk, 0, chunk.byteLength, position);
      // Replacing a blob makes a new file, so ours can only have been cut by somebody else.
      if (bytesRead === 0) throw new BlobError("Unavailable", "the blob's file became shorter while it was read");
      position += bytesRead;
      yield chunk.subarray(0, bytesRead);
    }
  } finally {
    await close();
  }
}
