import type { ServerResponse } from "node:http";
import type { Writable } from "node:stream";
import { ByteStream } from "../render/stream.js";
import type { Wait, Waiting } from "./waiting.js";

/** Where the body of an answer goes, piece by piece, when its head is out. */
export interface Out {
  /** Nobody takes what is written. */
  readonly isGone: boolean;
  /** False: the next piece is to come after `onDrain`. */
  write(bytes: Uint8Array): boolean;
  end(): void;
  destroy(): void;
  onDrain: () => void;
  onClose: () => void;
}

/**
 * Writes a body that comes in pieces as fast as the client takes it; whoever takes nothing for long is cut off. Resolves when all of
 * it is written or the client is gone; rejects with what the body fails with.
 */
export function writeBody(out: Out, body: AsyncIterable<Uint8Array>, answers: Waiting): Promise<void> {
  return body instanceof ByteStream ? writeStream(out, body, answers) : writePieces(out, body, answers);
}

async function writePieces(out: Out, body: AsyncIterable<Uint8Array>, answers: Waiting): Promise<void> {
  for await (const chunk of body) {
    if (out.isGone) return;
    if (out.write(chunk)) continue;
    const wait = answers.begin(() => out.destroy());
    await new Promise<void>((resolve) => {
      out.onDrain = resolve;
      out.onClose = resolve;
    });
    answers.end(wait);
  }
  out.end();
}

/** A watch: without a promise for each of its pieces. */
function writeStream(out: Out, stream: ByteStream, answers: Waiting): Promise<void> {
  return new Promise((resolve) => {
    let wait: Wait | undefined;
    const endWait = (): void => {
      if (wait !== undefined) answers.end(wait);
      wait = undefined;
    };
    stream.whenCut(() => out.destroy());
    out.onDrain = () => {
      endWait();
      stream.resume();
    };
    out.onClose = () => {
      endWait();
      stream.end();
      resolve();
    };
    stream.handTo({
      take(chunk) {
        if (out.isGone || out.write(chunk)) return true;
        wait ??= answers.begin(() => out.destroy());
        return false;
      },
      end() {
        if (!out.isGone) out.end();
        resolve();
      },
    });
  });
}

/** The body of an answer of node's own servers; its head must be out. */
export function outOf(response: ServerResponse): Out {
  const chunked = withoutMarks(response);
  const out: Out = {
    get isGone() {
      return response.destroyed || response.writableEnded;
    },
    write: (bytes) => (chunked === undefined ? response.write(bytes) : writeChunk(chunked, bytes)),
    end() {
      if (chunked !== undefined) chunked.write(lastChunk);
      response.end();
    },
    destroy: () => void response.destroy(),
    onDrain: () => undefined,
    onClose: () => undefined,
  };
  response.on("drain", () => out.onDrain());
  response.once("close", () => out.onClose());
  return out;
}

/**
 * Takes the marks between chunks (RFC 9112 §7.1) over from node, which writes them in pieces of their own for each client.
 * `undefined`: this answer has none.
 */
function withoutMarks(response: ServerResponse): ServerResponse | undefined {
  if (!response.headersSent || !response.chunkedEncoding) return undefined;
  response.chunkedEncoding = false;
  return response;
}

/** Ends a body in chunks. */
export const lastChunk: Uint8Array = Buffer.from("0\r\n\r\n");

/** Longer ones are parts of lists, for one client alone: not worth a copy. */
const maxSharedBytes = 64 * 1024;

/** Writes bytes with the marks of a chunk around them. False: the next ones are to come after `drain`. */
export function writeChunk(to: Writable, bytes: Uint8Array): boolean {
  if (bytes.byteLength === 0) return true;
  if (bytes.byteLength <= maxSharedBytes) return to.write(asChunk(bytes));
  to.cork();
  to.write(`${bytes.byteLength.toString(16)}\r\n`, "latin1");
  to.write(bytes);
  const isEager = to.write("\r\n", "latin1");
  to.uncork();
  return isEager;
}

const marked = new WeakMap<Uint8Array, Uint8Array>();

/** A crowd of watchers shares what is made here. */
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
