import { closeSync, constants, openSync, writeSync } from "node:fs";
import { Writable } from "node:stream";
import type { Clock } from "../../../kernel/clock/index.js";
import { NodeError } from "../errors.js";

const retryMs = 20;

/** Writes into a named pipe without ever waiting for who reads it: what does not fit is tried again. */
export function fifoWriter(path: string, clock: Clock): Writable {
  // O_RDWR: opening does not wait for a reader. O_NONBLOCK: a full pipe must not stop this process.
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const over = new AbortController();
  return new Writable({
    write(chunk: Uint8Array, _encoding, done) {
      writeAll(fd, chunk, clock, over.signal).then(
        () => done(),
        (error: unknown) => done(new NodeError("NoInput", "the container's input cannot be written", { cause: error })),
      );
    },
    destroy(error, done) {
      over.abort();
      closeSync(fd);
      done(error);
    },
  });
}

async function writeAll(fd: number, chunk: Uint8Array, clock: Clock, signal: AbortSignal): Promise<void> {
  for (let offset = 0; offset < chunk.length && !signal.aborted; ) {
    const written = tryWrite(fd, chunk.subarray(offset));
    offset += written;
    if (written === 0) await clock.sleep(retryMs, signal).catch(() => undefined);
  }
}

/** How many bytes went in; none when the pipe is full. */
function tryWrite(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EAGAIN") return 0;
    throw error;
  }
}
