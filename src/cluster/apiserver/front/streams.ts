import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import type { ByteStream } from "../render/stream.js";
import type { Wait, Waiting } from "./waiting.js";

/** An answer of either protocol: the compatibility API of node:http2 is that of node:http. */
export type AnyResponse = ServerResponse | Http2ServerResponse;

/**
 * Writes what a stream is given to an answer whose head is out, as fast as the client takes it. Resolves when all of it is
 * written or the client is gone.
 */
export function writeStream(response: AnyResponse, stream: ByteStream, answers: Waiting): Promise<void> {
  return new Promise((resolve) => {
    const chunked = marksOwnChunks(response);
    let wait: Wait | undefined;
    const endWait = (): void => {
      if (wait !== undefined) answers.end(wait);
      wait = undefined;
    };
    stream.whenCut(() => response.destroy());
    response.on("drain", () => {
      endWait();
      stream.resume();
    });
    response.once("close", () => {
      endWait();
      stream.end();
      resolve();
    });
    stream.handTo({
      take(chunk) {
        if (response.destroyed || response.writableEnded) return true;
        if (writeTo(response, chunked ? asChunk(chunk) : chunk)) return true;
        wait ??= answers.begin(() => response.destroy());
        return false;
      },
      end() {
        if (chunked && !response.destroyed) writeTo(response, lastChunk);
        response.end();
        resolve();
      },
    });
  });
}

/** The two protocols' `write` differ in their overloads only. */
export function writeTo(response: AnyResponse, chunk: Uint8Array): boolean {
  return "stream" in response ? response.write(chunk) : response.write(chunk);
}

const lastChunk = Buffer.from("0\r\n\r\n");

/**
 * Takes the marks between chunks (RFC 9112 §7.1) over from node, which writes them in pieces of their own for each client.
 * False: this answer has none.
 */
function marksOwnChunks(response: AnyResponse): boolean {
  if ("stream" in response || !response.headersSent || !response.chunkedEncoding) return false;
  response.chunkedEncoding = false;
  return true;
}

const marked = new WeakMap<Uint8Array, Uint8Array>();

/** The bytes with the marks of a chunk around them; a crowd of watchers shares them. */
function asChunk(bytes: Uint8Array): Uint8Array {
  const known = marked.get(bytes);
  if (known !== undefined) return known;
  const size = bytes.byteLength.toString(16);
  const chunk = Buffer.allocUnsafe(size.length + bytes.byteLength + 4);
  chunk.write(`${size}\r\n`, 0, "latin1");
  chunk.set(bytes, size.length + 2);
  chunk.write("\r\n", size.length + 2 + bytes.byteLength, "latin1");
  marked.set(bytes, chunk);
  return chunk;
}
