import type { IncomingMessage } from "node:http";
import { Refusal } from "./errors.js";

/** Refuses a body that says it is too long, before anything of it is read; throws a 413 `Refusal`. */
export function checkStatedLength(request: IncomingMessage, maxBytes: number): void {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
}

function tooLarge(maxBytes: number): Refusal {
  return new Refusal("REQUEST_TOO_LARGE", `the request body is longer than the ${maxBytes} bytes that this call takes`);
}

/**
 * The body of a request, bounded: throws a 413 `Refusal` as soon as it is too long, and a 400 one when the client breaks off.
 * `onChunk` is called for each piece.
 */
export async function* boundedBody(
  request: IncomingMessage,
  { maxBytes, onChunk }: { readonly maxBytes: number; readonly onChunk: () => void },
): AsyncGenerator<Uint8Array, void, undefined> {
  let total = 0;
  // Not `for await` on the request itself: that would destroy the socket before the refusal is written.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    const bytes: Uint8Array = chunk;
    onChunk();
    total += bytes.byteLength;
    if (total > maxBytes) throw tooLarge(maxBytes);
    yield bytes;
  }
  if (!request.complete) throw new Refusal("BAD_REQUEST", "the request body was broken off");
}

/** Reads what a client still sends after a refusal, so that it gets to see the answer; gives up beyond 256 MiB. */
export function drain(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let left = 256 * 1024 * 1024;
  request.on("data", (chunk: Buffer) => {
    left -= chunk.byteLength;
    if (left < 0) request.destroy();
  });
  request.on("error", () => {});
  request.resume();
}
