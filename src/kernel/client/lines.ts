import { localFailure } from "./failures.js";

/** A watch event of one object; etcd refuses objects above a few MiB. */
const maxLineBytes = 64 * 1024 * 1024;

/**
 * Splits a byte stream at newlines. Yields, for each chunk that ends at least one line, all lines that it ends, so that the
 * reader pays for one promise a chunk and not one a line. Holds at most one unfinished line, up to 64 MiB.
 */
export async function* decodeLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  for await (const chunk of chunks) {
    const lastBreak = chunk.lastIndexOf(0x0a);
    if (lastBreak >= 0) {
      const head = chunk.subarray(0, lastBreak);
      const whole = pending.length === 0 ? head : Buffer.concat([...pending, head]);
      pending = [];
      pendingBytes = 0;
      const text = Buffer.from(whole.buffer, whole.byteOffset, whole.byteLength).toString("utf8");
      yield text.split("\n").filter((line) => line !== "");
    }
    const rest = lastBreak < 0 ? chunk : chunk.subarray(lastBreak + 1);
    if (rest.byteLength === 0) continue;
    pending.push(rest);
    pendingBytes += rest.byteLength;
    if (pendingBytes > maxLineBytes)
      throw localFailure(500, `a line of the stream is longer than ${maxLineBytes} bytes`);
  }
}
